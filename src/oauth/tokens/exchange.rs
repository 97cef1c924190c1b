//! Users' tokens, exchanged for such as the backend takes.
//!
//! What is kept is kept under the SHA-256 of the user's token, so nobody gets what was exchanged for another. It serves
//! nobody by itself: whoever asks here has had the user's token verified for this very request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::{Again, Asked, Endpoint, Issued, NoToken, REFUSALS, SOON, TokenFault};
use crate::config::TokenRequest;
use crate::oauth::{CallError, Clock, Flights, Trouble};
use crate::token::AccessToken;

/// Users' tokens whose exchanged ones are kept.
const MOST_KEPT: u64 = 10_000;

/// Calls at once; the others wait their turn within the same deadline.
const LANES: usize = 32;

/// Different tokens exchanged at once; beyond it a request is refused rather than queued.
const MOST_FLIGHTS: usize = 1024;

/// Failures in a row before the server is left alone for a moment.
const TOLERATED: u32 = 3;

/// An exchanged token is not used in its last moments: it must still live when it arrives.
const MARGIN: Duration = Duration::from_secs(10);

/// How long a user who is refused is not asked about again.
const REFUSED: Duration = Duration::from_secs(5);

type Digest = [u8; 32];

/// The token of a user on whose behalf the backend is asked.
#[derive(Debug, Clone)]
pub struct Subject {
    token: AccessToken,
    digest: Digest,
    /// How long the token lives, where that is known.
    life: Option<Duration>,
}

impl Subject {
    /// A verified token that lives so long.
    #[must_use]
    pub fn new(token: AccessToken, life: Option<Duration>) -> Self {
        let mut key = [0; 32];
        // INVARIANT: SHA-256 is 32 bytes long.
        key.copy_from_slice(digest(&SHA256, token.reveal().as_bytes()).as_ref());
        Self { token, digest: key, life }
    }
}

/// What is known of a user's token.
#[derive(Debug, Clone)]
enum Kept {
    Issued { issued: Arc<Issued>, until: Instant },
    Refused { fault: TokenFault, until: Instant },
}

impl Kept {
    fn until(&self) -> Instant {
        match self {
            Self::Issued { until, .. } | Self::Refused { until, .. } => *until,
        }
    }
}

type Answer = Result<Arc<Issued>, TokenFault>;

/// Exchanges users' tokens at one token endpoint (RFC 8693).
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    kept: Cache<Digest, Kept>,
    /// Users whose exchanged token was dropped, and when.
    dropped: Cache<Digest, Instant>,
    flights: Flights<Digest, Answer>,
    lanes: Arc<Semaphore>,
    trouble: Trouble<TokenFault>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exchange").field(&self.0.endpoint).finish()
    }
}

impl Exchange {
    /// Asks for nothing yet.
    ///
    /// # Errors
    /// Credentials or a trust anchor that cannot be used.
    pub fn new(request: &TokenRequest, clock: Clock) -> Result<Self, CallError> {
        let endpoint = Endpoint::new(request, clock)?;
        Ok(Self(Arc::new(Inner::with(
            endpoint,
            Cache::builder().max_capacity(MOST_KEPT).time_to_live(super::LONGEST_LIFE).build(),
        ))))
    }

    /// Goes on with what another one has, if it asks for the same in the same way.
    pub fn take_over(&mut self, before: &Self) {
        if self.0.endpoint.is_that_of(&before.0.endpoint) {
            self.0 = Arc::new(Inner::with(self.0.endpoint.clone(), before.0.kept.clone()));
        }
    }

    /// A token of the backend's for the user. Requests with the same token share one call.
    ///
    /// # Errors
    /// When the server gives none for this user, or none can be had now.
    pub async fn of(&self, subject: &Subject) -> Result<Arc<Issued>, NoToken> {
        let now = self.0.endpoint.now();
        match self.0.kept.get(&subject.digest).await.filter(|kept| now < kept.until()) {
            Some(Kept::Issued { issued, .. }) => return Ok(issued),
            Some(Kept::Refused { fault, .. }) => return Err(NoToken::Refused(fault)),
            None => {}
        }
        let unavailable = |cause, rest: Duration| NoToken::Unavailable { cause, retry_after: rest.max(SOON) };
        let (inner, asked, lane) = (Arc::clone(&self.0), subject.clone(), Arc::clone(&self.0.lanes));
        let call = || async move { inner.call(asked, &lane).await };
        let mut barred = (TokenFault::Overloaded, SOON);
        let mut may = || {
            let entered = self.0.trouble.enter(now, self.0.endpoint.request.timeout);
            entered.map_err(|why| barred = why).is_ok()
        };
        let Some(seat) = self.0.flights.join(subject.digest, || self.0.has_room() && may(), call) else {
            let (cause, rest) = barred;
            return Err(unavailable(cause, rest));
        };
        let answer = seat.landed(self.0.endpoint.patience()).await;
        let answer = answer.unwrap_or_else(|| Err(CallError::NoAnswer.into()));
        answer.map_err(|fault| {
            if fault.is_about_the_user() { NoToken::Refused(fault) } else { unavailable(fault, SOON) }
        })
    }

    /// How many wait for calls in flight.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.flights.seats()
    }

    /// Notes that the backend answered 401 to this token, and drops it: not again, though, for a token that took the place
    /// of one that was just refused.
    pub async fn refused(&self, subject: &Subject, used: &Issued) -> Again {
        match self.0.kept.get(&subject.digest).await {
            Some(Kept::Issued { issued, .. }) if *issued == *used => {}
            Some(Kept::Issued { .. }) | None => return Again::Another,
            Some(Kept::Refused { .. }) => return Again::Same,
        }
        let now = self.0.endpoint.now();
        let before = self.0.dropped.get(&subject.digest).await;
        if before.is_some_and(|at| now.saturating_duration_since(at) < REFUSALS) {
            return Again::Same;
        }
        self.0.dropped.insert(subject.digest, now).await;
        self.0.kept.invalidate(&subject.digest).await;
        Again::Another
    }
}

impl Inner {
    fn with(endpoint: Endpoint, kept: Cache<Digest, Kept>) -> Self {
        Self {
            endpoint,
            kept,
            dropped: Cache::builder().max_capacity(MOST_KEPT).time_to_live(REFUSALS).build(),
            flights: Flights::default(),
            lanes: Arc::new(Semaphore::new(LANES)),
            trouble: Trouble::default(),
        }
    }

    fn has_room(&self) -> bool {
        // Every flight holds one clone of the lanes.
        Arc::strong_count(&self.lanes) <= MOST_FLIGHTS
    }

    async fn call(&self, subject: Subject, lanes: &Semaphore) -> Answer {
        let call = async {
            let _lane = lanes.acquire().await.map_err(|_| CallError::NoAnswer)?;
            self.endpoint.ask(Asked::For(subject.token.clone())).await
        };
        let asked = self.endpoint.now();
        // Whoever looked just before another call ended comes here just after it.
        if let Some(Kept::Issued { issued, .. }) =
            self.kept.get(&subject.digest).await.filter(|kept| asked < kept.until())
        {
            return Ok(issued);
        }
        let answer = tokio::time::timeout(self.endpoint.request.timeout, call).await;
        let answer = answer.unwrap_or_else(|_| Err(CallError::NoAnswer.into()));
        let now = self.endpoint.now();
        match answer {
            Ok(issued) => {
                self.trouble.over();
                let issued = Arc::new(issued);
                if let Some(until) = until(&issued, asked, subject.life).filter(|until| now < *until) {
                    let kept = Kept::Issued { issued: Arc::clone(&issued), until };
                    self.kept.insert(subject.digest, kept).await;
                }
                Ok(issued)
            }
            Err(fault) if fault.is_about_the_user() => {
                self.trouble.over();
                let until = now.checked_add(REFUSED).unwrap_or(now);
                self.kept.insert(subject.digest, Kept::Refused { fault: fault.clone(), until }).await;
                Err(fault)
            }
            Err(fault) => {
                tracing::warn!(%fault, "no token for the backend");
                fault.note(&self.trouble, now, TOLERATED);
                Err(fault)
            }
        }
    }
}

/// Until when an exchanged token is kept: not in its last moments, and no longer than the user's own token lives.
fn until(issued: &Issued, asked: Instant, own: Option<Duration>) -> Option<Instant> {
    let life = issued.life(asked);
    let life = life.saturating_sub(MARGIN.min(life / 10));
    asked.checked_add(own.map_or(life, |own| own.min(life)))
}
