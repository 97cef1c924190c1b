//! Asking an issuer about a token (RFC 7662, RFC 9701; TOK-40 … TOK-48).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::HeaderValue;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::form_urlencoded::Serializer;

use super::error::IssuerError;
use super::keys::Digest;
use super::server::Server;
use super::signed;
use crate::config::IntrospectionResponse;
use crate::oauth::{Authentication, CallError, Clock, Fetcher, Flights, Trouble};
use crate::telemetry::Durations;
use crate::token::{AccessToken, TokenError, object};

/// Calls to one server at once; the others wait their turn within the same deadline.
const LANES: usize = 32;

/// Different tokens asked about at once; beyond it a request is refused rather than queued.
const MOST_FLIGHTS: usize = 1024;

/// Failures in a row before the server is left alone for a moment.
const TOLERATED: u32 = 3;

/// The shortest `Retry-After`.
pub(super) const SOON: Duration = Duration::from_secs(1);

type Answer = Result<Arc<Map<String, Value>>, IssuerError>;

/// Asks one issuer.
pub(super) struct Introspector {
    issuer: String,
    fetcher: Fetcher,
    client: Authentication,
    timeout: Duration,
    lanes: Arc<Semaphore>,
    flights: Flights<Digest, Answer>,
    trouble: Arc<Trouble<IssuerError>>,
    calls: AtomicU64,
    avoided: AtomicU64,
    ended: Arc<Ended>,
    clock: Clock,
}

/// How calls ended, for those who watch.
#[derive(Debug, Default)]
struct Ended {
    failed: AtomicU64,
    durations: Durations,
}

impl Introspector {
    pub(super) fn new(
        issuer: &str,
        fetcher: Fetcher,
        client: Authentication,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            fetcher,
            client,
            timeout,
            lanes: Arc::new(Semaphore::new(LANES)),
            flights: Flights::default(),
            trouble: Arc::default(),
            calls: AtomicU64::new(0),
            avoided: AtomicU64::new(0),
            ended: Arc::default(),
            clock,
        }
    }

    /// What the issuer says about the token of a request of `now`. Requests with the same token share one call (TOK-47).
    ///
    /// # Errors
    /// Only such as say nothing about the token: the issuer did not answer as it must (TOK-45).
    pub(super) async fn ask(
        &self,
        (token, digest): (&AccessToken, Digest),
        now: Timestamp,
        server: &Arc<Server>,
    ) -> Result<Arc<Map<String, Value>>, TokenError> {
        let mut left_alone = None;
        let allowed = || {
            if !self.lanes_left() {
                return false;
            }
            left_alone = self.trouble.enter((self.clock)(), self.timeout).err();
            left_alone.is_none()
        };
        let mut own = false;
        let call = || {
            own = true;
            self.call(token, now, server)
        };
        let Some(seat) = self.flights.join(digest, allowed, call) else {
            return Err(match left_alone {
                Some((error, rest)) => self.unavailable(&error, rest),
                None => TokenError::IssuerOverloaded { issuer: self.issuer.clone(), retry_after: SOON },
            });
        };
        if !own {
            self.avoided();
        }
        let answer = seat.landed(self.timeout).await.unwrap_or(Err(CallError::NoAnswer.into()));
        let rest = || self.trouble.pausing((self.clock)()).map_or(SOON, |(_, rest)| rest);
        answer.map_err(|error| self.unavailable(&error, rest()))
    }

    /// The last failure, while the server is left alone.
    pub(super) fn pausing(&self) -> Option<IssuerError> {
        self.trouble.pausing((self.clock)()).map(|(error, _)| error)
    }

    /// A request needed no call of its own.
    pub(super) fn avoided(&self) {
        self.avoided.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls were made, and how many were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.avoided.load(Ordering::Relaxed))
    }

    /// How many calls had no usable answer, and how long all took.
    pub(super) fn ended(&self) -> (u64, Durations) {
        (self.ended.failed.load(Ordering::Relaxed), self.ended.durations.clone())
    }

    /// How many wait for answers in flight.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.flights.seats()
    }

    fn lanes_left(&self) -> bool {
        // Every flight holds one clone of the lanes.
        Arc::strong_count(&self.lanes) <= MOST_FLIGHTS
    }

    fn call(
        &self,
        token: &AccessToken,
        now: Timestamp,
        server: &Arc<Server>,
    ) -> impl Future<Output = Answer> + Send + 'static {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (fetcher, lanes) = (self.fetcher.clone(), Arc::clone(&self.lanes));
        let (client, token, server) = (self.client.clone(), token.clone(), Arc::clone(server));
        let (trouble, clock, timeout) = (Arc::clone(&self.trouble), Arc::clone(&self.clock), self.timeout);
        let ended = Arc::clone(&self.ended);
        async move {
            let call = async {
                let _lane = lanes.acquire().await.map_err(|_| CallError::NoAnswer)?;
                let url = Arc::clone(&server).introspection_endpoint().await?;
                let (form, credentials) = question(&client, &token, &server.settings.issuer)?;
                let body = fetcher.post(&url, form, credentials).await?;
                match server.settings.introspection_response {
                    IntrospectionResponse::Json => object(&body).map_err(|fault| {
                        IssuerError::from(CallError::Unreadable { url: url.to_string(), fault })
                    }),
                    IntrospectionResponse::Jwt => signed::read(&body, &server, now).await,
                }
            };
            let began = Instant::now();
            let answer = tokio::time::timeout(timeout, call).await.unwrap_or(Err(CallError::NoAnswer.into()));
            ended.durations.took(began.elapsed());
            match answer {
                Ok(answer) => {
                    trouble.over();
                    Ok(Arc::new(answer))
                }
                Err(error) => {
                    ended.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "introspection failed");
                    match error.retry_after() {
                        Some(pause) => trouble.asked_for(pause, error.clone(), clock()),
                        None => trouble.failed(error.clone(), clock(), TOLERATED),
                    }
                    Err(error)
                }
            }
        }
    }

    fn unavailable(&self, error: &IssuerError, rest: Duration) -> TokenError {
        TokenError::IssuerUnavailable {
            issuer: self.issuer.clone(),
            cause: error.to_string(),
            retry_after: rest.max(SOON),
        }
    }
}

/// The form, and the `Authorization` field if the credentials go there.
fn question(
    client: &Authentication,
    token: &AccessToken,
    issuer: &str,
) -> Result<(String, Option<HeaderValue>), CallError> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token.reveal()).append_pair("token_type_hint", "access_token");
    let credentials = client.apply(&mut form, issuer)?;
    Ok((form.finish(), credentials))
}
