//! A server that fails is left alone for a moment (TOK-45, FLT-033).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells monotonic time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A server that comes back must be noticed within seconds (FLT-033), so pauses grow no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How a server has failed lately, and until when it is left alone.
#[derive(Debug)]
pub struct Trouble<E>(Mutex<Record<E>>);

#[derive(Debug)]
struct Record<E> {
    failures: u32,
    last: Option<(E, Instant)>,
}

impl<E> Default for Record<E> {
    fn default() -> Self {
        Self { failures: 0, last: None }
    }
}

impl<E> Default for Trouble<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<E: Clone> Trouble<E> {
    /// The last failure and the rest of the pause, while it lasts.
    pub fn pausing(&self, now: Instant) -> Option<(E, Duration)> {
        let record = self.record();
        let (error, until) = record.last.as_ref()?;
        let rest = until.saturating_duration_since(now);
        (!rest.is_zero()).then(|| (error.clone(), rest))
    }

    /// The last failure, unless something went well since.
    pub fn last(&self) -> Option<E> {
        self.record().last.as_ref().map(|(error, _)| error.clone())
    }

    /// Notes a failure; the first `tolerated` ones cause no pause.
    pub fn failed(&self, error: E, now: Instant, tolerated: u32) {
        let mut record = self.record();
        let counted = record.failures.saturating_sub(tolerated);
        let pause = if record.failures < tolerated {
            Duration::ZERO
        } else {
            FIRST_PAUSE.saturating_mul(1 << counted.min(8)).min(LONGEST_PAUSE)
        };
        record.failures = record.failures.saturating_add(1);
        record.last = Some((error, now.checked_add(pause).unwrap_or(now)));
    }

    /// Notes that all is well.
    pub fn over(&self) {
        *self.record() = Record::default();
    }

    fn record(&self) -> MutexGuard<'_, Record<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::CallError;

    fn error() -> CallError {
        CallError::TimedOut { url: "https://as.test".to_owned() }
    }

    /// A dead server is asked ever less often, and never less than every four seconds.
    #[test]
    fn pauses_grow_to_a_limit() {
        let trouble = Trouble::default();
        let start = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            trouble.failed(error(), start, 0);
            pauses.push(trouble.pausing(start).unwrap().1.as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
        assert!(trouble.pausing(start + Duration::from_secs(4)).is_none());
        trouble.over();
        assert!(trouble.pausing(start).is_none() && trouble.last().is_none());
    }

    /// Single failures of a busy endpoint pause nothing; a row of them does.
    #[test]
    fn some_failures_are_tolerated() {
        let trouble = Trouble::default();
        let start = Instant::now();
        let mut paused = Vec::new();
        for _ in 0..4 {
            trouble.failed(error(), start, 2);
            paused.push(trouble.pausing(start).is_some());
        }
        assert_eq!(paused, [false, false, true, true]);
    }
}
