//! The one path of a request: read the head, find out who asks, decide, send, check, record, answer.

mod caller;
mod inquire;
mod pass_on;
mod send;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::body::ResponseBody;
use super::concerned::Effect;
use super::documents::{Documents, Freshness, Place};
use super::fields::{self, Content};
use super::record::Record;
use super::recorder::{Recorder, Unrecorded};
use super::route::{Question, Route, Step};
use super::watch::{Told, Watch};
use crate::config::{BackendCredentials, Keys, Rate, Settings};
use crate::discovery::capability::{self, Truth};
use crate::discovery::cors::{self, Origins};
use crate::fhir::links::BadBase;
use crate::fhir::{Format, Kind};
use crate::issuer::{IssuerError, Issuers};
use crate::ledger::Ledger;
use crate::listener::{Connection, Refusal, Service};
use crate::oauth::CallError;
use crate::policy::{Facts, Question as Inquiry, Stored};
use crate::reject::{BackendFault, Challenge, Rejection};
use crate::release::{self, Credentials};
use crate::shared::{Shared, SharedKey, Turn};
use crate::telemetry::{Asking, Metrics, RequestId, Traces};
use crate::token::{Caller, Grant, NonceKey, PROOF_ALGORITHMS, Reading, Scheme, TokenError};
use crate::upstream::{Unfit, Upstream, UpstreamError, UpstreamSetup, collect};

/// Most times that a decision may ask for more facts: the Binary of a document of a patient is three.
const ROUNDS: usize = 6;

/// Most launch encounters that are remembered, and for how long.
const CONTEXTS: (u64, Duration) = (10_000, Duration::from_secs(60));

/// Longest error body of a backend that is read: its words are written anew anyway.
const FAULT_BYTES: usize = 1024 * 1024;

/// Everything that answers requests, built once from settings.
pub struct Gateway {
    settings: Settings,
    route: Route,
    issuers: Arc<Issuers>,
    upstream: Upstream,
    access: Access,
    documents: Documents,
    limiter: Option<DefaultKeyedRateLimiter<String>>,
    challenge: Challenge,
    /// Scheme and authority that clients use.
    origin: String,
    nonces: Arc<NonceKey>,
    /// The public base, as audit events name it.
    observer: Arc<str>,
    lasting: Lasting,
    recorder: Recorder,
    standing: fields::Standing,
    /// Whose launch encounters are, for a while (CTX-8).
    contexts: moka::future::Cache<Inquiry, Stored>,
    /// Why the backend could not be asked the last time, if it could not.
    backend_amiss: arc_swap::ArcSwapOption<String>,
}

/// What outlives a gateway: one is built anew with every reload.
#[derive(Debug, Clone)]
pub struct Lasting {
    /// Where events are recorded.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Metrics,
    /// What replicas share; has the key of links and nonces, for when the settings name none.
    pub shared: Arc<Shared>,
    /// Where traces go.
    pub traces: Traces,
}

/// Why a gateway cannot be built from settings.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A base cannot be looked for in bodies.
    #[error(transparent)]
    Base(#[from] BadBase),
    /// The key of links and nonces cannot be used.
    #[error("the cipher for page links is not available")]
    Cipher,
    /// The gateway's credentials at the token endpoint of the backend's tokens cannot be used.
    #[error("`backend.credentials` cannot be used: {0}")]
    Credentials(#[from] CallError),
    /// An issuer's client cannot be made.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The connection pool cannot be made.
    #[error(transparent)]
    Upstream(#[from] UpstreamSetup),
}

/// An answer on its way, and what is recorded of it.
struct Answered {
    response: Response<ResponseBody>,
    content: Content,
}

impl Gateway {
    /// Builds everything; contacts nobody. What the gateway `before` knows of issuers and their tokens, and the tokens that
    /// it has for the backend, are taken over where that still holds.
    ///
    /// # Errors
    /// When a trust anchor cannot be read or a URL cannot be used.
    pub fn new(settings: Settings, lasting: &Lasting, before: Option<&Self>) -> Result<Self, GatewayError> {
        let keys = keys(&settings, &lasting.shared).ok_or(GatewayError::Cipher)?;
        let rules = settings.rules.clone();
        let reading = Reading { scopes: rules.scopes, base: rules.public_base.clone() };
        let credentials = match settings.backend.credentials {
            BackendCredentials::Forward => Credentials::Client,
            BackendCredentials::TokenExchange(_) => Credentials::Exchanged,
            BackendCredentials::Basic { .. }
            | BackendCredentials::Bearer { .. }
            | BackendCredentials::ClientCredentials(_)
            | BackendCredentials::None => Credentials::Gateway,
        };
        let route = Route::new(rules, Arc::clone(&keys.seal), credentials)?;
        let public_url = &settings.server.public_url;
        let resource = crate::discovery::oauth_protected_resource_path(public_url);
        let origin = public_url.origin().ascii_serialization();
        let challenge = Challenge {
            resource_metadata: format!("{origin}{resource}"),
            proof_algorithms: settings.dpop.enabled.then(|| PROOF_ALGORITHMS.join(" ")),
        };
        let known = before.map(|before| before.issuers.as_ref());
        let issuers = Issuers::new(&settings.authorization_servers, &reading, known)?;
        Ok(Self {
            issuers: Arc::new(issuers.heeding(Arc::clone(&lasting.shared))),
            upstream: Upstream::new(&settings.backend, settings.limits.backend_requests)?
                .resting(settings.limits.backend_failures, settings.limits.backend_pause),
            access: Access::new(&settings.backend.credentials, before.map(|before| &before.access))?,
            documents: Documents::new(&settings, route.base_path(), &route.rules().public_base),
            limiter: settings.limits.requests_per_client.and_then(limiter),
            route,
            challenge,
            origin,
            nonces: Arc::clone(&keys.nonce),
            observer: Arc::from(settings.rules.public_base.as_str()),
            standing: fields::Standing::new(&settings),
            recorder: Recorder::new(&lasting.ledger, &lasting.metrics, settings.audit.on_failure),
            settings,
            lasting: lasting.clone(),
            contexts: moka::future::Cache::builder()
                .max_capacity(CONTEXTS.0)
                .time_to_live(CONTEXTS.1)
                .build(),
            backend_amiss: arc_swap::ArcSwapOption::empty(),
        })
    }

    /// Keeps the gateway's own token for the backend fresh, if it has one, until told to stop.
    pub async fn keep_access(&self, stop: CancellationToken) {
        self.access.keep_fresh(stop).await;
    }

    /// Whether something is amiss with the gateway's own token for the backend; `None` when it needs none.
    #[must_use]
    pub fn access_amiss(&self) -> Option<Option<String>> {
        self.access.amiss()
    }

    /// Why the backend could not be asked the last time; absent when it could, or was not asked yet.
    #[must_use]
    pub fn backend_amiss(&self) -> Option<String> {
        self.backend_amiss.load().as_deref().cloned()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The trusted issuers.
    #[must_use]
    pub fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// Builds the public documents anew.
    pub async fn refresh_documents(&self) {
        self.documents.refresh(&self.issuers).await;
    }

    /// Answers one request, and writes down that it did.
    pub async fn serve(
        &self,
        inbound: Request<Incoming>,
        connection: &Connection,
        now: Timestamp,
    ) -> Response<ResponseBody> {
        let (head, body) = inbound.into_parts();
        let request_id = RequestId::from_client(&head.headers).unwrap_or_else(RequestId::fresh);
        let watch = Watch::open(&self.lasting.traces, &head, connection.tls_version());
        let raw = raw_target(&head);
        if let Some(response) = self.public(&head, raw).await {
            let response = self.finish(response, &head, request_id.as_str(), Content::Plain);
            self.tell(&watch, &response, &Told::public(request_id.as_str(), response.status()));
            return response;
        }
        let origin = (connection.peer.ip(), now);
        let mut record = Record::open(&self.observer, request_id.as_str(), (&head, &watch), origin);
        let answered = match self.answer((&head, body), connection, &mut record).await {
            Ok(answered) => answered,
            Err(rejection) => self.refused(&rejection, raw, &head, &mut record),
        };
        self.conclude(answered, raw, &head, &mut record).await
    }

    /// Answers a request whose head is not admissible.
    pub async fn refuse(
        &self,
        refusal: Refusal,
        head: Option<Parts>,
        connection: &Connection,
        now: Timestamp,
    ) -> Response<ResponseBody> {
        let rejection = Rejection::Framing {
            status: refusal.status(),
            reason_id: refusal.reason_id(),
            text: refusal.sentence(),
        };
        let head = head.unwrap_or_else(|| Request::new(()).into_parts().0);
        let request_id = RequestId::fresh();
        let watch = Watch::open(&self.lasting.traces, &head, connection.tls_version());
        let origin = (connection.peer.ip(), now);
        let mut record = Record::open(&self.observer, request_id.as_str(), (&head, &watch), origin);
        let answered = self.refused(&rejection, "", &head, &mut record);
        self.conclude(answered, "", &head, &mut record).await
    }

    /// Every answer that was asked for in FHIR's name ends here: written down, counted, and with the fields of all.
    async fn conclude(
        &self,
        mut answered: Answered,
        raw: &str,
        head: &Parts,
        record: &mut Record,
    ) -> Response<ResponseBody> {
        record.status(answered.response.status());
        match self.recorder.conclude(record).await {
            Ok(()) => answered.response.body_mut().disclose(&self.recorder, || record.own().clone()),
            Err(Unrecorded) => {
                answered = self.refused(&Rejection::AuditUnavailable, raw, head, record);
            }
        }
        if let Some(nonce) = record.nonce().and_then(|nonce| http::HeaderValue::from_str(nonce).ok()) {
            answered.response.headers_mut().insert("dpop-nonce", nonce);
        }
        let response = self.finish(answered.response, head, record.request_id(), answered.content);
        self.tell(record.watch(), &response, &record.told());
        response
    }

    /// Public documents and preflights: nothing of FHIR is asked.
    async fn public(&self, head: &Parts, raw: &str) -> Option<Response<ResponseBody>> {
        let path = raw.split('?').next().unwrap_or("");
        if let Some(place) = self.documents.place(path) {
            return Some(Box::pin(self.document(place, head)).await);
        }
        if head.method != Method::OPTIONS {
            return None;
        }
        if !cors::is_preflight(&head.method, &head.headers) {
            return None;
        }
        let metadata = format!("{}/metadata", self.route.base_path());
        let origins =
            if path == metadata { Origins::Any } else { Origins::Listed(&self.settings.cors_origins) };
        let mut response = Response::new(ResponseBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(cors::preflight(&head.headers, origins));
        Some(response)
    }

    async fn document(&self, place: Place, head: &Parts) -> Response<ResponseBody> {
        match self.documents.answer(place, &head.method, &head.headers, &self.issuers).await {
            Some(response) => response.map(ResponseBody::whole),
            None => {
                let rejection = Rejection::Unauthenticated(TokenError::IssuerUnavailable {
                    issuer: "metadata".to_owned(),
                    cause: "no discovery document can be built yet".to_owned(),
                    retry_after: Duration::from_secs(5),
                });
                let mut response = self.render(&rejection, (Format::Json, Scheme::Bearer), "discovery");
                response.headers_mut().extend(cors::headers(&head.headers, Origins::Any));
                response
            }
        }
    }

    async fn answer(
        &self,
        (head, body): (&Parts, Incoming),
        connection: &Connection,
        record: &mut Record,
    ) -> Result<Answered, Rejection> {
        let now = record.now();
        let question = self.route.ask(&head.method, raw_target(head), &head.headers)?;
        record.asked(&question);
        if question.kind() == Kind::Capabilities {
            return Box::pin(self.capabilities(&question, head, record)).await;
        }
        let caller = self.caller(head, connection, (&question, record)).await;
        let caller = caller.map_err(Rejection::Unauthenticated)?;
        let Caller::Holder(grant) = &caller else {
            return Err(Rejection::Unauthenticated(TokenError::NoCredentials));
        };
        record.caller(grant);
        self.throttle(grant).await?;
        self.route.before_body(&question, &caller)?;
        let body = self.read(&question, body, record).await?;
        let passage = self.pass(question, body, &caller, (head, record)).await?;
        record.passing(&passage);
        self.recorder.ready().map_err(|Unrecorded| Rejection::AuditUnavailable)?;
        let Some(outbound) = &passage.outbound else {
            let released = release::refused_batch(&passage.duties, &self.route.terms(&passage, now));
            return Ok(whole(released.into_parts(), Content::Plain));
        };
        let errand = self.errand(head, Some(grant), record);
        if passage.effect == Effect::Changes {
            let announced = self.recorder.announce(record).await;
            announced.map_err(|Unrecorded| Rejection::AuditUnavailable)?;
        }
        if let Some(union) = release::Union::of(&passage.duties) {
            return Box::pin(self.unite(union, &passage, (&errand, record))).await;
        }
        let response = self.send(outbound, (&errand, Asking::Request)).await?;
        self.check(response, passage, (&errand, record)).await
    }

    /// What this replica lets pass alone is counted with what the others do, as far as the count can be had.
    async fn throttle(&self, grant: &Grant) -> Result<(), Rejection> {
        let (Some(limiter), Some(rate)) = (&self.limiter, self.settings.limits.requests_per_client) else {
            return Ok(());
        };
        let client = format!("{} {}", grant.issuer().unwrap_or(""), grant.client().unwrap_or(""));
        limiter.check_key(&client).map_err(|until| Rejection::Throttled {
            retry_after: until.wait_time_from(DefaultClock::default().now()),
        })?;
        match self.lasting.shared.take(&client, rate).await {
            Turn::Later(retry_after) => Err(Rejection::Throttled { retry_after }),
            Turn::Now | Turn::Unknown => Ok(()),
        }
    }

    /// The client's body, bounded, and only for interactions that have one.
    async fn read(
        &self,
        question: &Question,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Bytes, Rejection> {
        let unexpected = || Rejection::Unreadable(crate::fhir::Unreadable::UnexpectedBody);
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let limit = if question.takes_body() { self.settings.limits.body_bytes } else { 0 };
        match collect(body, limit, self.settings.limits.idle_timeout).await {
            Ok(bytes) => {
                record.body(question, &bytes);
                Ok(bytes)
            }
            Err(Unfit::TooLarge(0)) => Err(unexpected()),
            Err(Unfit::TooLarge(limit)) => Err(Rejection::BodyTooLarge { limit }),
            Err(Unfit::Broken(_) | Unfit::TooSlow) => Err(Rejection::BodyBroken),
        }
    }

    /// The backend's CapabilityStatement, made true of this gateway (DISC-17 … DISC-19).
    async fn capabilities(
        &self,
        question: &Question,
        head: &Parts,
        record: &Record,
    ) -> Result<Answered, Rejection> {
        let now = record.now();
        let format = question.wanted().for_outcome();
        let kept = self.documents.statement(format, now);
        let statement = match kept {
            Some((Freshness::Fresh, statement)) => statement,
            stale => match self.fetch_statement(question.clone(), head, record).await {
                Ok(statement) => {
                    self.documents.keep_statement(format, statement.clone(), now);
                    statement
                }
                // The last good one is better than none while the backend is away (DISC-15).
                Err(rejection) => stale.map(|(_, statement)| statement).ok_or(rejection)?,
            },
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static(format.media_type()));
        headers.extend(cors::headers(&head.headers, Origins::Any));
        Ok(whole((StatusCode::OK, headers, statement), Content::Altered))
    }

    async fn fetch_statement(
        &self,
        question: Question,
        head: &Parts,
        record: &Record,
    ) -> Result<Bytes, Rejection> {
        let format = question.wanted().for_outcome();
        let wrong = || Rejection::Withheld(release::Withheld::WrongShape);
        let Question::Fhir(asked) = question else { return Err(wrong()) };
        let request = self.route.read(*asked, Bytes::new())?;
        let Step::Pass(passage) = self.route.pass(&request, &Caller::Anonymous, &Facts::default())? else {
            return Err(wrong());
        };
        let outbound = passage.outbound.as_ref().ok_or_else(wrong)?;
        let errand = self.errand(head, None, record);
        let response = self.send(outbound, (&errand, Asking::Statement)).await?;
        let (answer, body) = response.into_parts();
        if answer.status != StatusCode::OK {
            return Err(Rejection::Withheld(release::Withheld::BackendFailed(answer.status)));
        }
        let limits = &self.settings.limits;
        let body = collect(body, limits.checked_answer_bytes, self.settings.backend.timeout).await.map_err(
            |_| Rejection::Backend(BackendFault::Broken("its CapabilityStatement broke off".to_owned())),
        )?;
        if format == Format::Json {
            self.documents.learn(&body);
        }
        let rules = self.route.rules();
        let truth = Truth {
            public_base: &rules.public_base,
            backend_base: &rules.backend_base,
            version: rules.version(),
            operations: &rules.operations,
            endpoints: &self.documents.endpoints(),
        };
        let statement = match format {
            Format::Json => capability::json(&body, &truth),
            Format::Xml => capability::xml(&body, &truth),
        };
        statement.map(Bytes::from).map_err(|_| wrong())
    }

    /// Tells those who look after the gateway.
    fn tell(&self, watch: &Watch, response: &Response<ResponseBody>, told: &Told<'_>) {
        watch.answered(response, told, (&self.settings, &self.lasting.metrics));
    }

    fn refused(&self, rejection: &Rejection, raw: &str, head: &Parts, record: &mut Record) -> Answered {
        record.refused(rejection);
        let format = self.route.wanted(raw, &head.headers).for_outcome();
        let asked = (format, Scheme::of(&head.headers));
        Answered { response: self.render(rejection, asked, record.request_id()), content: Content::Plain }
    }

    fn render(
        &self,
        rejection: &Rejection,
        (format, scheme): (Format, Scheme),
        request_id: &str,
    ) -> Response<ResponseBody> {
        let outcome = rejection.outcome(request_id).write(format);
        let mut response = Response::new(ResponseBody::whole(outcome.into()));
        *response.status_mut() = rejection.status();
        *response.headers_mut() = rejection.headers(&self.challenge, scheme);
        let content_type = match format {
            Format::Json => "application/fhir+json; charset=utf-8",
            Format::Xml => "application/fhir+xml; charset=utf-8",
        };
        response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
        response
    }

    fn finish(
        &self,
        mut response: Response<ResponseBody>,
        request: &Parts,
        request_id: &str,
        content: Content,
    ) -> Response<ResponseBody> {
        fields::decorate(response.headers_mut(), &request.headers, &self.settings, request_id, content);
        if request.method == Method::HEAD {
            // RFC 9110 §9.3.2: fields and no content. HTTP/1.1 would leave it out by itself, HTTP/2 would not.
            *response.body_mut() = ResponseBody::whole(Bytes::new());
        }
        response
    }
}

/// Path and query as they stood in the request.
fn raw_target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}

fn whole((status, headers, body): (StatusCode, HeaderMap, Bytes), content: Content) -> Answered {
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Answered { response, content }
}

/// The keys of links and nonces: those of the file, or those that replicas share.
fn keys(settings: &Settings, shared: &Shared) -> Option<Keys> {
    if let Some(file) = &settings.seal_key {
        return Some(file.keys.clone());
    }
    let SharedKey { secret, former } = shared.key().borrow().clone();
    former.map_or_else(|| Keys::new(&secret), |former| Keys::succeeding(&secret, &former))
}

fn limiter(rate: Rate) -> Option<DefaultKeyedRateLimiter<String>> {
    let per_second = std::num::NonZeroU32::new(rate.per_second)?;
    let burst = std::num::NonZeroU32::new(rate.burst)?;
    Some(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)))
}

/// What a failure of the pool means to a client (HTTP-15).
fn fault(error: UpstreamError) -> Rejection {
    let text = error.to_string();
    Rejection::Backend(match error {
        UpstreamError::Closed(_)
        | UpstreamError::Connect(_)
        | UpstreamError::Refused(_)
        | UpstreamError::Tls(_) => BackendFault::Unreachable(text),
        UpstreamError::Overloaded => BackendFault::Overloaded,
        UpstreamError::Resting(left) => BackendFault::Resting { retry_after: left },
        UpstreamError::Timeout => BackendFault::Timeout,
        UpstreamError::Encoded(_)
        | UpstreamError::Garbage(_)
        | UpstreamError::Target(_)
        | UpstreamError::Truncated(_)
        | UpstreamError::WithoutToken => BackendFault::Broken(text),
    })
}

/// The gateway in force, as the listener sees it: settings may change between two requests, never within one.
pub struct Front {
    current: arc_swap::ArcSwap<Gateway>,
}

impl Front {
    /// Puts a gateway in force.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        Self { current: arc_swap::ArcSwap::from_pointee(gateway) }
    }

    /// Puts another one in force for the requests that come from now on; gives back the one before.
    pub fn replace(&self, gateway: Gateway) -> Arc<Gateway> {
        self.current.swap(Arc::new(gateway))
    }

    /// The gateway in force.
    #[must_use]
    pub fn gateway(&self) -> Arc<Gateway> {
        self.current.load_full()
    }
}

impl Service for Front {
    type Body = ResponseBody;

    async fn serve(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
        now: Timestamp,
    ) -> Response<ResponseBody> {
        let gateway = self.gateway();
        gateway.serve(request, &connection, now).await
    }

    async fn refuse(
        &self,
        refusal: Refusal,
        head: Option<Parts>,
        connection: Arc<Connection>,
        now: Timestamp,
    ) -> Response<ResponseBody> {
        let gateway = self.gateway();
        gateway.refuse(refusal, head, &connection, now).await
    }
}
