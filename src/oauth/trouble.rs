//! A server that fails is left alone for a moment (TOK-45, FLT-033).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells monotonic time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The clock of this machine.
#[must_use]
pub fn monotonic() -> Clock {
    Arc::new(Instant::now)
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A server that comes back must be noticed within seconds (FLT-033), so pauses grow no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A server may ask for more than that, but not for ever (RFC 9110 §10.2.3).
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// How a server has failed lately, and until when it is left alone.
#[derive(Debug)]
pub struct Trouble<E>(Mutex<Record<E>>);

#[derive(Debug)]
struct Record<E> {
    failures: u32,
    last: Option<(E, Instant)>,
    /// Whether there was a pause, so that the next call is a probe; and how long the probe that runs may take.
    paused: bool,
    probe: Option<Instant>,
}

impl<E> Record<E> {
    fn note(&mut self, error: E, now: Instant, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        // Calls that began before the pause end in it; they must not cut it short.
        let until = now.checked_add(pause).unwrap_or(now);
        let until = self.last.take().map_or(until, |(_, before)| until.max(before));
        self.last = Some((error, until));
        self.paused |= !pause.is_zero();
        self.probe = None;
    }
}

impl<E> Default for Record<E> {
    fn default() -> Self {
        Self { failures: 0, last: None, paused: false, probe: None }
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

    /// Whether a call may be made now. After a pause one goes first, for at most `limit`; the others are refused until it
    /// is known how that went (FLT-033).
    ///
    /// # Errors
    /// The last failure, and how long to wait.
    pub fn enter(&self, now: Instant, limit: Duration) -> Result<(), (E, Duration)> {
        let mut record = self.record();
        let Some((error, until)) = record.last.clone().filter(|_| record.paused) else { return Ok(()) };
        let until = record.probe.map_or(until, |probe| until.max(probe));
        let rest = until.saturating_duration_since(now);
        if !rest.is_zero() {
            return Err((error, rest));
        }
        record.probe = now.checked_add(limit);
        Ok(())
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
        record.note(error, now, pause);
    }

    /// Notes a failure after which the server itself asked for a pause: at most a minute is granted.
    pub fn asked_for(&self, pause: Duration, error: E, now: Instant) {
        self.record().note(error, now, pause.clamp(FIRST_PAUSE, LONGEST_ASKED));
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

    /// FLT-033: after a pause one call goes first; only when it is known how that went, the others follow or wait again.
    #[test]
    fn one_call_goes_first() {
        let trouble = Trouble::default();
        let (start, limit) = (Instant::now(), Duration::from_secs(5));
        let at = |millis: u64| start + Duration::from_millis(millis);
        let may = |millis| trouble.enter(at(millis), limit).map_err(|(_, rest)| rest.as_millis());
        assert_eq!((may(0), may(0)), (Ok(()), Ok(())));
        trouble.failed(error(), start, 0);
        assert_eq!(may(0), Err(500));
        assert_eq!((may(500), may(500)), (Ok(()), Err(5000)));
        trouble.failed(error(), at(600), 0);
        assert_eq!((may(600), may(1600), may(1600)), (Err(1000), Ok(()), Err(5000)));
        // A probe that never came back gives its place to another.
        assert_eq!((may(6600), may(6600)), (Ok(()), Err(5000)));
        trouble.over();
        assert_eq!((may(6600), may(6600)), (Ok(()), Ok(())));
        // Failures that are tolerated leave the way open.
        trouble.failed(error(), at(7000), 2);
        assert_eq!((may(7000), may(7000)), (Ok(()), Ok(())));
    }

    /// RFC 9110 §10.2.3: a pause that was asked for counts at once, up to a minute, and later failures do not shorten it.
    #[test]
    fn a_server_may_ask_for_a_pause() {
        let start = Instant::now();
        for (asked, granted) in [(0, 500), (7, 7_000), (60, 60_000), (86_400, 60_000)] {
            let trouble = Trouble::default();
            trouble.asked_for(Duration::from_secs(asked), error(), start);
            trouble.failed(error(), start, 3);
            assert_eq!(trouble.pausing(start).unwrap().1.as_millis(), granted, "{asked} s");
        }
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
