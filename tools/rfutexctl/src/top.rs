// SPDX-License-Identifier: GPL-2.0
//! `top`: who waits, as it changes.

mod draw;
mod rates;
mod rows;
mod state;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::Top;
use crate::filter::Filter;
use crate::source::{Device, Source};
use rates::Rates;
use state::{Flow, State};

/// How often signals are looked at, at least.
const TICK: Duration = Duration::from_millis(100);

/// Runs the command. Returns the exit status.
pub fn run(options: &Top) -> Result<u8> {
    let filter = Filter::new(&options.filter)?;
    ensure!(io::stdout().is_terminal(), "top needs a terminal");
    let interval = options.interval.max(TICK);
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let mut source = Device::default();
    let mut list = || -> Result<_> {
        let mut records = source.list()?.records;
        records.retain(|record| filter.wants(record));
        Ok(records)
    };
    // Before the screen is taken: what is wrong from the start is said where it can be read.
    let mut state = State::new(list()?);
    let mut rates = Rates::begin();
    state.set_rates(
        rates
            .as_mut()
            .map(Rates::take)
            .map_err(|e| format!("{e:#}")),
    );

    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let result = (|| -> Result<()> {
        let mut next = Instant::now() + interval;
        loop {
            terminal.draw(|frame| draw::draw(&mut state, frame))?;
            if !next_event(next, &ended, &mut state)? {
                return Ok(());
            }
            if Instant::now() >= next {
                state.update(list()?);
                state.set_rates(
                    rates
                        .as_mut()
                        .map(Rates::take)
                        .map_err(|e| format!("{e:#}")),
                );
                next = Instant::now() + interval;
            }
        }
    })();
    ratatui::try_restore()?;
    result.map(|()| 0)
}

/// Handles events until one has changed the screen, or `next` has come. False at the end.
fn next_event(next: Instant, ended: &AtomicBool, state: &mut State) -> Result<bool> {
    loop {
        if ended.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        if !event::poll(left.min(TICK))? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                return Ok(state.key(key) == Flow::GoOn);
            }
            Event::Resize(..) => return Ok(true),
            _ => (),
        }
    }
}
