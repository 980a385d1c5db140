// SPDX-License-Identifier: GPL-2.0
//! What one run of a program came to.

use rfutex_guest::event::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

use crate::calls::Calls;

/// How many times longer than a processor was busy a run may take, for that to be known well enough.
/// The Rust build was seen busy for 2.3 s of 929, on a host with much else to do, and for 5.9 of 15.
const MOST_IDLE: u64 = 100;

/// A run, as far as it can be compared.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Run {
    /// What was wrong, one sentence each, whatever it is compared with.
    pub wrong: Vec<String>,
    /// What the script says that the program did.
    pub result: String,
    /// How long what is measured took, in hundredths of a second.
    pub elapsed: u64,
    /// And for how much of that a processor was busy.
    pub busy: u64,
    /// What the library counted, if it was there.
    pub calls: Option<Calls>,
}

impl Run {
    /// Understands what became of a program.
    pub fn new(outcome: &Outcome) -> Self {
        let mut wrong = Vec::new();
        if outcome.verdict != Verdict::Passed {
            wrong.extend(outcome.why.iter().cloned());
        }
        let line = |mark: &str| {
            let lines = outcome.log.lines();
            let mut found = lines.filter_map(|line| line.strip_prefix(mark));
            found.next().map(str::to_owned)
        };
        let measured = line("measured: ").unwrap_or_default();
        let words: Vec<_> = measured.split(' ').collect();
        let (elapsed, busy) = match words[..] {
            ["elapsed", elapsed, "busy", busy] => (elapsed.parse().ok(), busy.parse().ok()),
            _ => (None, None),
        };
        if elapsed.is_none() || busy.is_none() {
            wrong.push("nothing was measured".to_owned());
        }
        Self {
            wrong,
            result: line("result: ").unwrap_or_default(),
            elapsed: elapsed.unwrap_or_default(),
            busy: busy.unwrap_or_default(),
            calls: Calls::in_output(&outcome.log),
        }
    }

    /// Why it is not known well enough what the run cost. The guest takes the time in which it does
    /// nothing from all the time there was: of what little is left, too much may be missing.
    pub fn waited_for_host(&self) -> Option<String> {
        (self.elapsed > MOST_IDLE * self.busy).then(|| {
            let (all, busy) = (self.elapsed / 100, self.busy as f64 / 100.0);
            format!(
                "it did something for {busy:.2} s of {all}, and waited for the host to read files: \
                 run it again, when the host has less to do"
            )
        })
    }

    /// What several runs of the same came to. What was wrong in one of them is wrong; what it cost
    /// is the least that it did.
    pub fn of_several(runs: Vec<Self>) -> Self {
        let mut wrong: Vec<_> = runs.iter().flat_map(|run| run.wrong.clone()).collect();
        for pair in runs.windows(2) {
            let [before, after] = [&pair[0].result, &pair[1].result];
            if before != after {
                wrong.push(format!("its result was \"{before}\", and then \"{after}\""));
            }
        }
        let shortest = runs.into_iter().min_by_key(|run| run.elapsed);
        Self {
            wrong,
            ..shortest.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: Verdict, log: &str) -> Run {
        Run::new(&Outcome {
            why: vec!["why".to_owned()],
            log: log.to_owned(),
            ..Outcome::new("x", verdict)
        })
    }

    #[test]
    fn what_a_script_says() {
        let log = "x\nmeasured: elapsed 120 busy 99\nresult: 7 of 7\n\
            rfutex-preload: process 5 wait 1 wake 2 requeue 0 wake_op 0 waitv 0 kernel 6 reopened 7\n";
        let good = run(Verdict::Passed, log);
        assert_eq!((good.elapsed, good.busy), (120, 99));
        assert_eq!(good.result, "7 of 7");
        let calls = Calls {
            device: 3,
            kernel: 6,
        };
        assert_eq!(good.calls, Some(calls));
        assert!(good.wrong.is_empty());
        assert_eq!(run(Verdict::Failed, log).wrong, ["why"]);
        for bad in ["", "measured: elapsed 1", "measured: elapsed x busy 1"] {
            assert_eq!(run(Verdict::Passed, bad).wrong.len(), 1, "{bad}");
        }
    }

    #[test]
    fn the_shortest_of_several() {
        let log =
            |elapsed, result| format!("measured: elapsed {elapsed} busy 9\nresult: {result}\n");
        let several = |logs: &[String]| {
            Run::of_several(logs.iter().map(|log| run(Verdict::Passed, log)).collect())
        };
        let good = several(&[log(120, "7"), log(90, "7"), log(100, "7")]);
        assert_eq!((good.elapsed, good.result.as_str()), (90, "7"));
        assert!(good.wrong.is_empty(), "{good:?}");
        let differ = several(&[log(90, "7"), log(100, "8")]);
        assert_eq!(differ.wrong, ["its result was \"7\", and then \"8\""]);
        let failed = several(&[log(90, "7"), "result: 7\n".to_owned()]);
        assert_eq!(failed.wrong, ["nothing was measured"]);
    }
}
