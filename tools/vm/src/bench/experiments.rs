// SPDX-License-Identifier: GPL-2.0
//! What each experiment is about, and what it is to show.

use rfutex_figures::record::{Hold, Line};
use serde::Serialize;

/// Something that an experiment is to show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The experiment.
    pub experiment: String,
    /// What the module was loaded with.
    pub hold: Hold,
    /// What is claimed.
    pub claim: String,
    /// The figure that decides.
    pub figure: f64,
    /// What was measured that gave it, where that is not plain.
    pub at: Option<String>,
    /// Whether it is so.
    pub holds: bool,
}

/// An experiment's name, and what it is.
const TITLES: &[(&str, &str)] = &[
    (
        "threads",
        "instructions of a call, when so many threads make some, each on words of its own",
    ),
    (
        "hash",
        "calls of many threads, each on words of its own (2 processors)",
    ),
    (
        "hash, lab module",
        "the same with the lab module, which is slower, and all resolvers",
    ),
    (
        "crowd",
        "a wake of nobody, while so many sleep on other words",
    ),
    ("slab", "slab memory of a sleeping waiter"),
    (
        "watches",
        "memory of an armed watch, and of a request of io_uring that waits",
    ),
    (
        "lines, known",
        "what the plugin counts of programs of which it is known",
    ),
    (
        "lines",
        "cache lines that move between processors for one operation, when so many take turns",
    ),
    (
        "lines, lab module",
        "the same with the lab module, and the resolver that it alone has",
    ),
    (
        "page-lock",
        "calls while others have the lock of the word's page (000, 002)",
    ),
    (
        "fault",
        "page faults, while others wake on words in the same pages (001)",
    ),
    (
        "reclaim",
        "memory with 10,000 waiters on it is reclaimed (003)",
    ),
    (
        "thp",
        "calls while their huge page is split and collapsed (004)",
    ),
];

/// What the experiment `name` is about.
pub fn title(name: &str) -> &str {
    let title = TITLES.iter().find(|title| title.0 == name);
    title.map_or(name, |title| title.1)
}

/// The resolvers that are to do well.
const OURS: [&str; 2] = ["page", "vma"];

/// By how much the instructions of a wake may differ from those with a single
/// waiter elsewhere.
const FLAT: f64 = 1.1;

/// Bytes that are none: a page that comes and goes, through a thousand waiters.
const NONE: f64 = 64.0;

/// Bytes that an armed watch may take.
const WATCH: f64 = 192.0;

/// By how much of a line two sides may differ that move as many: where somebody is woken, an interrupt
/// or the scheduler makes a difference now and then.
pub const SAME: f64 = 0.5;

/// What a sleeper holds with `hold=inode`, and what a call on a file that threads share counts.
const HELD: [&str; 2] = ["s_active", "i_count"];
const SHARED_FILE: &str = "f_ref";

/// What the lines show, claim by claim. All of it is counted, and nothing rests
/// on how long something took: that depends on what else the host does.
pub fn claims(lines: &[Line]) -> Vec<Claim> {
    let with = |hold| {
        let lines = lines.iter().filter(|line| line.hold == hold);
        claims_with(hold, &lines.cloned().collect::<Vec<_>>())
    };
    [Hold::Inode, Hold::Nothing]
        .into_iter()
        .flat_map(with)
        .collect()
}

/// Those of the lines of modules that were loaded with `hold`.
fn claims_with(hold: Hold, lines: &[Line]) -> Vec<Claim> {
    let mut found = Claims {
        hold,
        lines,
        claims: Vec::new(),
    };
    for side in OURS {
        for case in ["private", "shared"] {
            found.at_most(
                &format!("{side}, {case}: no dearer than futex(2) with any number of threads"),
                &|line| line.is("threads", side) && line.case == case,
                "ratio",
                1.0,
            );
            found.flat(side, case);
        }
        found.at_most(
            &format!("{side}: a sleeping waiter has no memory but its stack"),
            &|line| line.is("slab", side),
            "bytes a waiter",
            NONE,
        );
        found.at_most(
            &format!("{side}: an armed watch takes at most {WATCH} bytes"),
            &|line| line.is("watches", side),
            "bytes charged",
            WATCH,
        );
        found.at_most(
            &format!("{side}: no call sleeps, whoever has the page's lock"),
            &|line| line.is("page-lock", side),
            "slept",
            0.0,
        );
        found.at_least(
            &format!("{side}: calls begin and end while another has the page's lock"),
            &|line| line.is("page-lock", side),
            "came through",
            1.0,
        );
        found.at_most(
            &format!("{side}: wakes do not get into the way of page faults"),
            &|line| line.is("fault", side),
            "fallbacks",
            0.0,
        );
        found.at_most(
            &format!("{side}: every page is reclaimed"),
            &|line| line.is("reclaim", side),
            "after reclaim",
            0.0,
        );
    }
    found.at_most(
        "locked: no call ends while another has the page's lock",
        &|line| line.is("page-lock", "locked"),
        "came through",
        0.0,
    );
    found.at_most(
        "vma: a wake does not bring a page back",
        &|line| line.is("reclaim", "vma"),
        "pages back",
        0.0,
    );
    found.known();
    for side in OURS {
        found.moves(side, false);
        found.moves(&format!("{side}, one file"), true);
    }
    found.moves("none, one file", true);
    for figure in ["failed", "huge pages left"] {
        found.at_most(
            &format!("all: {figure}: none"),
            &|line| line.experiment == "thp",
            figure,
            0.0,
        );
    }
    found.claims
}

/// Tells lines from each other.
trait Is {
    /// Whether it is of this experiment and side.
    fn is(&self, experiment: &str, side: &str) -> bool;
}

impl Is for Line {
    fn is(&self, experiment: &str, side: &str) -> bool {
        self.experiment == experiment && self.side == side
    }
}

struct Claims<'a> {
    hold: Hold,
    lines: &'a [Line],
    claims: Vec<Claim>,
}

impl Claims<'_> {
    /// The figures `name` of the lines that are meant, and their experiment.
    fn figures(&self, meant: &dyn Fn(&Line) -> bool, name: &str) -> Option<(String, Vec<f64>)> {
        let lines: Vec<_> = self.lines.iter().filter(|line| meant(line)).collect();
        let experiment = lines.first()?.experiment.clone();
        let figures: Vec<_> = lines.iter().filter_map(|line| line.figure(name)).collect();
        (!figures.is_empty()).then_some((experiment, figures))
    }

    fn push(&mut self, experiment: String, claim: &str, figure: f64, holds: bool) {
        self.claims.push(Claim {
            experiment,
            hold: self.hold,
            claim: claim.to_owned(),
            figure,
            at: None,
            holds,
        });
    }

    fn at_most(&mut self, claim: &str, meant: &dyn Fn(&Line) -> bool, name: &str, most: f64) {
        if let Some((experiment, figures)) = self.figures(meant, name) {
            let worst = figures.into_iter().fold(f64::MIN, f64::max);
            self.push(experiment, claim, worst, worst <= most);
        }
    }

    fn at_least(&mut self, claim: &str, meant: &dyn Fn(&Line) -> bool, name: &str, least: f64) {
        if let Some((experiment, figures)) = self.figures(meant, name) {
            let worst = figures.into_iter().fold(f64::MAX, f64::min);
            self.push(experiment, claim, worst, worst >= least);
        }
    }

    /// How many of the known programs come out otherwise.
    fn known(&mut self) {
        let known = |line: &&Line| line.experiment == "lines, known";
        let wrong = |line: &&Line| {
            ["accesses", "lines", "upgrades"].iter().any(|name| {
                let expected = line.figure(&format!("{name} expected"));
                expected.is_none() || line.figure(name) != expected
            })
        };
        let programs: Vec<_> = self.lines.iter().filter(known).collect();
        if let Some(first) = programs.first() {
            let wrong = programs.iter().copied().filter(wrong).count() as f64;
            let claim = "the plugin counts what is known: no program comes out otherwise";
            self.push(first.experiment.clone(), claim, wrong, wrong == 0.0);
        }
    }

    /// By how many lines the worst of the operations of `side` moves more than futex(2).
    fn moves(&mut self, side: &str, shared_file: bool) {
        let mut besides: Vec<&str> = match self.hold {
            // Of what is in an arena, nothing is held.
            Hold::Inode if !side.starts_with("none") => HELD.to_vec(),
            Hold::Inode | Hold::Nothing => Vec::new(),
        };
        besides.extend(shared_file.then_some(SHARED_FILE));
        let of = |side: &str| -> Vec<&Line> {
            let lines = self.lines.iter();
            lines.filter(|line| line.is("lines", side)).collect()
        };
        let native = of("futex(2)");
        let more = |line: &Line| {
            let same = |other: &&&Line| other.case == line.case && other.x == line.x;
            let other = native.iter().find(same)?;
            let others = |line: &Line| {
                let named = besides.iter().filter_map(|name| line.figure(name));
                Some(line.figure("lines")? - named.sum::<f64>())
            };
            Some(others(line)? - others(other)?)
        };
        let of_side = of(side).into_iter();
        let Some((line, worst)) = of_side
            .filter_map(|line| Some((line, more(line)?)))
            .max_by(|one, other| one.1.total_cmp(&other.1))
        else {
            return;
        };
        let at = match line.x {
            Some(x) => format!("{}, {x} processors", line.case),
            None => line.case.clone(),
        };
        let besides = match &besides[..] {
            [] => String::new(),
            names => format!(" besides {}", names.join(", ")),
        };
        let claim = format!("{side}: no operation moves more lines than futex(2){besides}");
        self.claims.push(Claim {
            experiment: "lines".to_owned(),
            hold: self.hold,
            claim,
            figure: worst,
            at: Some(at),
            holds: worst <= SAME,
        });
    }

    /// The greatest cost through the one with the smallest crowd.
    fn flat(&mut self, side: &str, case: &str) {
        let meant = |line: &Line| line.is("crowd", side) && line.case == case;
        if let Some((experiment, figures)) = self.figures(&meant, "instructions") {
            let worst = figures.iter().copied().fold(f64::MIN, f64::max) / figures[0];
            let claim =
                format!("{side}, {case}: a wake costs the same however many sleep elsewhere");
            self.push(experiment, &claim, worst, worst <= FLAT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(experiment: &str, case: &str, x: f64, side: &str, name: &str, figure: f64) -> Line {
        Line {
            experiment: experiment.to_owned(),
            case: case.to_owned(),
            x: Some(x),
            side: side.to_owned(),
            hold: Hold::Inode,
            figures: vec![(name.to_owned(), figure)],
        }
    }

    fn holds(lines: &[Line]) -> Vec<bool> {
        claims(lines).into_iter().map(|claim| claim.holds).collect()
    }

    #[test]
    fn nothing_is_claimed_of_what_was_not_tried() {
        assert!(claims(&[]).is_empty());
        let native = line("threads", "private", 1.0, "futex(2)", "ratio", 1.0);
        assert!(claims(&[native]).is_empty());
    }

    #[test]
    fn nothing_is_claimed_of_times() {
        let mut time = line("page-lock", "wake, held", 1.0, "page", "median us", 1e6);
        time.figures.push(("ratio".to_owned(), 1e6));
        let slower = line("hash", "shared", 1.0, "page", "ratio", 0.1);
        assert!(claims(&[time, slower]).is_empty());
    }

    #[test]
    fn the_worst_figure_decides() {
        let point = |x, ratio| line("threads", "private", x, "page", "ratio", ratio);
        assert_eq!(holds(&[point(1.0, 0.8), point(4.0, 1.0)]), [true]);
        assert_eq!(holds(&[point(1.0, 1.01), point(4.0, 0.7)]), [false]);
    }

    #[test]
    fn each_module_is_judged_by_itself() {
        let inode = line("slab", "shared", 1.0, "page", "bytes a waiter", 0.0);
        let mut nothing = line("slab", "shared", 1.0, "page", "bytes a waiter", 500.0);
        nothing.hold = Hold::Nothing;
        let claims = claims(&[nothing, inode]);
        let judged: Vec<_> = claims
            .iter()
            .map(|claim| (claim.hold, claim.holds))
            .collect();
        assert_eq!(judged, [(Hold::Inode, true), (Hold::Nothing, false)]);
    }

    #[test]
    fn flat_is_within_a_tenth_of_the_first() {
        let point = |x, cost| line("crowd", "shared", x, "vma", "instructions", cost);
        assert_eq!(holds(&[point(1.0, 100.0), point(10.0, 109.0)]), [true]);
        assert_eq!(holds(&[point(1.0, 100.0), point(10.0, 111.0)]), [false]);
    }

    #[test]
    fn the_locked_resolver_has_to_be_stuck_and_no_other() {
        let point = |side, nr| line("page-lock", "wake, held", 1.0, side, "came through", nr);
        assert_eq!(holds(&[point("locked", 1.0)]), [false]);
        assert_eq!(holds(&[point("locked", 0.0)]), [true]);
        assert_eq!(holds(&[point("page", 0.0)]), [false]);
        assert_eq!(holds(&[point("page", 400.0)]), [true]);
        let slept = |side, nr| line("page-lock", "wake, fought for", 4.0, side, "slept", nr);
        assert_eq!(holds(&[slept("vma", 0.0)]), [true]);
        assert_eq!(holds(&[slept("vma", 1.0)]), [false]);
        assert!(holds(&[slept("locked", 9.0)]).is_empty());
    }

    #[test]
    fn a_known_program_has_to_come_out_as_known() {
        let program = |lines| {
            let mut program = line("lines, known", "push", 1.0, "program", "accesses", 8.0);
            for (name, figure) in [("lines", lines), ("upgrades", 0.0)] {
                program.figures.push((name.to_owned(), figure));
            }
            for (name, figure) in [("accesses", 8.0), ("lines", 1.0), ("upgrades", 0.0)] {
                program.figures.push((format!("{name} expected"), figure));
            }
            program
        };
        assert_eq!(holds(&[program(1.0)]), [true]);
        assert_eq!(holds(&[program(1.0), program(1.5)]), [false]);
    }

    #[test]
    fn no_operation_moves_more_lines_than_futex() {
        let point = |case, x, side, lines| line("lines", case, x, side, "lines", lines);
        let both = |hold, side, ours, named: &[(&str, f64)]| {
            let mut last = point("wake-none, shared", 4.0, side, ours);
            let named = named.iter().map(|&(name, lines)| (name.to_owned(), lines));
            last.figures.extend(named);
            let mut lines = [
                point("wake-none, shared", 2.0, "futex(2)", 9.0),
                point("wake-none, shared", 4.0, "futex(2)", 1.0),
                point("wake-none, shared", 2.0, side, 1.0),
                last,
            ];
            lines.iter_mut().for_each(|line| line.hold = hold);
            holds(&lines)
        };
        let (inode, nothing) = (Hold::Inode, Hold::Nothing);
        assert_eq!(both(nothing, "page", 1.0, &[]), [true]);
        assert_eq!(both(nothing, "page", 2.0, &[]), [false]);
        assert_eq!(both(inode, "none, one file", 2.0, &[]), [false]);
        // What is held is let pass where something is held, and the users of a file that is shared.
        let held = [("s_active", 1.0), ("i_count", 1.0)];
        assert_eq!(both(inode, "page", 3.0, &held), [true]);
        assert_eq!(both(nothing, "page", 3.0, &held), [false]);
        let file = [("f_ref", 1.0)];
        assert_eq!(both(nothing, "page, one file", 2.0, &file), [true]);
        assert_eq!(both(nothing, "page", 2.0, &file), [false]);
        assert!(both(nothing, "locked", 9.0, &[]).is_empty());
    }

    #[test]
    fn no_fault_falls_back() {
        let point = |side, nr| line("fault", "tmpfs", 1.0, side, "fallbacks", nr);
        assert_eq!(holds(&[point("page", 0.0), point("locked", 300.0)]), [true]);
        assert_eq!(holds(&[point("page", 1.0)]), [false]);
    }
}
