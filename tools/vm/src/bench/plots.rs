// SPDX-License-Identifier: GPL-2.0
//! The results as pictures, in `build/bench`.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use rfutex_figures::record::{Hold, Line};

use super::results::Results;

/// Size of a picture, in pixels.
const SIZE: (u32, u32) = (900, 480);

/// What a line is called, and where it goes.
type Series = (String, Vec<(f64, f64)>);

/// A picture of lines.
struct Chart<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// Whether the y axis is logarithmic, as the x axis is.
    log: bool,
}

/// One picture of lines: an experiment, its case, the figure, and how.
const LINES: &[(&str, &str, &str, &str, bool)] = &[
    ("threads", "private", "instructions", "threads", false),
    ("threads", "shared", "instructions", "threads", false),
    ("hash", "private", "ratio", "threads", false),
    ("hash", "shared", "ratio", "threads", false),
    ("hash, lab module", "shared", "calls/s", "threads", false),
    (
        "crowd",
        "private",
        "instructions",
        "waiters elsewhere",
        true,
    ),
    ("crowd", "shared", "instructions", "waiters elsewhere", true),
    (
        "lines",
        "wait-eagain, private",
        "lines",
        "processors",
        false,
    ),
    ("lines", "wait-eagain, shared", "lines", "processors", false),
    ("lines", "wait-eagain, arena", "lines", "processors", false),
    ("lines", "wake-none, private", "lines", "processors", false),
    ("lines", "wake-none, shared", "lines", "processors", false),
    ("lines", "wake-none, arena", "lines", "processors", false),
    ("lines", "pingpong, private", "lines", "processors", false),
    ("lines", "pingpong, shared", "lines", "processors", false),
    ("lines", "pingpong, arena", "lines", "processors", false),
    ("lines", "wake-64, private", "lines", "processors", false),
    ("lines", "wake-64, shared", "lines", "processors", false),
    ("lines", "wake-64, arena", "lines", "processors", false),
    ("lines", "requeue-64, private", "lines", "processors", false),
    ("lines", "requeue-64, shared", "lines", "processors", false),
    ("lines", "requeue-64, arena", "lines", "processors", false),
    ("lines", "watch, private", "lines", "processors", false),
    ("lines", "watch, shared", "lines", "processors", false),
    ("lines", "watch, arena", "lines", "processors", false),
    (
        "page-lock",
        "wake, fought for",
        "median us",
        "tasks that fight for the lock",
        true,
    ),
    (
        "page-lock",
        "wait, fought for",
        "median us",
        "tasks that fight for the lock",
        true,
    ),
];

/// One picture of bars: an experiment and a figure.
const BARS: &[(&str, &str)] = &[
    ("page-lock", "ratio"),
    ("page-lock", "slept"),
    ("fault", "fallbacks in 1000 pages"),
    ("fault", "p99 us"),
    ("reclaim", "wake of gone us"),
    ("thp", "median us"),
];

/// Draws what there is.
pub fn draw(results: &Results, directory: &Path) -> Result<()> {
    // Those of another run are not of these results.
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let ratios: Vec<_> = results
        .rows
        .iter()
        .filter_map(|row| {
            let name = row.key().join(" ");
            Some((name, row.insn_ratio?, row.insn_ratio_target))
        })
        .collect();
    if !ratios.is_empty() {
        let path = directory.join("instructions.svg");
        bars(
            &path,
            "instructions, rfutex / contender; mark: at most",
            &ratios,
            false,
        )?;
    }
    for &(experiment, case, figure, x, log) in LINES {
        let series = series(results, experiment, case, figure);
        if !series.is_empty() {
            let chart = Chart {
                title: &format!("{experiment}: {case}"),
                x,
                y: figure,
                log,
            };
            let path = directory.join(file_name(&[experiment, case]));
            chart.draw(&path, &series)?;
        }
    }
    for &(experiment, figure) in BARS {
        let lines = results.experiments.iter();
        let all: Vec<_> = lines
            .filter(|line| line.experiment == experiment)
            .filter_map(|line| {
                let x = line.x.map_or_else(String::new, |x| format!(" {x}"));
                let name = format!("{}{x} {}", line.case, by(line));
                Some((name, line.figure(figure)?, None))
            })
            .collect();
        if !all.is_empty() {
            let path = directory.join(file_name(&[experiment, figure]));
            let log = experiment == "page-lock";
            bars(&path, &format!("{experiment}: {figure}"), &all, log)?;
        }
    }
    Ok(())
}

fn file_name(parts: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = parts.join("-").chars().map(plain).collect();
    name.split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        + ".svg"
}

/// Who a figure is of.
fn by(line: &Line) -> String {
    match line.hold {
        Hold::Inode => line.side.clone(),
        hold => format!("{}, hold={}", line.side, hold.name()),
    }
}

/// The lines of one picture, one for each side with each module.
fn series(results: &Results, experiment: &str, case: &str, figure: &str) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for line in &results.experiments {
        let (Some(x), Some(y)) = (line.x, line.figure(figure)) else {
            continue;
        };
        if line.experiment != experiment || line.case != case {
            continue;
        }
        let by = by(line);
        match series.iter_mut().find(|(name, _)| *name == by) {
            Some((_, points)) => points.push((x, y)),
            None => series.push((by, vec![(x, y)])),
        }
    }
    series
}

/// The library's errors borrow what is drawn on.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

impl Chart<'_> {
    fn draw(&self, path: &Path, series: &[Series]) -> Result<()> {
        let points = || series.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN, f64::max);
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MAX, f64::min);
        let x = (least(|p| p.0)..most(|p| p.0) * 1.05).log_scale();
        // Of nothing but zeros as well, there is a picture.
        let highest = (most(|p| p.1) * 1.1).max(1.0);
        if self.log {
            let y = (least(|p| p.1) * 0.9..highest).log_scale();
            self.draw_on(path, series, x, y)
        } else {
            self.draw_on(path, series, x, 0.0..highest)
        }
    }

    fn draw_on<X, Y>(&self, path: &Path, series: &[Series], x: X, y: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()
            .map_err(failed)?;
        for (place, (name, points)) in series.iter().enumerate() {
            let style = Palette99::pick(place).stroke_width(2);
            let line = LineSeries::new(points.iter().copied(), style).point_size(3);
            chart
                .draw_series(line)
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)
    }
}

/// Bars from the left, with their names and figures, and a mark where a figure
/// is to be at most.
fn bars(path: &Path, title: &str, all: &[(String, f64, Option<f64>)], log: bool) -> Result<()> {
    const HEIGHT: i32 = 18;
    const LEFT: i32 = 330;
    let (width, top) = (SIZE.0 as i32, 40);
    let size = (SIZE.0, (top + HEIGHT * (all.len() as i32 + 1)) as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let place = |figure: f64| {
        if log {
            figure.max(0.1).log10() + 1.0
        } else {
            figure
        }
    };
    let figures = all
        .iter()
        .flat_map(|(_, figure, mark)| [Some(*figure), *mark]);
    let most = figures
        .flatten()
        .map(place)
        .fold(f64::MIN_POSITIVE, f64::max);
    let at = |figure: f64| LEFT + (f64::from(width - LEFT - 90) * place(figure) / most) as i32;
    let font = ("sans-serif", 13).into_font();
    let text = |text: String, x, y| Text::new(text, (x, y), font.clone());
    let caption = Text::new(title.to_owned(), (12, 10), ("sans-serif", 20).into_font());
    area.draw(&caption).map_err(failed)?;
    for (line, (name, figure, mark)) in all.iter().enumerate() {
        let y = top + HEIGHT * line as i32;
        area.draw(&text(name.clone(), 12, y)).map_err(failed)?;
        let good = mark.is_none_or(|mark| *figure <= mark);
        let colour = if good { BLUE.mix(0.5) } else { RED.mix(0.6) };
        let bar = Rectangle::new([(LEFT, y), (at(*figure), y + HEIGHT - 4)], colour.filled());
        area.draw(&bar).map_err(failed)?;
        let end = at(mark.map_or(*figure, |mark| mark.max(*figure))) + 8;
        area.draw(&text(format!("{figure:.2}"), end, y))
            .map_err(failed)?;
        if let Some(mark) = mark {
            let x = at(*mark);
            let mark = PathElement::new([(x, y - 2), (x, y + HEIGHT - 2)], BLACK.stroke_width(2));
            area.draw(&mark).map_err(failed)?;
        }
    }
    area.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rfutex_figures::record::Record;

    #[test]
    fn pictures_of_what_there_is() {
        let mut results = Results::default();
        for (x, cost) in [(1.0, 500.0), (100.0, 600.0)] {
            let line = Line {
                experiment: "crowd".to_owned(),
                case: "private".to_owned(),
                x: Some(x),
                side: "page".to_owned(),
                hold: Hold::Inode,
                figures: vec![("instructions".to_owned(), cost)],
            };
            results.add(Record::Line(line), "module");
        }
        let directory = tempfile::tempdir().unwrap();
        draw(&results, directory.path()).unwrap();
        let names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, ["crowd-private.svg"]);
        let picture = fs::read_to_string(directory.path().join(&names[0])).unwrap();
        assert!(picture.starts_with("<svg") && picture.contains("page"));
    }
}
