//! A FHIR audit record repository: the FHIR feed of ITI-20, in transactions.
//!
//! An event is written so that writing it twice makes it no two: by `PUT` to its own id, or by `POST` with
//! `ifNoneExist` on the tag that holds this id. A transaction that is refused for what is in it is cut in half until the
//! events at fault are alone. Requests do not pass through the gateway, so they are not audited themselves (AUD-11).

mod answer;
mod bundle;

use std::collections::VecDeque;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::config::{BackendCredentials, FhirSink, IssuerClient, IssuerClientAuth};
use crate::ledger::{Kept, Rejection};
use crate::oauth::{Again, Fetcher, NoToken, OwnToken, Setup, monotonic, retry_after};
use crate::sink::SinkError;
use crate::sink::fhir::answer::{Verdict, Words};
use crate::sink::outlet::{Faith, Sent};

const FHIR: &str = "application/fhir+json";

/// Nobody looks at the resources that a server would send back.
const PREFER: (HeaderName, &str) = (HeaderName::from_static("prefer"), "return=minimal");

/// Of an answer to a transaction is read so much, and so much more for each event.
const ANSWER_BYTES: usize = 1 << 20;
const ANSWER_BYTES_EACH: usize = 16 << 10;

/// A CapabilityStatement is large.
const STATEMENT_BYTES: usize = 32 << 20;

/// So many events in a row may be refused before the repository itself is taken to be amiss.
const BELIEVED: usize = 10;

/// A repository.
pub(super) struct Repository {
    settings: FhirSink,
    http: Client,
    access: Access,
    faith: Faith,
    /// How many were refused since it took one.
    refused: usize,
}

/// What it is shown.
enum Access {
    Fixed,
    Own(OwnToken),
}

/// What came of one transaction.
enum Posted {
    /// What became of each event, in order.
    Answered(Vec<Verdict>),
    /// All of it was refused for something that is in it.
    Refused(StatusCode, Words),
}

impl Repository {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &FhirSink, faith: Faith) -> Result<Self, SinkError> {
        // Only the certificate of this client is used.
        let shown = settings
            .client_certificate
            .clone()
            .map(|files| IssuerClient { id: String::new(), auth: IssuerClientAuth::Tls(files) });
        let setup = Setup {
            server: settings.url.as_str(),
            timeout: settings.timeout,
            ca: settings.ca.as_deref(),
            client: shown.as_ref(),
        };
        let access = match &settings.credentials {
            BackendCredentials::ClientCredentials(request) => {
                Access::Own(OwnToken::new(request, monotonic())?)
            }
            BackendCredentials::Basic { .. }
            | BackendCredentials::Bearer { .. }
            | BackendCredentials::Forward
            | BackendCredentials::None
            | BackendCredentials::TokenExchange(_) => Access::Fixed,
        };
        let http = Fetcher::new(setup)?.http().clone();
        Ok(Self { settings: settings.clone(), http, access, faith, refused: 0 })
    }

    pub(super) fn batch(&self) -> usize {
        self.settings.batch
    }

    /// Sends events until all are there or refused, or the repository is not to be had.
    pub(super) async fn send(&mut self, events: &[Kept]) -> Sent {
        let mut sent = Sent::default();
        let mut taken = 0_usize;
        let mut last_refusal = None;
        let mut parts = VecDeque::from([events]);
        while let Some(part) = parts.pop_front() {
            let verdicts = match self.post(part).await {
                Ok(Posted::Answered(verdicts)) => verdicts,
                Ok(Posted::Refused(status, words)) if part.len() <= 1 => {
                    vec![Verdict::Refused(status, words)]
                }
                Ok(Posted::Refused(..)) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second);
                    parts.push_front(first);
                    continue;
                }
                Err(trouble) => {
                    sent.trouble = Some(trouble);
                    break;
                }
            };
            for (event, verdict) in part.iter().zip(verdicts) {
                match verdict {
                    Verdict::Taken => taken = taken.saturating_add(1),
                    Verdict::Refused(status, words) => {
                        last_refusal = Some(status);
                        let reason = self.told(status, words);
                        sent.rejected.push(Rejection { sequence: event.sequence, reason });
                    }
                    Verdict::Later(status) => {
                        sent.trouble = Some(self.status(status, None));
                        break;
                    }
                }
                (sent.out, sent.settled) = (Some(event.sequence), Some(event.sequence));
            }
            if sent.trouble.is_some() {
                break;
            }
        }
        self.judged(sent, taken, last_refusal)
    }

    /// Whether its refusals are believed. When it has refused a good many and taken none, the events are not at fault: then
    /// none is given up, and it is asked again later.
    fn judged(&mut self, mut sent: Sent, taken: usize, last_refusal: Option<StatusCode>) -> Sent {
        if taken > 0 {
            self.refused = 0;
            return sent;
        }
        let refused = self.refused.saturating_add(sent.rejected.len());
        match last_refusal {
            Some(status) if self.faith == Faith::Wary && refused > BELIEVED => {
                let address = self.address();
                let all = SinkError::RefusesAll { address, status: status.as_u16() };
                Sent::none(sent.trouble.take().unwrap_or(all))
            }
            Some(_) | None => {
                self.refused = refused;
                sent
            }
        }
    }

    /// One transaction.
    async fn post(&self, part: &[Kept]) -> Result<Posted, SinkError> {
        let body = bundle::transaction(part, &self.settings).to_string();
        let request = || {
            let request = self.http.post(self.settings.url.clone()).header(CONTENT_TYPE, FHIR);
            request.header(PREFER.0, PREFER.1).body(body.clone())
        };
        let answer = self.answered(&request).await?;
        let (status, retry) = (answer.status(), retry_after(answer.headers()));
        let most = ANSWER_BYTES.saturating_add(ANSWER_BYTES_EACH.saturating_mul(part.len()));
        let body = self.read(answer, most).await?;
        match answer::read(status, &body, (part.len(), self.settings.write)) {
            Ok(verdicts) => Ok(Posted::Answered(verdicts)),
            Err(answer::Whole::Refused(words)) => Ok(Posted::Refused(status, words)),
            Err(answer::Whole::Later) => Err(self.status(status, retry)),
            Err(answer::Whole::Garbage(what)) => {
                Err(SinkError::Answer { address: self.address(), what: what.to_owned() })
            }
        }
    }

    /// What it says of itself.
    pub(super) async fn statement(&self) -> Result<Value, SinkError> {
        let base = self.settings.url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/metadata")).unwrap_or_else(|_| self.settings.url.clone());
        let answer = self.answered(&|| self.http.get(url.clone())).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(self.status(status, None));
        }
        let body = self.read(answer, STATEMENT_BYTES).await?;
        serde_json::from_slice(&body).map_err(|_| SinkError::Answer {
            address: self.address(),
            what: "`metadata` with something that is no JSON".to_owned(),
        })
    }

    /// The answer to a request that shows who we are; a token that is refused is replaced once.
    async fn answered(&self, request: &(dyn Fn() -> RequestBuilder + Sync)) -> Result<Response, SinkError> {
        let Access::Own(own) = &self.access else {
            return self.sent(self.shown(request())).await;
        };
        let issued = own.current().await.map_err(no_token)?;
        let answer = self.sent(request().bearer_auth(issued.token().reveal())).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || own.refused(&issued) == Again::Same {
            return Ok(answer);
        }
        let issued = own.current().await.map_err(no_token)?;
        self.sent(request().bearer_auth(issued.token().reveal())).await
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, SinkError> {
        request.header(ACCEPT, FHIR).send().await.map_err(|error| self.failed(&error))
    }

    /// The request with the credentials of the settings.
    fn shown(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.settings.credentials {
            BackendCredentials::Basic { username, password } => {
                request.basic_auth(username, Some(password.reveal()))
            }
            BackendCredentials::Bearer { token } => request.bearer_auth(token.reveal()),
            BackendCredentials::ClientCredentials(_)
            | BackendCredentials::Forward
            | BackendCredentials::None
            | BackendCredentials::TokenExchange(_) => request,
        }
    }

    /// The body of an answer, up to a limit.
    async fn read(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, SinkError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len().saturating_add(piece.len()) > most {
                let what = format!("with more than {most} bytes");
                return Err(SinkError::Answer { address: self.address(), what });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The repository's words, on one line, without what we showed it.
    fn told(&self, status: StatusCode, words: Words) -> String {
        let secret = match &self.settings.credentials {
            BackendCredentials::Basic { password, .. } => password.reveal(),
            BackendCredentials::Bearer { token } => token.reveal(),
            BackendCredentials::ClientCredentials(_)
            | BackendCredentials::Forward
            | BackendCredentials::None
            | BackendCredentials::TokenExchange(_) => "",
        };
        words.told(status, secret)
    }

    fn status(&self, status: StatusCode, retry_after: Option<std::time::Duration>) -> SinkError {
        SinkError::Status { address: self.address(), status: status.as_u16(), retry_after }
    }

    fn failed(&self, error: &reqwest::Error) -> SinkError {
        if error.is_timeout() {
            return SinkError::TimedOut { address: self.address() };
        }
        SinkError::unreachable(&self.address(), error)
    }

    fn address(&self) -> String {
        self.settings.url.to_string()
    }
}

fn no_token(none: NoToken) -> SinkError {
    match none {
        NoToken::Refused(cause) | NoToken::Unavailable { cause, .. } => SinkError::Token(cause),
    }
}
