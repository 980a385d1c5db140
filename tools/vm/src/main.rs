// SPDX-License-Identifier: GPL-2.0
//! Boots the test kernel, runs what is asked for in it, and judges it.

mod bench;
mod boots;
mod calls;
mod check;
mod coverage;
mod fuzz;
mod gdb;
mod harness;
mod host;
mod install_tests;
mod interrupt;
mod kernels;
mod kvm;
mod own;
mod peers;
mod places;
mod programs;
mod qmp;
mod recording;
mod report;
mod results;
mod root;
mod run_tests;
mod samples;
mod screen;
mod session;
mod splats;
mod stages;
mod stock;
mod suites;
mod terminal;
mod vng;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rfutex_guest::plan::Plan;

use interrupt::Interrupt;
use own::{Brought, Job};
use report::Report;
use session::{Places, Session};
use stock::StockKernel;
use terminal::Terminal;
use vng::{Limits, Machine};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Do,
}

/// The machine and where things are.
#[derive(Args, Clone, Debug)]
struct Options {
    /// The kernel's build directory
    #[arg(long, value_name = "DIR")]
    kdir: PathBuf,
    /// The checkout
    #[arg(long, value_name = "DIR")]
    top: PathBuf,
    /// The directory with the modules built for this kernel: module/ and lab/ below it
    #[arg(long, value_name = "DIR")]
    modules: PathBuf,
    /// The directory with our programs
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// The directory with the preloaded library and its tests, which need not be there where nothing
    /// uses them [default: that below build/ in the checkout]
    #[arg(long, value_name = "DIR")]
    preload: Option<PathBuf>,
    /// The directory that outlives the checkout
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// The directory with busybox and bash for a guest of another architecture
    #[arg(long, value_name = "DIR", global = true)]
    guest_tools: Option<PathBuf>,
    #[command(flatten)]
    stock: StockKernel,
    /// Processors of the VM
    #[arg(long, value_name = "N", default_value_t = 2, global = true)]
    cpus: u32,
    /// Memory of the VM, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1536, global = true)]
    memory: u32,
    /// More of the kernel's command line (may be given more than once)
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true, global = true)]
    append: Vec<String>,
    /// More of QEMU's command line
    #[arg(
        long,
        value_name = "OPTIONS",
        allow_hyphen_values = true,
        global = true
    )]
    qemu_opts: Option<String>,
    /// More of virtme-ng's command line, with quotes as a shell has them
    #[arg(
        long,
        value_name = "OPTIONS",
        allow_hyphen_values = true,
        global = true
    )]
    virtme: Option<String>,
    /// Seconds that a test may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
}

#[derive(Subcommand)]
enum Do {
    /// Run all tests: on the host, KUnit, the selftests, the harness's own
    Check {
        /// Run only the selftests that have this in their name (may be given more than once)
        #[arg(long, value_name = "PART")]
        only: Vec<String>,
        /// Run only what runs in the VM with the module: the rest does not depend on the kernel
        #[arg(long)]
        only_module: bool,
        /// Leave out tests that run twice, with another parameter, if they hardly depend on it, and
        /// repeat less
        #[arg(long)]
        brief: bool,
    },
    /// Run the tests of the module on instrumented builds, and tell which lines none reaches
    Coverage {
        /// Run only the selftests that have this in their name (may be given more than once)
        #[arg(long, value_name = "PART")]
        only: Vec<String>,
        /// Run none: compare what the last run of all reached with the list of accepted lines
        #[arg(long)]
        again: bool,
    },
    /// Look for inputs that fail, among those that reach what no other has reached
    Fuzz {
        #[command(flatten)]
        choice: fuzz::Choice,
    },
    /// Run the harness's own tests: trigger each kind of splat and see the run fail; bring
    /// programs along, as a user might
    CheckHarness,
    /// Run test programs of others on futex(2) and on rfutex, and compare
    Peers {
        #[command(flatten)]
        built: peers::Built,
        /// Run only programs that have this in their name (may be given more than once)
        #[arg(long, value_name = "PART")]
        only: Vec<String>,
    },
    /// Run programs that many people use on futex(2) and on rfutex, and compare
    Programs {
        #[command(flatten)]
        choice: programs::Choice,
    },
    /// Measure rfutex and futex(2)
    Bench {
        #[command(flatten)]
        choice: bench::Choice,
        #[command(flatten)]
        time: bench::TimeKernel,
        /// The plugin of QEMU that counts cache lines that move between processors
        #[arg(long, value_name = "FILE")]
        lines: Option<PathBuf>,
    },
    /// Measure what has become cheaper and dearer since another version of the module
    BenchCompare {
        #[command(flatten)]
        base: bench::Base,
    },
    /// Show which instructions an operation consists of
    Profile {
        #[command(flatten)]
        operation: bench::Operation,
    },
    /// Boot the machine so many times, one after the other, and count how often that fails
    Boots {
        /// How often
        #[arg(long, value_name = "N", default_value_t = 200)]
        count: u32,
    },
    /// Show what the module does
    Demo,
    /// Run a command in the VM with the module loaded, or a shell without one
    Run {
        /// Load the lab build of the module
        #[arg(long)]
        lab: bool,
        /// Pass the output on line by line even if there is a terminal
        #[arg(long)]
        no_terminal: bool,
        #[command(flatten)]
        brought: Brought,
        /// The command
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Play the story that README tells, and keep it as a picture that moves
    Recording {
        /// The file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Start gdb on a VM with the module loaded, before a command runs in it
    Gdb {
        #[command(flatten)]
        brought: Brought,
        /// What gdb is told besides, with quotes as a shell has them
        #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
        gdb: Option<String>,
        /// The command
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Carry out one plan in one boot (what the harness's own tests and the mutants call)
    #[command(hide = true)]
    Session {
        /// With the selftests and what they need in the machine
        #[arg(long)]
        selftests: bool,
        /// With this build of the module as well (may be given more than once)
        #[arg(long, value_name = "BUILD")]
        module: Vec<String>,
        #[arg(long)]
        plan: PathBuf,
        #[arg(long)]
        report: PathBuf,
        #[arg(long)]
        silence: u64,
        /// What the console's log is called
        #[arg(long)]
        name: String,
    },
}

impl Options {
    fn places(&self) -> Result<Places> {
        let full = |dir: &PathBuf| {
            std::path::absolute(dir).with_context(|| format!("the directory {}", dir.display()))
        };
        let build = full(&self.top)?.join("build");
        let preload = match &self.preload {
            Some(dir) => full(dir)?,
            None => build.join("preload/x86_64-unknown-linux-gnu"),
        };
        Ok(Places {
            kdir: full(&self.kdir)?,
            build,
            preload,
            modules: full(&self.modules)?,
            programs: full(&self.programs)?,
            cache: full(&self.cache)?,
            guest_tools: self.guest_tools.as_ref().map(full).transpose()?,
            stock: self.stock.chosen()?,
        })
    }

    fn session<'a>(
        &self,
        places: &'a Places,
        interrupt: &'a Interrupt,
        limits: Limits,
    ) -> Result<Session<'a>> {
        let mut append = kernels::command_line(places)?;
        append.extend(self.append.iter().cloned());
        let top = std::path::absolute(&self.top)?;
        let shares = places.stock.as_ref().map(|stock| stock.shares(&top));
        let machine = Machine {
            image: places.image()?,
            architecture: kernels::architecture(places)?,
            cpus: self.cpus,
            memory: self.memory,
            append,
            qemu_opts: self.qemu_opts.clone(),
            virtme: words("--virtme", self.virtme.as_deref())?,
            shares: shares.unwrap_or_default(),
            input: None,
            kvm: false,
            patches_itself: kernels::patches_itself(places)?,
        };
        Ok(Session {
            places,
            machine,
            interrupt,
            limits,
            loaded: None,
        })
    }

    /// How long one boot for tests may take.
    fn limits(&self) -> Limits {
        // A test that hangs is ended in the guest, which then takes a while to
        // tell; more silence than that means that the guest itself hangs.
        let silence = Duration::from_secs(self.limit + 60);
        Limits {
            silence,
            total: Duration::from_secs(30 * 60),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rfutex-vm: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(cli: &Cli) -> Result<ExitCode> {
    let options = &cli.options;
    let places = options.places()?;
    let interrupt = Interrupt::take()?;
    let job = |build, programs, brought| Job {
        options,
        places: &places,
        interrupt: &interrupt,
        build,
        programs,
        brought,
    };
    match &cli.command {
        Do::Check {
            only,
            only_module,
            brief,
        } => {
            let check = check::Check::new(options, &places, &interrupt).briefly(*brief);
            Ok(close(&check.all(only, *only_module)?.report))
        }
        Do::Coverage { only, again } => {
            let top = std::path::absolute(&options.top)?;
            if *again {
                return Ok(exit_code(coverage::report_again(&places, &top)?));
            }
            let check = check::Check::new(options, &places, &interrupt).of_coverage();
            let checked = check.all(only, true)?;
            let all = only.is_empty() && checked.report.good();
            if only.is_empty() {
                coverage::keep(&places, &checked.reached)?;
            }
            let fits = coverage::report(&places, &top, &checked.reached, all)?;
            Ok(exit_code(
                close(&checked.report) == ExitCode::SUCCESS && fits,
            ))
        }
        Do::Fuzz { choice } => fuzz::run(options, &places, &interrupt, choice),
        Do::CheckHarness => {
            let mut report = Report::default();
            let result = harness::check(options, &places, &interrupt, &mut report);
            report.close(result)?;
            println!("{}", report.slowest(5));
            Ok(close(&report))
        }
        Do::Peers { built, only } => {
            let table = peers::run(options, &places, &interrupt, built, only)?;
            println!("{table}");
            Ok(exit_code(table.good()))
        }
        Do::Programs { choice } => {
            let table = programs::run(options, &places, &interrupt, choice)?;
            println!("{table}");
            Ok(exit_code(table.good()))
        }
        Do::Bench {
            choice,
            time,
            lines,
        } => {
            let time = time.places(&places)?;
            let bench = bench::Bench::new(options, &places, time.as_ref(), &interrupt)?;
            Ok(exit_code(bench.with_plugin(lines.as_ref()).run(choice)?))
        }
        Do::BenchCompare { base } => {
            let bench = bench::Bench::new(options, &places, None, &interrupt)?;
            Ok(exit_code(bench.compare(base)?))
        }
        Do::Profile { operation } => {
            let bench = bench::Bench::new(options, &places, None, &interrupt)?;
            Ok(exit_code(bench.profile(operation)?))
        }
        Do::Boots { count } => Ok(exit_code(boots::run(options, &places, &interrupt, *count)?)),
        Do::Demo => {
            let (demo, brought) = ("rfutex-demo", Brought::default());
            job("module", &[demo], &brought).run(&[demo.to_owned()], None)
        }
        Do::Run {
            lab,
            no_terminal,
            brought,
            command,
        } => {
            let build = if *lab { "lab" } else { "module" };
            let terminal = Terminal::ours().filter(|_| !no_terminal);
            job(build, host::PROGRAMS, brought).run(command, terminal.as_ref())
        }
        Do::Recording { to } => {
            recording::record(&std::path::absolute(&options.top)?, to)?;
            Ok(ExitCode::SUCCESS)
        }
        Do::Gdb {
            brought,
            gdb,
            command,
        } => {
            let arguments = words("--gdb", gdb.as_deref())?;
            let job = job("symbols", host::PROGRAMS, brought);
            gdb::run(&job, command, &arguments)
        }
        Do::Session {
            selftests,
            module,
            plan,
            report,
            silence,
            name,
        } => {
            let plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
            let silence = Duration::from_secs(*silence);
            let limits = Limits {
                silence,
                ..options.limits()
            };
            let mut session = options.session(&places, &interrupt, limits)?;
            let root = if *selftests {
                places.root_for_selftests()?
            } else {
                places.root(&[])?
            };
            for build in module {
                places.add_module(&root, build)?;
            }
            session.choose_accelerator(&root)?;
            let mut result = Report::default();
            session.run(&root, &plan, name, &mut result)?;
            std::fs::write(report, serde_json::to_vec(&result)?)?;
            Ok(close(&result))
        }
    }
}

/// Prints the totals, alone on the last line.
fn close(report: &Report) -> ExitCode {
    print!("{}{}", report.failures(), report.deaths());
    println!("{report}");
    exit_code(report.good())
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The words of what an option was given.
fn words(option: &str, given: Option<&str>) -> Result<Vec<String>> {
    shlex::split(given.unwrap_or_default())
        .with_context(|| format!("{option}: a quote is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_option_of_a_command_has_the_name_of_a_global_one() {
        let mut cli = Cli::command();
        cli.build();
        let globals: Vec<_> = cli
            .get_arguments()
            .filter(|arg| arg.is_global_set())
            .map(|arg| arg.get_id().clone())
            .collect();
        assert!(globals.len() > 2, "{globals:?}");
        for command in cli
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
        {
            let name = command.get_name();
            for id in &globals {
                let of_command = command.get_arguments().find(|arg| arg.get_id() == id);
                let global = of_command.is_some_and(|arg| arg.is_global_set());
                assert!(global, "{id} of {name}");
            }
        }
    }
}
