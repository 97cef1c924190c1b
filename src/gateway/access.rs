//! How the gateway shows the backend who it is (contract §8): with what the settings hold, with a token of its own, with
//! the client's token, or with one that this was exchanged for.
//!
//! What the backend wants and cannot be had is a refusal; nothing is ever sent without it. Only public documents are
//! fetched on nobody's behalf: where each request carries its user's token there is none to carry then, so they are asked
//! for without, as anybody may ask (FHIR wants `metadata` to be public), and no user's token is borrowed for it.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::watch::Watch;
use crate::config::BackendCredentials;
use crate::oauth::{Again, CallError, Exchange, Issued, NoToken, OwnToken, Subject, monotonic};
use crate::reject::{BackendFault, Rejection};
use crate::token::{Grant, Presented};
use crate::upstream::UpstreamError;
use crate::upstream::headers::{Ours, bearer, credentials};

/// What the gateway authenticates to the backend with.
pub struct Access {
    configured: BackendCredentials,
    tokens: Tokens,
}

/// Where tokens come from that are not in the settings.
enum Tokens {
    Exchange(Exchange),
    None,
    Own(OwnToken),
}

/// What the backend is told with everything that is asked for one request, and on whose behalf.
pub struct Errand {
    ours: Ours,
    /// The client's `Authorization`, where it is what the backend gets.
    forwarded: Option<HeaderValue>,
    /// The client's token, where it is exchanged.
    subject: Option<Subject>,
    behalf: Behalf,
    watch: Arc<Watch>,
}

/// On whose behalf something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behalf {
    Nobody,
    Somebody,
}

/// What is shown to the backend with one request.
pub struct Pass {
    field: Option<HeaderValue>,
    issued: Option<Arc<Issued>>,
}

impl Access {
    /// Asks nobody for anything yet. It goes on with the tokens of the one `before` that asked for the same.
    ///
    /// # Errors
    /// Credentials for a token endpoint that cannot be used.
    pub fn new(configured: &BackendCredentials, before: Option<&Self>) -> Result<Self, CallError> {
        let before = before.map(|before| &before.tokens);
        let tokens = match configured {
            BackendCredentials::ClientCredentials(request) => {
                let own = OwnToken::new(request, monotonic())?;
                if let Some(Tokens::Own(before)) = before {
                    own.take_over(before);
                }
                Tokens::Own(own)
            }
            BackendCredentials::TokenExchange(request) => {
                let mut exchange = Exchange::new(request, monotonic())?;
                if let Some(Tokens::Exchange(before)) = before {
                    exchange.take_over(before);
                }
                Tokens::Exchange(exchange)
            }
            BackendCredentials::Basic { .. }
            | BackendCredentials::Bearer { .. }
            | BackendCredentials::Forward
            | BackendCredentials::None => Tokens::None,
        };
        Ok(Self { configured: configured.clone(), tokens })
    }

    /// What a request's questions to the backend carry. `grant` is none for public documents.
    pub fn errand(
        &self,
        ours: Ours,
        head: &Parts,
        (grant, now, watch): (Option<&Grant>, Timestamp, &Arc<Watch>),
    ) -> Errand {
        let watch = Arc::clone(watch);
        let Some(grant) = grant else {
            return Errand { ours, forwarded: None, subject: None, behalf: Behalf::Nobody, watch };
        };
        let forwards = matches!(self.configured, BackendCredentials::Forward);
        let forwarded = head.headers.get(AUTHORIZATION).filter(|_| forwards).cloned();
        let subject = match self.tokens {
            Tokens::Exchange(_) => subject(head, grant, now),
            Tokens::None | Tokens::Own(_) => None,
        };
        Errand { ours, forwarded, subject, behalf: Behalf::Somebody, watch }
    }

    /// Whether what is shown may have to be asked for first.
    pub fn is_asked_for(&self) -> bool {
        !matches!(self.tokens, Tokens::None)
    }

    /// What to show with the next request.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn pass(&self, errand: &Errand) -> Result<Pass, Rejection> {
        let issued = match (&self.tokens, &errand.subject) {
            (Tokens::None, _) => None,
            (Tokens::Own(own), _) => Some(own.current().await.map_err(rejection)?),
            (Tokens::Exchange(exchange), Some(subject)) => {
                Some(exchange.of(subject).await.map_err(rejection)?)
            }
            (Tokens::Exchange(_), None) => None,
        };
        self.showing(errand, issued)
    }

    /// What to show with the next request where nothing has to be asked for.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn configured(&self, errand: &Errand) -> Result<Pass, Rejection> {
        self.showing(errand, None)
    }

    fn showing(&self, errand: &Errand, issued: Option<Arc<Issued>>) -> Result<Pass, Rejection> {
        let field = self
            .field(errand, issued.as_deref())
            .map_err(|error| Rejection::Backend(BackendFault::Broken(error.to_string())))?;
        Ok(Pass { field, issued })
    }

    fn field(&self, errand: &Errand, issued: Option<&Issued>) -> Result<Option<HeaderValue>, UpstreamError> {
        let token = match issued {
            Some(issued) => Some(bearer(issued.token().reveal())?),
            None => errand.forwarded.clone(),
        };
        let each_users =
            matches!(self.configured, BackendCredentials::Forward | BackendCredentials::TokenExchange(_));
        if each_users && errand.behalf == Behalf::Nobody {
            return Ok(None);
        }
        credentials(&self.configured, token.as_ref())
    }

    /// The backend answered 401: whether to show it something else.
    pub async fn refused(&self, errand: &Errand, pass: &Pass) -> Again {
        match (&self.tokens, &errand.subject, &pass.issued) {
            (Tokens::Own(own), _, Some(issued)) => own.refused(issued),
            (Tokens::Exchange(exchange), Some(subject), Some(issued)) => {
                exchange.refused(subject, issued).await
            }
            (Tokens::Exchange(_) | Tokens::None | Tokens::Own(_), _, _) => Again::Same,
        }
    }

    /// Keeps the gateway's own token fresh, if it has one, until told to stop.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        if let Tokens::Own(own) = &self.tokens {
            own.keep_fresh(stop).await;
        }
    }

    /// What is amiss with the gateway's own token; `None` for other kinds.
    pub fn amiss(&self) -> Option<Option<String>> {
        match &self.tokens {
            Tokens::Own(own) => Some(own.amiss().map(|fault| fault.to_string())),
            Tokens::Exchange(_) | Tokens::None => None,
        }
    }
}

impl Errand {
    /// What is measured of the request.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What is told, with what is shown.
    pub fn told(&self, pass: &Pass) -> Cow<'_, Ours> {
        match &pass.field {
            Some(field) => Cow::Owned(Ours { authorization: Some(field.clone()), ..self.ours.clone() }),
            // INVARIANT: an errand is made without.
            None => Cow::Borrowed(&self.ours),
        }
    }
}

/// The token that was verified for this request, by whatever scheme it came.
fn subject(head: &Parts, grant: &Grant, now: Timestamp) -> Option<Subject> {
    let token = match Presented::from_request(&head.headers, false).ok()? {
        Presented::Bearer(token) | Presented::Dpop { token, .. } => token,
        Presented::None => return None,
    };
    let life = grant.expires().map(|end| end.duration_since(now).try_into().unwrap_or_default());
    Some(Subject::new(token, life))
}

fn rejection(none: NoToken) -> Rejection {
    let cause = none.to_string();
    Rejection::Backend(match none {
        NoToken::Refused(_) => BackendFault::ExchangeRefused(cause),
        NoToken::Unavailable { retry_after, .. } => BackendFault::NoCredentials { cause, retry_after },
    })
}
