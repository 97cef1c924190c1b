//! One authorization server: its metadata, its keys, and its answers about tokens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use super::error::IssuerError;
use super::introspection::{Introspector, SOON};
use super::kept::{Kept, Renewal};
use super::keys::{Digest, KeySet, Verdict};
use super::metadata::Metadata;
use crate::config::{
    AuthorizationDetails, AuthorizationServer, IntrospectionResponse, IssuerClientAuth, TokenType, Validation,
};
use crate::oauth::{Authentication, Clock, Fetched, Fetcher, Media, Setup, Terms};
use crate::telemetry::Durations;
use crate::token::{AccessToken, DetailsRule, Jws, Quoted, Reading, Requirements, TokenError, TypeRule};

/// Keys older than this, or than twice `refresh`, verify nothing: their issuer has been away for too long (TOK-30,
/// KEYS-005).
const KEYS_EXPIRE_AFTER: Duration = Duration::from_secs(3600);

/// Keys that are younger than this are never called stale, however short `refresh` is.
const SOON_RENEWED: Duration = Duration::from_secs(30);

/// Unknown key ids cause at most one fetch in this time (KEYS-001).
const REFETCH_PAUSE: Duration = Duration::from_secs(10);

/// How an authorization server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// The issuer identifier.
    pub issuer: String,
    /// Whether its tokens can be checked.
    pub health: Health,
    /// Its last failure, if nothing went well since; for operators.
    pub complaint: Option<String>,
    /// What was asked of it.
    pub figures: Figures,
    /// How long introspections took; absent when it is not asked.
    pub durations: Option<Durations>,
}

/// What was asked of an authorization server since it was configured as it is, for those who watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// The age of its keys, if there are any.
    pub keys_age: Option<Duration>,
    /// Fetches of keys: new, unchanged, failed.
    pub key_fetches: [u64; 3],
    /// Introspections.
    pub introspections: u64,
    /// Those of them without a usable answer.
    pub introspections_failed: u64,
    /// Requests that needed none of their own: the answer was kept, or on its way for another.
    pub introspections_avoided: u64,
}

/// Whether an issuer's tokens can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No: requests with its tokens get 503.
    Away,
    /// Yes.
    Ready,
    /// Yes, with keys that should have been renewed by now.
    Stale,
}

/// One configured authorization server and what is known of it.
pub(super) struct Server {
    pub(super) settings: AuthorizationServer,
    pub(super) requirements: Requirements,
    fetcher: Fetcher,
    metadata: Arc<Kept<Metadata>>,
    keys: Arc<Kept<KeySet>>,
    introspector: Option<Introspector>,
    refetched: Arc<Mutex<Option<Instant>>>,
    clock: Clock,
}

impl Server {
    /// The server as it was `before` if nothing changed; else a new one that takes over what it may.
    pub(super) fn set_up(
        settings: &AuthorizationServer,
        reading: &Reading,
        clock: &Clock,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, IssuerError> {
        let fetcher = Fetcher::new(Setup {
            server: &settings.issuer,
            timeout: settings.timeout,
            ca: settings.ca.as_deref(),
            client: settings.client.as_ref(),
        })?;
        let same = |before: &&Arc<Self>| before.fetcher.same_files(&fetcher);
        let before = before.filter(same);
        if let Some(before) = before
            && before.settings == *settings
            && before.requirements.reading == *reading
        {
            return Ok(Arc::clone(before));
        }
        let issuer = &settings.issuer;
        let introspector = match (settings.validation, &settings.client) {
            (Validation::Jwt, _) => None,
            (Validation::Both | Validation::Introspection, None) => {
                return Err(IssuerError::ClientMissing { issuer: issuer.clone() });
            }
            (Validation::Both | Validation::Introspection, Some(client)) => Some(Introspector::new(
                issuer,
                fetcher.expecting(match settings.introspection_response {
                    IntrospectionResponse::Json => Media::Json,
                    IntrospectionResponse::Jwt => Media::IntrospectionJwt,
                }),
                Authentication::new(client)?,
                settings.timeout,
                Arc::clone(clock),
            )),
        };
        let mut server = Self {
            settings: settings.clone(),
            requirements: requirements(settings, reading),
            fetcher,
            metadata: Arc::new(Kept::new(Arc::clone(clock))),
            keys: Arc::new(Kept::new(Arc::clone(clock))),
            introspector,
            refetched: Arc::default(),
            clock: Arc::clone(clock),
        };
        if let Some(before) = before {
            server.take_over(before);
        }
        Ok(Arc::new(server))
    }

    /// Metadata and keys are worth as much as before when they come from the same addresses, by the same trust.
    fn take_over(&mut self, before: &Self) {
        let sources = |settings: &AuthorizationServer| {
            (settings.issuer.clone(), settings.metadata_url.clone(), settings.jwks_url.clone())
        };
        if sources(&self.settings) == sources(&before.settings) {
            self.metadata = Arc::clone(&before.metadata);
            self.keys = Arc::clone(&before.keys);
            self.refetched = Arc::clone(&before.refetched);
        }
    }

    /// The last good metadata, fetched if there is none yet.
    pub(super) async fn metadata(self: &Arc<Self>) -> Result<Arc<Metadata>, IssuerError> {
        match self.metadata.last_good() {
            Some((metadata, _)) => Ok(metadata),
            None => self.renew_metadata().await,
        }
    }

    /// Renews what is due; failures show in [`Server::status`].
    pub(super) async fn refresh(self: &Arc<Self>) {
        let after = self.settings.refresh;
        if self.metadata.due(after) {
            let _ = self.renew_metadata().await;
        }
        if self.needs_keys() && self.keys.due(after) {
            let _ = self.renew_keys().await;
        }
    }

    /// Checks algorithm and signature, and yields the identity of the key set that verified it (TOK-20 … TOK-22).
    pub(super) async fn verify(self: &Arc<Self>, jws: &Jws<'_>) -> Result<Digest, TokenError> {
        if !self.settings.algorithms.contains(&jws.algorithm()) {
            let algorithm = Quoted::new(&format!("{:?}", jws.algorithm()));
            return Err(TokenError::AlgorithmRefused { algorithm });
        }
        let keys = self.usable_keys().await.map_err(|error| self.unavailable(&error))?;
        let verdict = keys.verify(jws);
        // With a `kid` the issuer said which key: if that one did not sign, no newer set will help.
        let final_word = match verdict {
            Verdict::Verified => true,
            Verdict::NoKey => false,
            Verdict::Wrong => jws.kid().is_some(),
        };
        if final_word {
            return self.judged(verdict, &keys, jws);
        }
        let keys = self.newer_keys(keys).await?;
        self.judged(keys.verify(jws), &keys, jws)
    }

    /// The identity of the keys that verify now, if any do.
    pub(super) fn current_keys(&self) -> Option<Digest> {
        let (keys, age) = self.keys.last_good()?;
        (age < self.keys_expire_after()).then(|| keys.identity())
    }

    /// Asks about the token of a request of `now`.
    pub(super) async fn introspect(
        self: &Arc<Self>,
        token: (&AccessToken, Digest),
        now: Timestamp,
    ) -> Result<Arc<Map<String, Value>>, TokenError> {
        let Some(introspector) = &self.introspector else { return Err(TokenError::OpaqueUnsupported) };
        introspector.ask(token, now, self).await
    }

    /// Where it is asked: with a certificate, at the address for such clients if there is one (RFC 8705 §5).
    pub(super) async fn introspection_endpoint(self: Arc<Self>) -> Result<Url, IssuerError> {
        let member = "introspection_endpoint";
        if let Some(url) = &self.settings.introspection_url {
            return Ok(url.clone());
        }
        let metadata = self.metadata().await?;
        match self.settings.client.as_ref().map(|client| &client.auth) {
            Some(IssuerClientAuth::Tls(_)) => metadata.endpoint_by_certificate(member, &self.settings.issuer),
            Some(
                IssuerClientAuth::PrivateKeyJwt(_)
                | IssuerClientAuth::SecretBasic(_)
                | IssuerClientAuth::SecretPost(_),
            )
            | None => metadata.endpoint(member, &self.settings.issuer),
        }
    }

    pub(super) fn status(&self) -> IssuerStatus {
        let asked = self.introspector.as_ref().and_then(Introspector::pausing);
        let (health, complaint) = match asked {
            Some(error) => (Health::Away, Some(error)),
            None if self.needs_keys() => {
                (self.keys_health(), self.keys.trouble().or_else(|| self.metadata.trouble()))
            }
            None => (Health::Ready, self.metadata.trouble()),
        };
        let complaint = complaint.map(|error| error.to_string());
        let durations = self.introspector.as_ref().map(|asked| asked.ended().1);
        IssuerStatus {
            issuer: self.settings.issuer.clone(),
            health,
            complaint,
            figures: self.figures(),
            durations,
        }
    }

    /// A request was answered by what is remembered of its token.
    pub(super) fn remembered(&self) {
        if let Some(introspector) = &self.introspector {
            introspector.avoided();
        }
    }

    fn figures(&self) -> Figures {
        let counts = self.introspector.as_ref().map(Introspector::counts);
        let (introspections, introspections_avoided) = counts.unwrap_or_default();
        let ended = self.introspector.as_ref().map(Introspector::ended);
        Figures {
            keys_age: self.keys.last_good().map(|(_, age)| age),
            key_fetches: self.keys.outcomes().counts(),
            introspections,
            introspections_failed: ended.map_or(0, |(failed, _)| failed),
            introspections_avoided,
        }
    }

    /// How many wait for this server.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.keys.waiting() + self.introspector.as_ref().map_or(0, Introspector::waiting)
    }

    /// Whether anything that it says is signed: tokens, or answers about them.
    fn needs_keys(&self) -> bool {
        let signed = self.settings.introspection_response == IntrospectionResponse::Jwt;
        self.settings.validation != Validation::Introspection || signed
    }

    fn keys_expire_after(&self) -> Duration {
        self.settings.refresh.saturating_mul(2).max(KEYS_EXPIRE_AFTER)
    }

    fn keys_health(&self) -> Health {
        match self.keys.last_good() {
            Some((_, age)) if age < self.settings.refresh.saturating_mul(2).max(SOON_RENEWED) => {
                Health::Ready
            }
            Some((_, age)) if age < self.keys_expire_after() => Health::Stale,
            Some(_) | None => Health::Away,
        }
    }

    async fn usable_keys(self: &Arc<Self>) -> Result<Arc<KeySet>, IssuerError> {
        match self.keys.last_good() {
            Some((keys, age)) if age < self.keys_expire_after() => Ok(keys),
            Some(_) | None => self.renew_keys().await,
        }
    }

    /// A set fetched after `seen` was, if one may be fetched now; else `seen` itself.
    async fn newer_keys(self: &Arc<Self>, seen: Arc<KeySet>) -> Result<Arc<KeySet>, TokenError> {
        let newest = || self.keys.last_good().map(|(keys, _)| keys);
        if let Some(newer) = newest().filter(|keys| !Arc::ptr_eq(keys, &seen)) {
            return Ok(newer);
        }
        let server = Arc::clone(self);
        let fetch = |known| server.fetch_keys(known);
        match self.keys.renew_if(self.settings.timeout, || self.may_refetch(), fetch).await {
            Some(renewed) => renewed.map_err(|error| self.unavailable(&error)),
            None => Ok(newest().unwrap_or(seen)),
        }
    }

    /// Whether an unknown key may cause a fetch now; a yes counts.
    fn may_refetch(&self) -> bool {
        let now = (self.clock)();
        if self.keys.pause().is_some() {
            return false;
        }
        let mut last = self.refetched.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| now.saturating_duration_since(last) >= REFETCH_PAUSE);
        if allowed {
            *last = Some(now);
        }
        allowed
    }

    fn judged(&self, verdict: Verdict, keys: &KeySet, jws: &Jws<'_>) -> Result<Digest, TokenError> {
        let issuer = self.settings.issuer.clone();
        match verdict {
            Verdict::Verified => Ok(keys.identity()),
            Verdict::NoKey => {
                let kid = Quoted::new(jws.kid().unwrap_or_default());
                Err(TokenError::KeyUnknown { issuer, kid })
            }
            Verdict::Wrong => Err(TokenError::SignatureInvalid { issuer }),
        }
    }

    async fn renew_metadata(self: &Arc<Self>) -> Result<Arc<Metadata>, IssuerError> {
        let server = Arc::clone(self);
        let fetch = |known: Option<Terms>| async move {
            let settings = &server.settings;
            let source = (settings.issuer.as_str(), settings.metadata_url.as_ref());
            Metadata::fetch(&server.fetcher, source, known.as_ref()).await
        };
        self.metadata.renew(self.settings.timeout, fetch).await
    }

    async fn renew_keys(self: &Arc<Self>) -> Result<Arc<KeySet>, IssuerError> {
        let server = Arc::clone(self);
        self.keys.renew(self.settings.timeout, |known| server.fetch_keys(known)).await
    }

    async fn fetch_keys(self: Arc<Self>, known: Option<Terms>) -> Result<Renewal<KeySet>, IssuerError> {
        let url = match &self.settings.jwks_url {
            Some(url) => url.clone(),
            None => self.metadata().await?.endpoint("jwks_uri", &self.settings.issuer)?,
        };
        match self.fetcher.fetch(&url, known.as_ref()).await? {
            Fetched::Body(bytes, terms) => Ok(Renewal::New(KeySet::read(&bytes, &url)?, terms)),
            Fetched::Unchanged(terms) => Ok(Renewal::Same(terms)),
        }
    }

    fn unavailable(&self, error: &IssuerError) -> TokenError {
        TokenError::IssuerUnavailable {
            issuer: self.settings.issuer.clone(),
            cause: error.to_string(),
            retry_after: self.keys.pause().unwrap_or(SOON).max(SOON),
        }
    }
}

fn requirements(settings: &AuthorizationServer, reading: &Reading) -> Requirements {
    Requirements {
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        skew: settings.clock_skew,
        max_lifetime: settings.max_lifetime,
        types: match settings.token_type {
            TokenType::AccessToken => TypeRule::AccessTokenOnly,
            TokenType::Any => TypeRule::AnyButForeign,
        },
        names: settings.claims.clone(),
        reading: reading.clone(),
        details: match settings.authorization_details {
            AuthorizationDetails::Ignore => DetailsRule::Ignore,
            AuthorizationDetails::SmartOnFhir => DetailsRule::SmartOnFhir,
        },
    }
}
