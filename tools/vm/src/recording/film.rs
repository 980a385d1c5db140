// SPDX-License-Identifier: GPL-2.0
//! A film: what a terminal showed, and for how long, as an SVG that moves.

use std::collections::BTreeMap;
use std::fmt::Write;

use vt100::Screen;

/// The size of a character, in pixels, and where its line is in it.
const WIDTH: u32 = 8;
const HEIGHT: u32 = 17;
const BASE: u32 = 13;

/// What is around the screen, in pixels.
const MARGIN: u32 = 10;

/// How characters look.
const STYLE: &str = "\
text{font:14px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#ddd;white-space:pre}\
.b{font-weight:bold}.i{fill:#222}.r{fill:#ddd}";

/// Characters that look alike, side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    column: u16,
    columns: u16,
    text: String,
    bold: bool,
    inverse: bool,
}

/// A row of the screen, and the column of the cursor if that is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    spans: Vec<Span>,
    cursor: Option<u16>,
}

/// Film.
pub struct Film {
    rows: u16,
    columns: u16,
    /// How long it is, in seconds.
    length: f64,
    /// When each row was shown: from, and to.
    shown: BTreeMap<(u16, Row), Vec<(f64, f64)>>,
    /// What those see who see no motion.
    last: Vec<(u16, Row)>,
}

impl Film {
    /// An empty one, of a screen of this size.
    pub fn new(rows: u16, columns: u16) -> Self {
        Self {
            rows,
            columns,
            length: 0.0,
            shown: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    /// Shows `screen` for so many seconds.
    pub fn take(&mut self, screen: &Screen, seconds: f64) {
        let (from, to) = (self.length, self.length + seconds);
        self.length = to;
        self.last.clear();
        for number in 0..self.rows {
            let row = row(screen, number, self.columns);
            if row == Row::default() {
                continue;
            }
            self.last.push((number, row.clone()));
            let times = self.shown.entry((number, row)).or_default();
            match times.last_mut() {
                Some((_, end)) if *end == from => *end = to,
                _ => times.push((from, to)),
            }
        }
    }

    /// The film.
    pub fn svg(&self) -> String {
        let width = u32::from(self.columns) * WIDTH + 2 * MARGIN;
        let height = u32::from(self.rows) * HEIGHT + 2 * MARGIN;
        let (mut motion, mut rows) = (String::new(), String::new());
        for (id, ((number, row), times)) in self.shown.iter().enumerate() {
            let is_last = self.last.iter().any(|(n, r)| n == number && r == row);
            motion += &format!("@keyframes k{id}{{{}}}", self.key_frames(times));
            motion += &format!("#r{id}{{animation-name:k{id}}}");
            let top = MARGIN + u32::from(*number) * HEIGHT;
            let visibility = if is_last {
                ""
            } else {
                " visibility=\"hidden\""
            };
            let _ = writeln!(
                rows,
                "<g id=\"r{id}\" data-row=\"{number}\"{visibility} transform=\"translate({MARGIN} {top})\">{}</g>",
                drawn(row)
            );
        }
        let length = self.length;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xml:space=\"preserve\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\">\n\
             <!-- SPDX-License-Identifier: GPL-2.0 -->\n\
             <!-- Made by make recording. -->\n\
             <style>{STYLE}\n\
             @media (prefers-reduced-motion:no-preference){{\
             g{{animation:{length:.2}s step-end infinite}}\n{motion}}}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#222\"/>\n{rows}</svg>\n"
        )
    }

    /// When a row that was shown at these times is seen.
    fn key_frames(&self, times: &[(f64, f64)]) -> String {
        let at = |time: f64| 100.0 * time / self.length;
        let mut frames = String::new();
        if times.first().is_none_or(|(from, _)| *from > 0.0) {
            frames += "0%{visibility:hidden}";
        }
        for (from, to) in times {
            frames += &format!("{:.3}%{{visibility:visible}}", at(*from));
            if *to < self.length {
                frames += &format!("{:.3}%{{visibility:hidden}}", at(*to));
            }
        }
        frames
    }
}

fn row(screen: &Screen, number: u16, columns: u16) -> Row {
    let mut spans: Vec<Span> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(number, column) else {
            continue;
        };
        if cell.is_wide_continuation() {
            continue;
        }
        let text = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        let (bold, inverse) = (cell.bold(), cell.inverse());
        let columns = if cell.is_wide() { 2 } else { 1 };
        match spans.last_mut() {
            Some(last) if (last.bold, last.inverse) == (bold, inverse) => {
                last.text += text;
                last.columns += columns;
            }
            _ => spans.push(Span {
                column,
                columns,
                text: text.to_owned(),
                bold,
                inverse,
            }),
        }
    }
    for span in &mut spans {
        if !span.inverse {
            let blanks = span.text.len() - span.text.trim_end_matches(' ').len();
            span.text.truncate(span.text.len() - blanks);
            span.columns -= blanks as u16;
        }
    }
    spans.retain(|span| !span.text.is_empty());
    let (row, column) = screen.cursor_position();
    Row {
        spans,
        cursor: (row == number && !screen.hide_cursor()).then_some(column),
    }
}

fn drawn(row: &Row) -> String {
    let mut drawn = String::new();
    let block = |column: u16, columns: u16| {
        format!(
            "<rect class=\"r\" x=\"{}\" width=\"{}\" height=\"{HEIGHT}\"/>",
            u32::from(column) * WIDTH,
            u32::from(columns) * WIDTH
        )
    };
    if let Some(column) = row.cursor {
        drawn += &block(column, 1);
    }
    for span in &row.spans {
        if span.inverse {
            drawn += &block(span.column, span.columns);
        }
        let class = match (span.bold, span.inverse) {
            (false, false) => "",
            (true, false) => " class=\"b\"",
            (false, true) => " class=\"i\"",
            (true, true) => " class=\"b i\"",
        };
        // Fonts differ in how wide they are; the columns have to stay where they are.
        drawn += &format!(
            "<text x=\"{}\" y=\"{BASE}\" textLength=\"{}\"{class}>{}</text>",
            u32::from(span.column) * WIDTH,
            u32::from(span.columns) * WIDTH,
            escaped(&span.text)
        );
    }
    drawn
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    fn film() -> String {
        let mut parser = vt100::Parser::new(2, 10, 0);
        let mut film = Film::new(2, 10);
        parser.process(b"$ a<b &");
        film.take(parser.screen(), 1.0);
        parser.process(b"\r\n\x1b[1mbold\x1b[0m  \x1b[7mx \x1b[0m\x1b[?25l");
        film.take(parser.screen(), 3.0);
        film.svg()
    }

    #[test]
    fn each_row_is_there_once_with_its_times() {
        let svg = film();
        let document = Document::parse(&svg).unwrap();
        let rows = document
            .descendants()
            .filter(|n| n.has_attribute("data-row"));
        let rows: Vec<_> = rows.collect();
        let text = |n: usize| -> Vec<_> {
            let texts = rows[n].descendants().filter(|n| n.has_tag_name("text"));
            texts.filter_map(|text| text.text()).collect()
        };
        assert_eq!(rows.len(), 3);
        assert_eq!((text(0), text(1)), (vec!["$ a<b &"], vec!["$ a<b &"]));
        assert_eq!(text(2), ["bold", "x "]);
        // The same text without and with the cursor.
        assert!(svg.contains("@keyframes k0{0%{visibility:hidden}25.000%{visibility:visible}}"));
        assert!(
            svg.contains("@keyframes k1{0.000%{visibility:visible}25.000%{visibility:hidden}}")
        );
        assert!(svg.contains("animation:4.00s step-end infinite"));
    }

    #[test]
    fn without_motion_the_last_picture_is_seen() {
        let svg = film();
        let document = Document::parse(&svg).unwrap();
        let seen = document
            .descendants()
            .filter(|n| n.has_attribute("data-row") && n.attribute("visibility").is_none());
        let seen: Vec<_> = seen.map(|n| n.attribute("id").unwrap()).collect();
        assert_eq!(seen, ["r0", "r2"]);
    }
}
