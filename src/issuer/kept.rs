//! Something fetched from an authorization server, of which the last good version is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::error::IssuerError;
use crate::oauth::{CallError, Clock, Flights, Trouble};

/// Good things are fetched anew after this long.
pub(super) const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// The last good version of something, how old it is, and the one flight that renews it.
pub(super) struct Kept<T> {
    good: ArcSwapOption<(Arc<T>, Instant)>,
    trouble: Trouble<IssuerError>,
    flights: Flights<(), Result<Arc<T>, IssuerError>>,
    clock: Clock,
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { good: ArcSwapOption::empty(), trouble: Trouble::default(), flights: Flights::default(), clock }
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
            None => Err(self.trouble.last().unwrap_or(CallError::NoAnswer.into())),
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
        Some(seat.landed(limit).await.unwrap_or(Err(CallError::NoAnswer.into())))
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
