//! Something fetched from an authorization server, of which the last good version is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::error::IssuerError;
use super::flight::Flights;

/// Tells monotonic time; tests bring their own.
pub(super) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Good things are fetched anew after this long.
pub(super) const REFRESH_AFTER: Duration = Duration::from_secs(300);

const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A server that comes back must be noticed within seconds (FLT-033), so pauses grow no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How a server has failed lately, and until when it is left alone.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    failures: u32,
    last: Option<(IssuerError, Instant)>,
}

impl Trouble {
    /// The last failure and the rest of the pause, while it lasts.
    pub(super) fn pausing(&self, now: Instant) -> Option<(IssuerError, Duration)> {
        let record = self.record();
        let (error, until) = record.last.as_ref()?;
        let rest = until.saturating_duration_since(now);
        (!rest.is_zero()).then(|| (error.clone(), rest))
    }

    /// The last failure, unless something went well since.
    pub(super) fn last(&self) -> Option<IssuerError> {
        self.record().last.as_ref().map(|(error, _)| error.clone())
    }

    /// Notes a failure; the first `tolerated` ones cause no pause.
    pub(super) fn failed(&self, error: IssuerError, now: Instant, tolerated: u32) {
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
    pub(super) fn over(&self) {
        *self.record() = Record::default();
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last good version of something, how old it is, and the one flight that renews it.
pub(super) struct Kept<T> {
    good: ArcSwapOption<(Arc<T>, Instant)>,
    trouble: Trouble,
    flights: Flights<(), Result<Arc<T>, IssuerError>>,
    clock: Clock,
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { good: ArcSwapOption::empty(), trouble: Trouble::default(), flights: Flights::new(), clock }
    }

    /// The last good version and its age.
    pub(super) fn last_good(&self) -> Option<(Arc<T>, Duration)> {
        let good = self.good.load();
        let (value, at) = good.as_deref()?;
        Some((Arc::clone(value), (self.clock)().saturating_duration_since(*at)))
    }

    /// Whether it is time to fetch it (again).
    pub(super) fn due(&self) -> bool {
        self.last_good().is_none_or(|(_, age)| age >= REFRESH_AFTER)
    }

    /// The last failure, unless a fetch went well since.
    pub(super) fn trouble(&self) -> Option<IssuerError> {
        self.trouble.last()
    }

    /// How long the server is left alone for now.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.trouble.pausing((self.clock)()).map(|(_, rest)| rest)
    }

    /// Fetches it, sharing a fetch in flight; waits no longer than `limit`. While the server is left alone the last
    /// failure is the answer.
    pub(super) async fn renew<F>(
        self: &Arc<Self>,
        limit: Duration,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<T>, IssuerError>
    where
        F: Future<Output = Result<T, IssuerError>> + Send + 'static,
    {
        let alone = || self.trouble.pausing((self.clock)()).is_none();
        match self.renew_if(limit, alone, fetch).await {
            Some(renewed) => renewed,
            None => Err(self.trouble.last().unwrap_or(IssuerError::NoAnswer)),
        }
    }

    /// Shares a fetch in flight, or starts one if `allowed`; `None` when neither.
    pub(super) async fn renew_if<F>(
        self: &Arc<Self>,
        limit: Duration,
        allowed: impl FnOnce() -> bool,
        fetch: impl FnOnce() -> F,
    ) -> Option<Result<Arc<T>, IssuerError>>
    where
        F: Future<Output = Result<T, IssuerError>> + Send + 'static,
    {
        let kept = Arc::clone(self);
        let seat = self.flights.join((), allowed, || {
            let fetch = fetch();
            async move { kept.note(fetch.await) }
        })?;
        Some(seat.landed(limit).await.unwrap_or(Err(IssuerError::NoAnswer)))
    }

    /// How many wait for a fetch in flight.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.flights.seats()
    }

    fn note(&self, fetched: Result<T, IssuerError>) -> Result<Arc<T>, IssuerError> {
        let now = (self.clock)();
        match fetched {
            Ok(value) => {
                let value = Arc::new(value);
                self.good.store(Some(Arc::new((Arc::clone(&value), now))));
                self.trouble.over();
                Ok(value)
            }
            Err(error) => {
                // What was good stays in force (KEYS-008); the operator hears about it.
                tracing::warn!(%error, "authorization server not usable");
                self.trouble.failed(error.clone(), now, 0);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> IssuerError {
        IssuerError::TimedOut { url: "https://as.test".to_owned() }
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
