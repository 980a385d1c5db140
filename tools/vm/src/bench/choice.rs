// SPDX-License-Identifier: GPL-2.0
//! What is measured: in which boots, with which modules, by which commands.

use clap::Args;
use rfutex_figures::record::Hold;
use rfutex_guest::plan::Stage;

use crate::session::guest_module;

/// What to measure; if nothing is named, all there is.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// Count instructions of operations only, of the module that users have
    #[arg(long)]
    quick: bool,
    /// Only operations that have this in their names (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Only this experiment: crowd, threads, watches, lines, hash, page-lock, fault, reclaim, thp (may be given more than once)
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// Only this resolver (may be given more than once)
    #[arg(long, value_name = "NAME")]
    resolver: Vec<String>,
    /// Only with a module whose sleepers hold this (may be given more than once)
    #[arg(long, value_name = "WHAT", value_enum)]
    hold: Vec<Hold>,
}

/// What a machine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// One processor counts instructions.
    Instructions,
    /// A plugin of the emulator counts lines that move between many.
    Lines,
    /// Time is taken.
    Time,
}

/// One boot of the machine.
pub struct Boot {
    /// What it is for.
    pub name: &'static str,
    /// The machine.
    pub machine: Machine,
    /// The build of the module.
    pub module: &'static str,
    /// The resolvers of the operations; none is that of words in an arena.
    resolvers: &'static [&'static str],
    /// The only resolvers of the experiments, if not all that the module has.
    experiment_resolvers: &'static [&'static str],
    /// The experiments.
    experiments: &'static [&'static str],
}

/// The operations of the resolver that is in lab builds only are measured with
/// one; and so are the experiments in which it takes part.
pub const BOOTS: &[Boot] = &[
    Boot {
        name: "instructions",
        machine: Machine::Instructions,
        module: "module",
        resolvers: &["page", "vma", "none"],
        experiment_resolvers: &[],
        experiments: &["threads", "crowd", "watches"],
    },
    Boot {
        name: "instructions-lab",
        machine: Machine::Instructions,
        module: "lab",
        resolvers: &["locked"],
        experiment_resolvers: &[],
        experiments: &[],
    },
    Boot {
        name: "lines",
        machine: Machine::Lines,
        module: "module",
        resolvers: &[],
        experiment_resolvers: &[],
        experiments: &["lines"],
    },
    Boot {
        name: "lines-lab",
        machine: Machine::Lines,
        module: "lab",
        resolvers: &[],
        experiment_resolvers: &["locked"],
        experiments: &["lines"],
    },
    Boot {
        name: "time",
        machine: Machine::Time,
        module: "module",
        resolvers: &["page", "vma", "none"],
        experiment_resolvers: &[],
        experiments: &["hash"],
    },
    Boot {
        name: "time-lab",
        machine: Machine::Time,
        module: "lab",
        resolvers: &["locked"],
        experiment_resolvers: &[],
        experiments: &["hash", "page-lock", "fault", "reclaim", "thp"],
    },
];

/// One module in a boot, and what is measured while it is loaded.
#[derive(Debug, PartialEq)]
pub struct Load {
    hold: Hold,
    commands: Vec<Vec<String>>,
}

impl Load {
    /// What the guest does: the module comes and goes.
    pub fn stages(self, boot: &Boot) -> Vec<Stage> {
        let build = format!("{}/{}", boot.name, self.hold.name());
        let mut stages = vec![Stage::Insmod {
            module: guest_module(boot.module),
            // The default needs no parameter: modules of old revisions know none.
            parameters: match self.hold {
                Hold::Inode => Vec::new(),
                hold => vec![format!("hold={}", hold.name())],
            },
        }];
        stages.extend(self.commands.into_iter().map(|argv| Stage::Exec { argv }));
        stages.push(Stage::Log {
            name: format!("{build}/kernel log"),
        });
        stages.push(Stage::Unload { build });
        stages
    }
}

impl Choice {
    /// Instructions of the operations that have one of `only` in their names.
    pub fn quick(only: Vec<String>, hold: Hold) -> Self {
        Self {
            quick: true,
            only,
            experiment: Vec::new(),
            resolver: Vec::new(),
            hold: vec![hold],
        }
    }

    /// The modules that are loaded in a boot, one after the other.
    pub fn loads(&self, boot: &Boot) -> Vec<Load> {
        let all = [Hold::Inode, Hold::Nothing];
        let wanted = all
            .into_iter()
            .filter(|hold| self.hold.is_empty() || self.hold.contains(hold));
        // The first has measured what does not depend on it.
        let loads = wanted.enumerate().map(|(place, hold)| Load {
            hold,
            commands: self.commands(boot, place > 0),
        });
        loads.filter(|load| !load.commands.is_empty()).collect()
    }

    /// What the benchmark is called with while one module is loaded; with
    /// `files_only`, for words of files only.
    fn commands(&self, boot: &Boot, files_only: bool) -> Vec<Vec<String>> {
        let has = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let command = |what: &str, resolvers: Vec<String>| {
            let mut line = vec!["/bin/rfutex-bench".to_owned(), what.to_owned()];
            line.extend(resolvers);
            line.extend(files_only.then(|| "--files-only".to_owned()));
            line
        };
        let mut commands = Vec::new();
        let resolvers: Vec<_> = boot
            .resolvers
            .iter()
            .filter(|name| has(&self.resolver, name))
            .map(|name| format!("--resolver={name}"))
            .collect();
        let quick =
            self.quick && !(boot.machine == Machine::Instructions && boot.module == "module");
        let no_rows = self.only.is_empty() && !self.experiment.is_empty();
        if !resolvers.is_empty() && !quick && !no_rows {
            let unit = if boot.machine == Machine::Instructions {
                "instructions"
            } else {
                "time"
            };
            let mut rows = command(unit, resolvers);
            rows.extend(self.only.iter().map(|part| format!("--only={part}")));
            commands.push(rows);
        }
        let no_experiments = self.quick || (self.experiment.is_empty() && !self.only.is_empty());
        let experiments: Vec<_> = boot
            .experiments
            .iter()
            .filter(|name| has(&self.experiment, name) && !no_experiments)
            .map(|&name| name.to_owned())
            .collect();
        let resolvers: Vec<_> = match boot.experiment_resolvers {
            [] => self.resolver.iter().map(String::as_str).collect(),
            only => {
                let only = only.iter().copied();
                only.filter(|name| has(&self.resolver, name)).collect()
            }
        };
        let none = resolvers.is_empty() && !boot.experiment_resolvers.is_empty();
        if !experiments.is_empty() && !none {
            let resolvers = resolvers.iter().map(|name| format!("--resolver={name}"));
            let mut line = command("experiments", resolvers.collect());
            line.extend(experiments);
            commands.push(line);
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice::quick(Vec::new(), Hold::Inode)
    }

    /// What is loaded in the first boot.
    fn first(choice: &Choice) -> Vec<Load> {
        choice.loads(&BOOTS[0])
    }

    #[test]
    fn what_does_not_depend_on_hold_is_measured_once() {
        let mut choice = choice();
        for hold in [Hold::Inode, Hold::Nothing] {
            choice.hold = vec![hold];
            let loads = first(&choice);
            assert_eq!((loads.len(), loads[0].hold), (1, hold));
            assert!(!loads[0].commands[0].contains(&"--files-only".to_owned()));
        }
        choice.hold.clear();
        let loads = first(&choice);
        assert_eq!(loads.len(), 2, "both");
        assert!(loads[1].commands[0].contains(&"--files-only".to_owned()));
    }

    #[test]
    fn quick_is_one_boot_that_counts() {
        let boots = BOOTS.iter().filter(|boot| !choice().loads(boot).is_empty());
        assert!(boots.map(|boot| boot.name).eq(["instructions"]));
    }

    #[test]
    fn lines_are_counted_of_the_resolvers_that_a_boot_is_for() {
        let mut choice = choice();
        choice.quick = false;
        choice.experiment = vec!["lines".to_owned()];
        let resolvers = |choice: &Choice| -> Vec<(&str, usize)> {
            let boots = BOOTS.iter().filter(|boot| !choice.loads(boot).is_empty());
            let named = |word: &&String| word.starts_with("--resolver=");
            let of = |boot: &Boot| {
                choice.loads(boot)[0].commands[0]
                    .iter()
                    .filter(named)
                    .count()
            };
            boots.map(|boot| (boot.name, of(boot))).collect()
        };
        assert_eq!(resolvers(&choice), [("lines", 0), ("lines-lab", 1)]);
        choice.resolver = vec!["vma".to_owned()];
        assert_eq!(resolvers(&choice), [("lines", 1)]);
    }

    #[test]
    fn the_default_is_no_parameter() {
        let parameters = |hold| {
            let mut choice = choice();
            choice.hold = vec![hold];
            let stages = first(&choice).remove(0).stages(&BOOTS[0]);
            match &stages[0] {
                Stage::Insmod { parameters, .. } => parameters.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert!(parameters(Hold::Inode).is_empty());
        assert_eq!(parameters(Hold::Nothing), ["hold=nothing"]);
    }
}
