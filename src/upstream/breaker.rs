//! A backend that cannot be reached is left alone for a moment (FLT-033).
//!
//! Each request would otherwise wait for the same failure, and hold its place among those that may wait. After so many
//! failures in a row nobody asks for a while; then one request goes first, and the others follow once it was answered.
//! Any answer counts, an error's too: what is wrong with it is the backend's business, not the way's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the way to a backend has been lately.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row after which it rests; none: it never does.
    limit: u32,
    pause: Duration,
    failures: AtomicU32,
    rest: Mutex<Rest>,
}

#[derive(Debug, Clone, Copy)]
enum Rest {
    /// Nobody asks until then.
    Until(Instant),
    /// One asks; the others wait for how that ends.
    Trial,
}

/// A request that may be sent. One that ends without a word, because it was given up, leaves the way to the next.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    breaker: &'a Breaker,
    trial: Trial,
}

#[derive(Debug, PartialEq, Eq)]
enum Trial {
    No,
    Yes,
}

impl Breaker {
    /// One that has seen nothing. With a `limit` of none it never rests.
    pub(super) fn new(limit: u32, pause: Duration) -> Self {
        Self { limit, pause, failures: AtomicU32::new(0), rest: Mutex::new(Rest::Until(Instant::now())) }
    }

    /// Whether a request may be sent.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn admit(&self) -> Result<Admitted<'_>, Duration> {
        if self.limit == 0 || self.failures.load(Ordering::Acquire) < self.limit {
            return Ok(Admitted { breaker: self, trial: Trial::No });
        }
        let mut rest = self.rest();
        match *rest {
            Rest::Trial => Err(self.pause),
            Rest::Until(end) => {
                let left = end.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *rest = Rest::Trial;
                Ok(Admitted { breaker: self, trial: Trial::Yes })
            }
        }
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted<'_> {
    /// The backend answered.
    pub(super) fn answered(self) {
        if self.breaker.failures.load(Ordering::Acquire) != 0 {
            self.breaker.failures.store(0, Ordering::Release);
        }
    }

    /// It could not be reached, or was silent for too long. True when it is left alone from here on.
    pub(super) fn failed(self) -> bool {
        let breaker = self.breaker;
        let failures = breaker.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if breaker.limit == 0 || failures < breaker.limit {
            return false;
        }
        *breaker.rest() = Rest::Until(Instant::now() + breaker.pause);
        failures == breaker.limit
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.trial == Trial::Yes {
            let mut rest = self.breaker.rest();
            if matches!(*rest, Rest::Trial) {
                *rest = Rest::Until(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(40);

    fn fail(breaker: &Breaker, times: usize) -> bool {
        (0..times).any(|_| breaker.admit().expect("admitted").failed())
    }

    #[test]
    fn it_rests_after_failures_in_a_row() {
        let breaker = Breaker::new(3, PAUSE);
        assert!(!fail(&breaker, 2));
        breaker.admit().expect("two are not enough").answered();
        assert!(!fail(&breaker, 2), "an answer in between");
        assert!(fail(&breaker, 1), "three in a row");
        assert!(breaker.admit().is_err_and(|left| left <= PAUSE));
    }

    #[test]
    fn one_goes_first() {
        let breaker = Breaker::new(1, PAUSE);
        assert!(fail(&breaker, 1));
        std::thread::sleep(PAUSE);
        let first = breaker.admit().expect("the pause is over");
        assert!(breaker.admit().is_err(), "another while the first is on its way");
        assert!(!first.failed(), "it was resting before");
        assert!(breaker.admit().is_err(), "another pause");
        std::thread::sleep(PAUSE);
        drop(breaker.admit().expect("one that is given up"));
        breaker.admit().expect("the next").answered();
        drop((breaker.admit().expect("all"), breaker.admit().expect("all")));
    }

    #[test]
    fn without_a_limit_it_never_rests() {
        assert!(!fail(&Breaker::new(0, PAUSE), 100));
    }
}
