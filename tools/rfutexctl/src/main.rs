// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl`: who waits in rfutex, and waits and wakes for shell scripts.

mod cli;
mod device;
mod doctor;
mod examples;
mod facts;
mod filter;
mod key;
mod list;
mod man;
mod meet;
mod place;
mod record;
mod run;
mod source;
mod status;
mod tables;
mod top;
mod trace;
mod word;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::Parser;

use cli::{Cli, Command};
use facts::Proc;
use source::Device;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = carry_out(cli.command, &mut out)
        .and_then(|status| Ok(out.flush().map(|()| ExitCode::from(status))?));
    match result {
        Ok(code) => code,
        // Nobody reads any more: there is nothing left to do.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If that cannot be said either, the exit status says it.
            let _ = writeln!(io::stderr(), "rfutexctl: {error:#}");
            let refused = error.downcast_ref::<run::Refused>();
            refused.map_or(ExitCode::FAILURE, |refused| refused.status.into())
        }
    }
}

/// Carries out `command`. Returns the exit status.
fn carry_out(command: Command, out: &mut impl Write) -> Result<u8> {
    match command {
        Command::Status => status::run(out),
        Command::List(options) => list::run(&options, &mut Device::default(), out),
        Command::Top(options) => top::run(&options),
        Command::Doctor(options) => {
            doctor::run(&options, &mut Device::default(), &Proc::default(), out)
        }
        Command::Key(options) => key::run(&options, out),
        Command::Trace(options) => trace::run(&options, out),
        Command::Run(options) => run::run(&options),
        Command::Wait(options) => meet::wait(&options),
        Command::Wake(options) => meet::wake(&options, out),
        Command::Store(options) => meet::store(&options, out),
        Command::Load(options) => meet::load(&options, out),
        Command::Completions { shell } => man::completions(shell, out),
        Command::Man { dir } => man::write_to(&dir),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>();
        kind.or(json.and_then(serde_json::Error::io_error_kind)) == Some(ErrorKind::BrokenPipe)
    })
}
