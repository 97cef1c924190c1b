//! How a sink is doing: counted by its worker, read by whoever watches.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// How a sink is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Recorded events that it does not have yet.
    pub lag: u64,
    /// The age of the oldest of them; none when there is none, or it has not been looked at.
    pub oldest: Option<Duration>,
    /// Events it took since the start.
    pub delivered: u64,
    /// Events it refused for good since the start.
    pub rejected: u64,
    /// Failed attempts since the start.
    pub failures: u64,
    /// Why it takes nothing now; absent when it does, or has not been tried.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Everything up to here it has, or refused for good; absent until its place is known.
    through: Option<u64>,
    /// When the first event after that was recorded.
    oldest: Option<Timestamp>,
    delivered: u64,
    rejected: u64,
    failures: u64,
    last_error: Option<String>,
}

/// What a worker counts. The same through reloads.
#[derive(Debug)]
pub(super) struct Tally {
    name: String,
    numbers: Mutex<Numbers>,
}

impl Tally {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), numbers: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The sink's place, before anything is sent; the first event after it was recorded then.
    pub(super) fn begins(&self, through: u64, oldest: Option<Timestamp>) {
        let mut numbers = self.numbers();
        (numbers.through, numbers.oldest) = (Some(through), oldest);
    }

    /// An event recorded then waits; the oldest that waits counts.
    pub(super) fn waits(&self, recorded: Timestamp) {
        self.numbers().oldest.get_or_insert(recorded);
    }

    /// It has everything up to `through`, but for so many.
    pub(super) fn took(&self, through: u64, rejected: usize, oldest: Option<Timestamp>) {
        let mut numbers = self.numbers();
        let settled = through.saturating_sub(numbers.through.unwrap_or(through));
        let rejected = u64::try_from(rejected).unwrap_or(u64::MAX);
        numbers.delivered = numbers.delivered.saturating_add(settled.saturating_sub(rejected));
        numbers.rejected = numbers.rejected.saturating_add(rejected);
        (numbers.through, numbers.oldest) = (Some(through), oldest);
    }

    /// An attempt failed; true when the one before did not.
    pub(super) fn failed(&self, cause: String) -> bool {
        let mut numbers = self.numbers();
        numbers.failures = numbers.failures.saturating_add(1);
        numbers.last_error.replace(cause).is_none()
    }

    /// It works; true when it did not before.
    pub(super) fn works(&self) -> bool {
        self.numbers().last_error.take().is_some()
    }

    /// How it is doing, when `head` is the newest event.
    #[expect(clippy::disallowed_methods, reason = "an age is told when somebody asks, outside any request")]
    pub(super) fn status(&self, head: u64) -> Status {
        let numbers = self.numbers();
        let lag = numbers.through.map_or(0, |through| head.saturating_sub(through));
        let age = |recorded: Timestamp| Duration::try_from(Timestamp::now().duration_since(recorded));
        Status {
            name: self.name.clone(),
            lag,
            oldest: numbers.oldest.filter(|_| lag > 0).map(|recorded| age(recorded).unwrap_or_default()),
            delivered: numbers.delivered,
            rejected: numbers.rejected,
            failures: numbers.failures,
            last_error: numbers.last_error.clone(),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
