//! The gateway's own token: asked for once, renewed ahead of its end, so that no request waits for it after the first.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Again, Asked, Endpoint, Issued, NoToken, REFUSALS, SOON, TokenFault};
use crate::config::TokenRequest;
use crate::oauth::{CallError, Clock, Flights, Trouble};

type Answer = Result<Arc<Issued>, TokenFault>;

/// The gateway's own token at one token endpoint (RFC 6749 §4.4).
#[derive(Clone)]
pub struct OwnToken(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    kept: ArcSwapOption<Issued>,
    flights: Flights<(), Answer>,
    trouble: Trouble<TokenFault>,
    /// When the backend's refusal last cost a token.
    dropped: Mutex<Option<Instant>>,
    /// Told when a token is dropped, so that the next one is asked for at once.
    stir: Notify,
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnToken").field(&self.0.endpoint).finish()
    }
}

impl OwnToken {
    /// Asks for nothing yet.
    ///
    /// # Errors
    /// Credentials or a trust anchor that cannot be used.
    pub fn new(request: &TokenRequest, clock: Clock) -> Result<Self, CallError> {
        Ok(Self(Arc::new(Inner {
            endpoint: Endpoint::new(request, clock)?,
            kept: ArcSwapOption::empty(),
            flights: Flights::default(),
            trouble: Trouble::default(),
            dropped: Mutex::default(),
            stir: Notify::new(),
        })))
    }

    /// Takes over what another one has, if it asks for the same in the same way.
    pub fn take_over(&self, before: &Self) {
        if self.0.endpoint.is_that_of(&before.0.endpoint)
            && let Some(kept) = before.kept()
        {
            self.0.kept.store(Some(kept));
        }
    }

    /// A token that has not expired. It waits only while there is none.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn current(&self) -> Result<Arc<Issued>, NoToken> {
        match self.kept() {
            Some(kept) => Ok(kept),
            None => self.fetched(|| self.kept().is_none()).await,
        }
    }

    /// Notes that the backend answered 401 to this token, and drops it: not again, though, for a token that took the place
    /// of one that was just refused.
    pub fn refused(&self, used: &Issued) -> Again {
        match self.kept() {
            Some(kept) if *kept == *used => {}
            Some(_) | None => return Again::Another,
        }
        let now = self.0.endpoint.now();
        let mut dropped = self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if dropped.is_some_and(|at| now.saturating_duration_since(at) < REFUSALS) {
            return Again::Same;
        }
        *dropped = Some(now);
        tracing::warn!(endpoint = %self.0.endpoint.request.token_url, "the backend refused the token: another is asked for");
        self.0.kept.store(None);
        self.0.stir.notify_one();
        Again::Another
    }

    /// Has a token ready before it is needed, and another before that one ends, until told to stop.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        while let Some(()) = stop.run_until_cancelled(self.due()).await {
            // While renewing fails the old token serves to its end.
            if let Some(Err(NoToken::Unavailable { retry_after, .. })) =
                stop.run_until_cancelled(self.renewed()).await
            {
                stop.run_until_cancelled(tokio::time::sleep(retry_after)).await;
            }
        }
    }

    /// Why there is no token now, if that has been tried.
    #[must_use]
    pub fn amiss(&self) -> Option<TokenFault> {
        if self.kept().is_some() { None } else { self.0.trouble.last() }
    }

    /// A new token, if it is time for one.
    pub(super) async fn renewed(&self) -> Result<Arc<Issued>, NoToken> {
        self.fetched(|| self.is_due()).await
    }

    /// How many wait for the call in flight.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.flights.seats()
    }

    /// Waits until another token should be asked for.
    async fn due(&self) {
        while !self.is_due() {
            let now = self.0.endpoint.now();
            let wait = self.kept().map_or(Duration::ZERO, |kept| kept.renewal.saturating_duration_since(now));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.stir.notified() => {}
            }
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.kept().is_none_or(|kept| self.0.endpoint.now() >= kept.renewal)
    }

    pub(super) fn kept(&self) -> Option<Arc<Issued>> {
        let now = self.0.endpoint.now();
        self.0.kept.load_full().filter(|kept| now < kept.expiry)
    }

    /// A new token, unless meanwhile none is `needed`.
    async fn fetched(&self, needed: impl FnOnce() -> bool) -> Result<Arc<Issued>, NoToken> {
        let unavailable = |cause, rest: Duration| NoToken::Unavailable { cause, retry_after: rest.max(SOON) };
        if let Some((cause, rest)) = self.0.trouble.pausing(self.0.endpoint.now()) {
            return Err(unavailable(cause, rest));
        }
        let inner = Arc::clone(&self.0);
        let Some(seat) = self.0.flights.join((), needed, || async move { inner.call().await }) else {
            return self.kept().ok_or_else(|| unavailable(CallError::NoAnswer.into(), SOON));
        };
        let answer = seat.landed(self.0.endpoint.patience()).await;
        answer.unwrap_or_else(|| Err(CallError::NoAnswer.into())).map_err(|cause| unavailable(cause, SOON))
    }
}

impl Inner {
    async fn call(&self) -> Answer {
        match self.endpoint.ask(Asked::Own).await {
            Ok(issued) => {
                let issued = Arc::new(issued);
                self.kept.store(Some(Arc::clone(&issued)));
                self.trouble.over();
                Ok(issued)
            }
            Err(fault) => {
                tracing::warn!(%fault, "no token for the backend");
                fault.note(&self.trouble, self.endpoint.now(), 0);
                Err(fault)
            }
        }
    }
}
