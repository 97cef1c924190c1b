//! Something fetched from an authorization server, of which the last good version is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::error::IssuerError;
use crate::oauth::{CallError, Clock, Flights, Terms, Trouble};

/// Whatever a server says of how short its answers are fresh, it is not asked more often than this.
const LEAST_FRESH: Duration = Duration::from_secs(10);

/// What a fetch brought.
pub(super) enum Renewal<T> {
    /// Something new, with the terms it comes on.
    New(T, Terms),
    /// What is kept is still so.
    Same(Terms),
}

/// The last good version of something, how old it is, and the one flight that renews it.
pub(super) struct Kept<T> {
    good: ArcSwapOption<Good<T>>,
    trouble: Trouble<IssuerError>,
    flights: Flights<(), Result<Arc<T>, IssuerError>>,
    /// Thousandths of its life that it is renewed ahead of time: replicas that started together drift apart.
    ahead: u32,
    outcomes: Outcomes,
    clock: Clock,
}

struct Good<T> {
    value: Arc<T>,
    since: Instant,
    terms: Terms,
}

/// How fetches ended, for those who watch.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    new: AtomicU64,
    same: AtomicU64,
    failed: AtomicU64,
}

impl Outcomes {
    /// New, unchanged and failed.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.new, &self.same, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(clock: Clock) -> Self {
        let mut random = 0_u8;
        // Without random bytes nothing is renewed ahead of time, which is as good.
        let filled = aws_lc_rs::rand::fill(std::slice::from_mut(&mut random));
        let ahead = filled.map_or(0, |()| u32::from(random) * 100 / 255);
        Self {
            good: ArcSwapOption::empty(),
            trouble: Trouble::default(),
            flights: Flights::default(),
            ahead,
            outcomes: Outcomes::default(),
            clock,
        }
    }

    /// The last good version and its age.
    pub(super) fn last_good(&self) -> Option<(Arc<T>, Duration)> {
        let good = self.good.load();
        let good = good.as_deref()?;
        Some((Arc::clone(&good.value), self.age(good)))
    }

    /// Whether it is time to fetch it (again): after `refresh`, or sooner when its server called it fresh for less.
    pub(super) fn due(&self, refresh: Duration) -> bool {
        let good = self.good.load();
        let Some(good) = good.as_deref() else { return true };
        let told = good.terms.fresh_for().map_or(refresh, |told| told.max(LEAST_FRESH).min(refresh));
        self.age(good) >= told.saturating_sub(told / 1000 * self.ahead)
    }

    /// How fetches ended.
    pub(super) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    fn age(&self, good: &Good<T>) -> Duration {
        (self.clock)().saturating_duration_since(good.since)
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
        fetch: impl FnOnce(Option<Terms>) -> F,
    ) -> Result<Arc<T>, IssuerError>
    where
        F: Future<Output = Result<Renewal<T>, IssuerError>> + Send + 'static,
    {
        let alone = || self.trouble.pausing((self.clock)()).is_none();
        match self.renew_if(limit, alone, fetch).await {
            Some(renewed) => renewed,
            None => Err(self.trouble.last().unwrap_or(CallError::NoAnswer.into())),
        }
    }

    /// Shares a fetch in flight, or starts one if `allowed`; `None` when neither. The fetch gets the terms of what is kept.
    pub(super) async fn renew_if<F>(
        self: &Arc<Self>,
        limit: Duration,
        allowed: impl FnOnce() -> bool,
        fetch: impl FnOnce(Option<Terms>) -> F,
    ) -> Option<Result<Arc<T>, IssuerError>>
    where
        F: Future<Output = Result<Renewal<T>, IssuerError>> + Send + 'static,
    {
        let kept = Arc::clone(self);
        let seat = self.flights.join((), allowed, || {
            let fetch = fetch(self.good.load().as_deref().map(|good| good.terms.clone()));
            let since = (self.clock)();
            async move { kept.note(fetch.await, since) }
        })?;
        Some(seat.landed(limit).await.unwrap_or(Err(CallError::NoAnswer.into())))
    }

    /// How many wait for a fetch in flight.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.flights.seats()
    }

    fn note(&self, fetched: Result<Renewal<T>, IssuerError>, since: Instant) -> Result<Arc<T>, IssuerError> {
        let kept = self.good.load_full();
        let (good, count) = match (fetched, kept) {
            (Ok(Renewal::New(value, terms)), _) => {
                (Good { value: Arc::new(value), since, terms }, &self.outcomes.new)
            }
            (Ok(Renewal::Same(terms)), Some(kept)) => {
                let terms = kept.terms.renewed(terms);
                (Good { value: Arc::clone(&kept.value), since, terms }, &self.outcomes.same)
            }
            (Ok(Renewal::Same(_)), None) => return Err(self.note_failure(IssuerError::NothingKept)),
            (Err(error), _) => return Err(self.note_failure(error)),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let value = Arc::clone(&good.value);
        self.good.store(Some(Arc::new(good)));
        self.trouble.over();
        Ok(value)
    }

    /// What was good stays in force (KEYS-008); the operator hears about it.
    fn note_failure(&self, error: IssuerError) -> IssuerError {
        tracing::warn!(%error, "authorization server not usable");
        self.outcomes.failed.fetch_add(1, Ordering::Relaxed);
        let now = (self.clock)();
        match error.retry_after() {
            Some(pause) => self.trouble.asked_for(pause, error.clone(), now),
            None => self.trouble.failed(error.clone(), now, 0),
        }
        error
    }
}
