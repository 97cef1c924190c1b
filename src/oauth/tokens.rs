//! Access tokens that the gateway gets for the backend: its own by the client credentials grant (RFC 6749 §4.4), or one
//! for each user by token exchange (RFC 8693), for one resource where that is said (RFC 8707).
//!
//! An answer is believed only when it is complete: a bearer token of a form that a header can hold, and a life. What is
//! kept is kept no longer than it lives, and nothing here gives out a token that has expired.

mod exchange;
mod own;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

pub use exchange::{Exchange, Subject};
pub use own::OwnToken;

use super::authentication::Authentication;
use super::error::CallError;
use super::fetch::{Fetcher, Reply, Setup};
use super::trouble::{Clock, Trouble};
use crate::config::TokenRequest;
use crate::token::{AccessToken, Quoted, object};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How long a token lives whose answer does not say (RFC 6749 §5.1 only recommends it).
const ASSUMED_LIFE: Duration = Duration::from_secs(5 * 60);

/// The longest life that is believed: a token is asked for anew at least this often.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A long-lived token is renewed so long before its end; a short-lived one after two thirds of its life.
const AHEAD: Duration = Duration::from_secs(60);

/// A backend that refuses tokens gets a new one no more often than this, so that it cannot make the gateway ask in a loop.
const REFUSALS: Duration = Duration::from_secs(10);

/// The shortest `Retry-After`.
const SOON: Duration = Duration::from_secs(1);

/// An access token for the backend. `Debug` shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    token: AccessToken,
    renewal: Instant,
    expiry: Instant,
}

impl Issued {
    /// The token.
    #[must_use]
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// How long it may still be used.
    #[must_use]
    pub fn life(&self, now: Instant) -> Duration {
        self.expiry.saturating_duration_since(now)
    }
}

/// Whether asking the backend once more may help, after it refused a token with 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// There is, or will be, another token.
    Another,
    /// The same token would be used.
    Same,
}

/// Why there is no token for the backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The authorization server gives none for this user.
    #[error("no token for this user: {0}")]
    Refused(TokenFault),
    /// None can be had now.
    #[error("no token for the backend: {cause}")]
    Unavailable {
        /// Why.
        cause: TokenFault,
        /// When to try again.
        retry_after: Duration,
    },
}

/// What went wrong at a token endpoint. Texts are for operators; they hold no token and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The call could not be made, or was not answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// More users wait for tokens than may.
    #[error("too many tokens are being asked for")]
    Overloaded,
    /// It refused, in OAuth's words (RFC 6749 §5.2).
    #[error("`{url}` answered {status}: `{error}`")]
    Refused {
        /// The token endpoint.
        url: String,
        /// The status.
        status: u16,
        /// The error code.
        error: Quoted,
    },
    /// It answered with something that cannot be used as a token for the backend.
    #[error("`{url}` gave no token that can be used: {fault}")]
    Unusable {
        /// The token endpoint.
        url: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl TokenFault {
    /// Whether the server said no to the user's token or to what it was to be exchanged for (RFC 8693 §2.2.2), rather than
    /// to the gateway as a client, or nothing at all.
    fn is_about_the_user(&self) -> bool {
        match self {
            Self::Refused { status: 400 | 403, error, .. } => matches!(
                error.to_string().as_str(),
                "access_denied" | "invalid_grant" | "invalid_request" | "invalid_scope" | "invalid_target"
            ),
            Self::Call(_) | Self::Overloaded | Self::Refused { .. } | Self::Unusable { .. } => false,
        }
    }

    /// Leaves the server alone for as long as it asks for, or for a moment.
    fn note(&self, trouble: &Trouble<Self>, now: Instant, tolerated: u32) {
        let asked = if let Self::Call(call) = self { call.retry_after() } else { None };
        match asked {
            Some(pause) => trouble.asked_for(pause, self.clone(), now),
            None => trouble.failed(self.clone(), now, tolerated),
        }
    }
}

/// A token endpoint, and what the gateway asks of it.
#[derive(Clone)]
struct Endpoint {
    request: Arc<TokenRequest>,
    fetcher: Fetcher,
    client: Authentication,
    clock: Clock,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.request.token_url.as_str()).finish_non_exhaustive()
    }
}

/// Which grant is asked for.
#[derive(Debug, Clone)]
enum Asked {
    /// A token for the gateway itself.
    Own,
    /// A token in exchange for this one.
    For(AccessToken),
}

impl Endpoint {
    fn new(request: &TokenRequest, clock: Clock) -> Result<Self, CallError> {
        let setup = Setup {
            server: request.token_url.as_str(),
            timeout: request.timeout,
            ca: request.ca.as_deref(),
            client: Some(&request.client),
        };
        Ok(Self {
            fetcher: Fetcher::new(setup)?,
            client: Authentication::new(&request.client)?,
            request: Arc::new(request.clone()),
            clock,
        })
    }

    /// Whether both ask for the same in the same way, by files of the same content.
    fn is_that_of(&self, other: &Self) -> bool {
        self.request == other.request && self.fetcher.same_files(&other.fetcher)
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    /// How long a request waits for an answer; the call itself ends a little sooner.
    fn patience(&self) -> Duration {
        self.request.timeout.saturating_add(Duration::from_millis(100))
    }

    async fn ask(&self, asked: Asked) -> Result<Issued, TokenFault> {
        let url = &self.request.token_url;
        let (form, credentials) = self.question(&asked)?;
        // The life is counted from before the question, so that ours never ends after the server's.
        let since = self.now();
        let reply = self.fetcher.ask(url, form, credentials).await?;
        let answer = granted(url.as_str(), &reply)?;
        let (token, life) =
            read(&answer, &asked).map_err(|fault| TokenFault::Unusable { url: url.to_string(), fault })?;
        Ok(issued(token, since, life))
    }

    /// The form, and the `Authorization` field if the gateway's credentials go there.
    fn question(&self, asked: &Asked) -> Result<(String, Option<HeaderValue>), CallError> {
        let mut form = Serializer::new(String::new());
        match asked {
            Asked::Own => {
                form.append_pair("grant_type", "client_credentials");
            }
            Asked::For(subject) => {
                form.append_pair("grant_type", EXCHANGE)
                    .append_pair("subject_token", subject.reveal())
                    .append_pair("subject_token_type", ACCESS_TOKEN)
                    .append_pair("requested_token_type", ACCESS_TOKEN);
            }
        }
        let wanted = [
            ("scope", &self.request.scope),
            ("audience", &self.request.audience),
            ("resource", &self.request.resource),
        ];
        for (name, value) in wanted {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        // An assertion for a token endpoint names it as its audience (RFC 7523 §3).
        let credentials = self.client.apply(&mut form, self.request.token_url.as_str())?;
        Ok((form.finish(), credentials))
    }
}

/// The members of a 200 answer; else why there is none.
fn granted(url: &str, reply: &Reply) -> Result<Map<String, Value>, TokenFault> {
    let members = object(&reply.body);
    if reply.status == StatusCode::OK {
        return members.map_err(|fault| CallError::Unreadable { url: url.to_owned(), fault }.into());
    }
    let status = reply.status.as_u16();
    match members.ok().as_ref().and_then(|members| members.get("error")?.as_str()) {
        Some(error) => Err(TokenFault::Refused { url: url.to_owned(), status, error: Quoted::new(error) }),
        None => Err(CallError::Status { url: url.to_owned(), status, retry_after: reply.retry_after }.into()),
    }
}

/// Token and life of an answer (RFC 6749 §5.1, RFC 8693 §2.2.1).
fn read(answer: &Map<String, Value>, asked: &Asked) -> Result<(AccessToken, Duration), &'static str> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    // Also `N_A`, for what is no access token: nothing that a header could carry.
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("its `token_type` is not `Bearer`");
    }
    let foreign = !matches!(text("issued_token_type"), Some(ACCESS_TOKEN | JWT));
    if matches!(asked, Asked::For(_)) && foreign {
        return Err("its `issued_token_type` is not that of an access token");
    }
    let token = text("access_token").ok_or("it has no `access_token`")?;
    let token =
        AccessToken::new(token).map_err(|_| "its `access_token` is not of the form of a bearer token")?;
    if let Asked::For(subject) = asked
        && *subject == token
    {
        return Err("it is the client's own token, which must not reach the backend");
    }
    let seconds = match answer.get("expires_in") {
        None | Some(Value::Null) => return Ok((token, ASSUMED_LIFE)),
        Some(Value::Number(seconds)) => seconds.as_f64(),
        // Some servers write numbers as text.
        Some(Value::String(seconds)) => seconds.parse::<u32>().ok().map(f64::from),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let life = seconds.filter(|seconds| *seconds >= 1.0).map(|seconds| {
        Duration::try_from_secs_f64(seconds.floor()).unwrap_or(LONGEST_LIFE).min(LONGEST_LIFE)
    });
    Ok((token, life.ok_or("its `expires_in` is no number of seconds that lie ahead")?))
}

fn issued(token: AccessToken, since: Instant, life: Duration) -> Issued {
    let two_thirds = life.saturating_mul(2) / 3;
    let renewal = two_thirds.max(life.saturating_sub(AHEAD));
    let at = |after: Duration| since.checked_add(after).unwrap_or(since);
    Issued { token, renewal: at(renewal), expiry: at(life) }
}

#[cfg(test)]
mod tests;
