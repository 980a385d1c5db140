// SPDX-License-Identifier: GPL-2.0
//! What became of the tests: a line each as it ends, and the totals.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use rfutex_guest::event::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// The tests that have ended, and the one that has not.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    outcomes: Vec<Outcome>,
    running: Option<String>,
    deaths: Vec<String>,
}

impl Report {
    /// Notes that a test began.
    pub fn started(&mut self, name: String) {
        self.running = Some(name);
    }

    /// Notes and prints that a test ended.
    pub fn ended(&mut self, outcome: Outcome) -> io::Result<()> {
        if self.running.as_ref() == Some(&outcome.name) {
            self.running = None;
        }
        print_outcome(&mut io::stdout().lock(), &outcome)?;
        self.outcomes.push(outcome);
        Ok(())
    }

    /// Notes and prints that a test on the host ended: it has failed if anything is
    /// `wrong`.
    pub fn judged(
        &mut self,
        name: String,
        seconds: f64,
        wrong: impl IntoIterator<Item = String>,
        log: String,
    ) -> io::Result<()> {
        let why: Vec<_> = wrong.into_iter().collect();
        let verdict = if why.is_empty() {
            Verdict::Passed
        } else {
            Verdict::Failed
        };
        self.ended(Outcome {
            name,
            verdict,
            seconds,
            why,
            splats: Vec::new(),
            log,
        })
    }

    /// The VM ended before its plan was done: the test that was running has
    /// failed, or the VM itself has.
    pub fn cut_short(&mut self, why: String, splats: Vec<String>, log: String) -> io::Result<()> {
        let name = self.running.take().unwrap_or_else(|| "vm".to_owned());
        let why = vec![why];
        self.ended(Outcome {
            name,
            verdict: Verdict::Failed,
            seconds: 0.0,
            why,
            splats,
            log,
        })
    }

    /// Notes, and says at once, that a boot came to nothing before anything of
    /// ours ran in it, and is made once more. That is no test that failed.
    pub fn died_booting(&mut self, why: String) {
        eprintln!("  vm         {why}");
        self.deaths.push(why);
    }

    /// Names the boots that were made once more, each on a line.
    pub fn deaths(&self) -> String {
        let deaths = self.deaths.iter();
        deaths.map(|why| format!("once more: {why}\n")).collect()
    }

    /// Notes what ended the run early, if anything did: the harness itself
    /// failed then, and with it the test that was running.
    pub fn close(&mut self, result: anyhow::Result<()>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        self.running.get_or_insert_with(|| "harness".to_owned());
        self.cut_short(format!("{error:#}"), Vec::new(), String::new())
    }

    /// Adds another report, whose tests ran meanwhile.
    pub fn join(&mut self, other: Self) {
        self.outcomes.extend(other.outcomes);
        self.deaths.extend(other.deaths);
        self.running = self.running.take().or(other.running);
    }

    /// Every test that has ended, in order.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// How many tests ended in `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.outcomes
            .iter()
            .filter(|o| o.verdict == verdict)
            .count()
    }

    /// True if something was tested and nothing failed.
    pub fn good(&self) -> bool {
        self.count(Verdict::Failed) == 0 && self.count(Verdict::Passed) > 0
    }

    /// Names the `nr` tests that took longest.
    pub fn slowest(&self, nr: usize) -> String {
        let mut by_time: Vec<_> = self.outcomes.iter().collect();
        by_time.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let slow: Vec<_> = by_time
            .iter()
            .take(nr)
            .map(|o| format!("{} {:.1} s", o.name, o.seconds))
            .collect();
        format!("slowest: {}", slow.join(", "))
    }

    /// Names the tests that failed, each once more on a line.
    pub fn failures(&self) -> String {
        let failed = self.outcomes.iter();
        failed
            .filter(|o| o.verdict == Verdict::Failed)
            .map(|o| format!("failed:  {}\n", o.name))
            .collect()
    }
}

impl fmt::Display for Report {
    /// The closing line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed, skipped] =
            [Verdict::Passed, Verdict::Failed, Verdict::Skipped].map(|v| self.count(v));
        write!(f, "{passed} passed, {failed} failed")?;
        if skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

/// One line a test; of one that failed also why, and its log.
fn print_outcome(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let word = match outcome.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "skip",
    };
    write!(out, "{word:4} {:7.2} s  {}", outcome.seconds, outcome.name)?;
    match outcome.verdict {
        Verdict::Skipped => writeln!(out, " ({})", outcome.why.join("; "))?,
        _ => writeln!(out)?,
    }
    if outcome.verdict == Verdict::Failed {
        for why in &outcome.why {
            writeln!(out, "     {}", why.replace('\n', "\n       "))?;
        }
        for line in outcome.log.lines() {
            writeln!(out, "       | {line}")?;
        }
    }
    out.flush()
}

/// Where the time went.
#[derive(Debug, Default)]
pub struct Phases(Vec<(String, Duration)>);

impl Phases {
    /// Notes how long something took.
    pub fn add(&mut self, what: &str, took: Duration) {
        self.0.push((what.to_owned(), took));
    }

    /// Adds what took its time meanwhile.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases: Vec<_> = self
            .0
            .iter()
            .map(|(what, took)| format!("{what} {:.1} s", took.as_secs_f64()))
            .collect();
        write!(f, "time: {}", phases.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, verdict: Verdict) -> Outcome {
        let (why, splats) = (vec!["why".to_owned()], Vec::new());
        Outcome {
            name: name.to_owned(),
            verdict,
            seconds: 0.5,
            why,
            splats,
            log: "a\nb".to_owned(),
        }
    }

    #[test]
    fn no_test_at_all_is_no_success() {
        let mut report = Report::default();
        assert!(!report.good());
        report.ended(outcome("a", Verdict::Skipped)).unwrap();
        assert!(!report.good());
        report.ended(outcome("b", Verdict::Passed)).unwrap();
        assert!(report.good());
        assert_eq!(report.to_string(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn one_failure_among_many_is_failure() {
        let mut report = Report::default();
        for name in ["a", "b", "c"] {
            report.ended(outcome(name, Verdict::Passed)).unwrap();
        }
        report.ended(outcome("d", Verdict::Failed)).unwrap();
        assert!(!report.good());
        assert_eq!(report.to_string(), "3 passed, 1 failed");
    }

    #[test]
    fn a_failure_in_one_of_two_lanes_is_failure() {
        let [mut good, mut bad] = [Report::default(), Report::default()];
        good.ended(outcome("a", Verdict::Passed)).unwrap();
        bad.started("b".to_owned());
        bad.close(Err(anyhow::anyhow!("no kernel"))).unwrap();
        good.join(bad);
        assert_eq!(good.to_string(), "1 passed, 1 failed");
        assert_eq!(good.failures(), "failed:  b\n");
    }

    #[test]
    fn a_dead_vm_fails_the_test_that_ran() {
        let mut report = Report::default();
        report.started("keys::thp".to_owned());
        report
            .cut_short("panic".to_owned(), vec![], String::new())
            .unwrap();
        assert_eq!(report.outcomes()[0].name, "keys::thp");
        report
            .cut_short("no end".to_owned(), vec![], String::new())
            .unwrap();
        assert_eq!(report.outcomes()[1].name, "vm");
        assert!(!report.good());
    }

    #[test]
    fn an_error_of_the_harness_is_a_failure() {
        let mut report = Report::default();
        report.ended(outcome("a", Verdict::Passed)).unwrap();
        report.close(Ok(())).unwrap();
        assert_eq!(report.to_string(), "1 passed, 0 failed");
        report.close(Err(anyhow::anyhow!("no kernel"))).unwrap();
        assert_eq!(report.to_string(), "1 passed, 1 failed");
        let last = report.outcomes().last().unwrap();
        assert_eq!(
            (last.name.as_str(), last.why[0].as_str()),
            ("harness", "no kernel")
        );
        assert!(!report.good());
    }

    #[test]
    fn a_line_a_test() {
        let mut out = Vec::new();
        print_outcome(&mut out, &outcome("x::y", Verdict::Passed)).unwrap();
        print_outcome(&mut out, &outcome("x::z", Verdict::Failed)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "ok      0.50 s  x::y\nFAIL    0.50 s  x::z\n     why\n       | a\n       | b\n"
        );
    }
}
