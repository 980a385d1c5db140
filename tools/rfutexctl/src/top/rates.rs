// SPDX-License-Identifier: GPL-2.0
//! How often each word is woken: counted from trace events.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::rows::Wakes;
use crate::trace::{Event, Instance};

/// Counts wakes.
#[derive(Debug)]
pub struct Rates {
    instance: Instance,
    since: Instant,
}

impl Rates {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// There are no trace events, or the user may not have them.
    pub fn begin() -> Result<Self> {
        Ok(Self {
            instance: Instance::new("top", &["rfutex_wake".to_owned()])?,
            since: Instant::now(),
        })
    }

    /// The waiters a second that were woken on each word since the last call.
    pub fn take(&mut self) -> Wakes {
        // Without the module there are no more; the listing tells that it has gone.
        let lines = self.instance.read(Duration::ZERO).unwrap_or_default();
        let now = Instant::now();
        let seconds = (now - self.since).as_secs_f64();
        self.since = now;
        count(lines.iter().filter_map(|line| Event::parse(line)), seconds)
    }
}

fn count(events: impl Iterator<Item = Event>, seconds: f64) -> Wakes {
    let mut wakes = Wakes::new();
    for event in events {
        if let (Some(key), Some(woken)) = (event.key(""), event.number("woken")) {
            *wakes.entry((key.object, key.position)).or_default() += woken as f64 / seconds;
        }
    }
    wakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_counted_by_word() {
        let event = |offset, woken| {
            Event::parse(&format!(
                "  a-1 [000] ..... 1.0: rfutex_wake: op=wake kind=inode object=00000000000000ff \
                 index=0 offset={offset} mask=0x1 nr=1 woken={woken}"
            ))
        };
        let events = [event(0, 1), event(4, 3), event(0, 2)];
        let wakes = count(events.into_iter().flatten(), 2.0);
        assert_eq!(wakes, Wakes::from([((255, 0), 1.5), ((255, 4), 1.5)]));
    }
}
