//! Finds out whose token it is and whether that issuer stands behind it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::IssuerError;
use super::keys::{Digest, sha256};
use super::memory::{Memory, Remembered};
use super::server::{IssuerStatus, Server};
use crate::config::{AuthorizationServer, Validation};
use crate::oauth::Clock;
use crate::shared::Shared;
use crate::telemetry::TokenFigures;
use crate::token::{AccessToken, Jws, Presented, Quoted, Reading, TokenError, TokenShape, VerifiedClaims};

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A refusal is remembered no longer than this: the token may become active (KEYS-025).
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// How long a token that is active no more is refused everywhere, in seconds: as long as any replica may remember that it
/// was active, which is the longest `introspection_cache`.
const REVOKED_FOR: i64 = 600;

/// All trusted issuers.
pub struct Issuers {
    servers: Vec<Arc<Server>>,
    /// Places in `servers` by issuer: one more costs no request anything.
    by_issuer: HashMap<String, usize>,
    /// The same by where the server itself is, which is what a finding knows of it.
    by_address: HashMap<usize, usize>,
    memory: Memory,
    clock: Clock,
    shared: Option<Arc<Shared>>,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.settings.issuer)).finish()
    }
}

impl Issuers {
    /// Sets up the clients of all configured servers and contacts none.
    ///
    /// Of the issuers `before`, what still holds is taken over: metadata and keys of servers whose addresses and trust
    /// anchors are the same, and findings about tokens of servers of which nothing changed at all. So a reload costs
    /// nothing while an authorization server is away (FLT-009).
    ///
    /// # Errors
    /// A file that cannot be read, a server that introspects without client, or several for opaque tokens.
    pub fn new(
        servers: &[AuthorizationServer],
        reading: &Reading,
        before: Option<&Self>,
    ) -> Result<Self, IssuerError> {
        match before {
            Some(before) => Self::set_up(servers, reading, Arc::clone(&before.clock), Some(before)),
            None => Self::set_up(servers, reading, Arc::new(Instant::now), None),
        }
    }

    pub(super) fn set_up(
        servers: &[AuthorizationServer],
        reading: &Reading,
        clock: Clock,
        before: Option<&Self>,
    ) -> Result<Self, IssuerError> {
        let mut opaque = servers.iter().filter(|server| server.opaque);
        if let (Some(first), Some(second)) = (opaque.next(), opaque.next()) {
            return Err(IssuerError::SeveralOpaque {
                first: first.issuer.clone(),
                second: second.issuer.clone(),
            });
        }
        let known = |issuer: &str| before.and_then(|before| before.of(issuer));
        let servers: Result<Vec<_>, _> = servers
            .iter()
            .map(|server| Server::set_up(server, reading, &clock, known(&server.issuer)))
            .collect();
        let memory = before.map_or_else(Memory::new, |before| before.memory.clone());
        let servers = servers?;
        // Of two with one name the first counts.
        let by_issuer = servers
            .iter()
            .enumerate()
            .rev()
            .map(|(at, server)| (server.settings.issuer.clone(), at))
            .collect();
        let by_address =
            servers.iter().enumerate().map(|(at, server)| (Arc::as_ptr(server).addr(), at)).collect();
        Ok(Self { servers, by_issuer, by_address, memory, clock, shared: None })
    }

    /// Refuses what is revoked by others who share this, and tells them what an issuer revoked.
    #[must_use]
    pub fn heeding(self, shared: Arc<Shared>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Verifies the credential of a request that arrived at `now`; `None` when it has none.
    ///
    /// Waits no longer than the issuer's `timeout`. The claims' times, and what the token is bound to, are
    /// `token::Caller::admit`'s to judge.
    ///
    /// # Errors
    /// The token is not this issuer's, not for us, or its issuer cannot be asked.
    pub async fn verify(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Result<Option<VerifiedClaims>, TokenError> {
        let token = match presented {
            Presented::None => return Ok(None),
            Presented::Bearer(token) | Presented::Dpop { token, .. } => token,
        };
        let digest = sha256(token.reveal().as_bytes());
        let remembered = self.remembered(&digest).await;
        match remembered {
            Ok(None) => self.memory.missed(),
            Ok(Some(_)) | Err(_) => self.memory.hit(),
        }
        let claims = match remembered? {
            Some(claims) => claims,
            // Seldom, and much larger than what a token that is known needs.
            None => Box::pin(self.found(token, digest, now)).await?,
        };
        if self.shared.as_ref().is_some_and(|shared| revoked(shared, &digest, &claims)) {
            return Err(TokenError::Revoked);
        }
        Ok(Some(claims))
    }

    async fn found(
        &self,
        token: &AccessToken,
        digest: Digest,
        now: Timestamp,
    ) -> Result<VerifiedClaims, TokenError> {
        match token.shape() {
            TokenShape::Opaque => {
                let server = self.servers.iter().find(|server| server.settings.opaque);
                let server = server.ok_or(TokenError::OpaqueUnsupported)?;
                self.introspected(Question { server, token, digest, now }).await
            }
            TokenShape::Jwt => self.jwt(token, digest, now).await,
        }
    }

    /// The issuer's own metadata: the last good one, fetched if there is none yet.
    pub async fn metadata(&self, issuer: &str) -> Option<Arc<Value>> {
        let server = self.of(issuer)?;
        server.metadata().await.ok().map(|metadata| metadata.document())
    }

    /// Renews metadata and keys that are due, of all servers at once: a slow one keeps no other waiting.
    pub async fn refresh(&self) {
        let mut work = JoinSet::new();
        for server in &self.servers {
            let server = Arc::clone(server);
            work.spawn(async move { server.refresh().await });
        }
        // Not `join_all`: it panics when the runtime ends a task before this one.
        while work.join_next().await.is_some() {}
    }

    /// Keeps metadata and keys fresh until `stop`; to be run on a task of its own.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let work = async {
            loop {
                look.tick().await;
                self.refresh().await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// How all servers are doing, for readiness.
    #[must_use]
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.servers.iter().map(|server| server.status()).collect()
    }

    /// What is remembered of tokens, for those who watch.
    #[must_use]
    pub fn tokens(&self) -> TokenFigures {
        self.memory.figures()
    }

    /// How many requests wait for any server.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.servers.iter().map(|server| server.waiting()).sum()
    }

    fn of(&self, issuer: &str) -> Option<&Arc<Server>> {
        self.servers.get(*self.by_issuer.get(issuer)?)
    }

    /// What is known of the token, as long as what it rests on stands.
    async fn remembered(&self, digest: &Digest) -> Result<Option<VerifiedClaims>, TokenError> {
        let now = (self.clock)();
        // What holds no longer is kept all the same: that a token was active is news when it is active no more.
        if let Some(known) = self.memory.good(digest).await
            && let Some(server) = self.standing(&known, now)
        {
            // Another key set, or none fit to verify: the signature is checked anew (TOK-30).
            let holds = known.keys.is_none() || known.keys == server.current_keys();
            return Ok(holds.then(|| {
                server.remembered();
                known.finding
            }));
        }
        let Some(known) = self.memory.refused(digest).await else { return Ok(None) };
        let Some(server) = self.standing(&known, now) else { return Ok(None) };
        server.remembered();
        Err(known.finding)
    }

    /// The server that a finding came from, if it is one of these and the finding still holds at `now`.
    fn standing<T>(&self, known: &Remembered<T>, now: Instant) -> Option<&Arc<Server>> {
        // While a finding refers to a server, no other one is at its place, even when it is gone.
        let at = self.by_address.get(&known.server.as_ptr().addr())?;
        self.servers.get(*at).filter(|_| now < known.until)
    }

    async fn jwt(
        &self,
        token: &AccessToken,
        digest: Digest,
        now: Timestamp,
    ) -> Result<VerifiedClaims, TokenError> {
        let issuer = Jws::unverified_issuer(token)?;
        let unknown = || TokenError::IssuerUnknown { issuer: Quoted::new(&issuer) };
        let server = self.of(&issuer).ok_or_else(unknown)?;
        let question = Question { server, token, digest, now };
        match server.settings.validation {
            Validation::Introspection => self.introspected(question).await,
            Validation::Jwt => {
                let jws = Jws::read(token)?;
                let keys = checked(server, &jws).await?;
                let claims =
                    VerifiedClaims::from_jwt(jws.unverified(), &server.requirements)?.of_token(digest);
                self.keep(&question, Some(keys), claims.clone()).await;
                Ok(claims)
            }
            Validation::Both => {
                let jws = Jws::read(token)?;
                let keys = checked(server, &jws).await?;
                let answer = server.introspect((token, digest), now).await?;
                let claims = VerifiedClaims::from_both(jws.unverified(), &answer, &server.requirements);
                let claims = claims.map(|claims| claims.of_token(digest));
                self.answered(&question, Some(keys), claims).await
            }
        }
    }

    async fn introspected(&self, question: Question<'_>) -> Result<VerifiedClaims, TokenError> {
        let Question { server, token, digest, now } = question;
        let answer = server.introspect((token, digest), now).await?;
        let claims = VerifiedClaims::from_introspection(&answer, &question.server.requirements);
        let claims = claims.map(|claims| claims.of_token(digest));
        self.answered(&question, None, claims).await
    }

    /// Remembers a verified signature until the token expires.
    async fn keep(&self, question: &Question<'_>, keys: Option<Digest>, claims: VerifiedClaims) {
        let skew = question.server.settings.clock_skew;
        let left = question.left(&claims).map(|left| left.saturating_add(skew));
        if let Some(until) = left.and_then(|left| (self.clock)().checked_add(left)) {
            let known = Remembered { server: question.origin(), keys, until, finding: claims };
            self.memory.keep(question.digest, known).await;
        }
    }

    /// Forgets a token that was active, and tells the others (TOK-31).
    async fn lost(&self, question: &Question<'_>) {
        let Some(known) = self.memory.good(&question.digest).await else { return };
        self.memory.forget(&question.digest).await;
        let Some(shared) = &self.shared else { return };
        let soon = question.now.as_second().saturating_add(REVOKED_FOR);
        let until = known.finding.expires().map_or(soon, |expires| expires.as_second().min(soon));
        shared.revoke(question.digest, until);
    }

    /// Remembers an answer as long as configured: never beyond `exp`, and not at all without it (TOK-44).
    async fn answered(
        &self,
        question: &Question<'_>,
        keys: Option<Digest>,
        answer: Result<VerifiedClaims, TokenError>,
    ) -> Result<VerifiedClaims, TokenError> {
        if let Err(TokenError::Inactive { .. }) = &answer {
            self.lost(question).await;
        }
        let cap = question.server.settings.introspection_cache;
        let (now, server) = ((self.clock)(), question.origin());
        let life = match &answer {
            Ok(claims) => question.left(claims).map(|left| left.min(cap)),
            Err(_) => Some(cap.min(REFUSED_FOR)),
        };
        let until = life.filter(|life| !life.is_zero()).and_then(|life| now.checked_add(life));
        match (&answer, until) {
            (_, None) => (),
            (Ok(claims), Some(until)) => {
                let known = Remembered { server, keys, until, finding: claims.clone() };
                self.memory.keep(question.digest, known).await;
            }
            (Err(refusal), Some(until)) => {
                let known = Remembered { server, keys, until, finding: refusal.clone() };
                self.memory.keep_refusal(question.digest, known).await;
            }
        }
        answer
    }
}

/// Whether others revoked it: by its text, or by the id that its issuer gave it (JWT-075).
fn revoked(shared: &Shared, digest: &Digest, claims: &VerifiedClaims) -> bool {
    shared.revoked(digest)
        || matches!((claims.issuer(), claims.jti()), (Some(issuer), Some(jti)) if shared.revoked_id(issuer, jti))
}

/// A token and whom it is put to.
#[derive(Clone, Copy)]
struct Question<'q> {
    server: &'q Arc<Server>,
    token: &'q AccessToken,
    digest: Digest,
    now: Timestamp,
}

impl Question<'_> {
    fn origin(&self) -> Weak<Server> {
        Arc::downgrade(self.server)
    }

    /// The time until `exp`; zero when it is over, `None` when the token does not say.
    fn left(&self, claims: &VerifiedClaims) -> Option<Duration> {
        let left = claims.expires()?.duration_since(self.now);
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    }
}

/// Checks kind, algorithm and signature (TOK-20 … TOK-23) and yields the identity of the keys.
async fn checked(server: &Arc<Server>, jws: &Jws<'_>) -> Result<Digest, TokenError> {
    jws.check_type(server.requirements.types)?;
    server.verify(jws).await
}
