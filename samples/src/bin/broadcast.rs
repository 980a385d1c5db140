// SPDX-License-Identifier: GPL-2.0
//! A broadcast: whoever publishes something wakes all subscribers of its topic with one call.
//!
//! Each subscriber sleeps on a word of its own, however many topics it has. With a word for each
//! topic, it would have to sleep on several words at a time, and a publisher would have to make a
//! call for each topic that his news belong to.

use rfutex::{Error, PerThread, WakeEntry, Word};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Each subscriber wants to hear of the topics that its number can be divided by.
const SUBSCRIBERS: u32 = 24;
const TOPICS: [u32; 4] = [1, 2, 3, 5];
const ROUNDS: u32 = 200;

struct Subscriber {
    topics: Vec<u32>,
    /// How much was published for this subscriber.
    published: AtomicU32,
}

impl Subscriber {
    fn new(number: u32) -> Self {
        let wanted = TOPICS
            .into_iter()
            .filter(|topic| number.is_multiple_of(*topic));
        Self {
            topics: wanted.collect(),
            published: AtomicU32::new(0),
        }
    }

    fn word(&self) -> Word<'_> {
        Word::new(&self.published).private()
    }

    /// Hears of everything. Returns how often it looked.
    fn listen(&self, rfutex: &PerThread) -> Result<u32, Error> {
        let (mut heard, mut looks) = (0, 0);
        while heard < ROUNDS * self.topics.len() as u32 {
            match rfutex.get().wait(self.word(), heard.into()) {
                Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
            heard = self.published.load(Ordering::Acquire);
            looks += 1;
        }
        Ok(looks)
    }
}

/// Publishes something. Returns how many subscribers were asleep.
fn publish(rfutex: &PerThread, subscribers: &[Subscriber], topic: u32) -> Result<u32, Error> {
    let all = subscribers.iter();
    let concerned = all.filter(|subscriber| subscriber.topics.contains(&topic));
    let entries: Vec<_> = concerned
        .map(|subscriber| {
            subscriber.published.fetch_add(1, Ordering::Release);
            WakeEntry::new(subscriber.word(), 1)
        })
        .collect();
    // How many were woken on each word.
    let mut woken = vec![0; entries.len()];
    rfutex.get().wake_each(&entries, &mut woken)
}

fn main() -> Result<(), Error> {
    let rfutex = PerThread::open()?;
    let subscribers: Vec<_> = (0..SUBSCRIBERS).map(Subscriber::new).collect();
    let (woken, looks) = thread::scope(|scope| {
        let listen = |subscriber: &'_ _| Subscriber::listen(subscriber, &rfutex);
        let listeners: Vec<_> = subscribers
            .iter()
            .map(|subscriber| scope.spawn(move || listen(subscriber)))
            .collect();
        let mut woken = 0;
        for _ in 0..ROUNDS {
            for topic in TOPICS {
                woken += publish(&rfutex, &subscribers, topic)?;
            }
        }
        let mut looks = 0;
        for listener in listeners {
            looks += listener.join().expect("no thread panics")?;
        }
        Ok::<_, Error>((woken, looks))
    })?;
    println!("{SUBSCRIBERS} subscribers looked {looks} times, and were woken {woken} times");
    assert!(woken <= looks, "a wake was counted twice");
    Ok(())
}
