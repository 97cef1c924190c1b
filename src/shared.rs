//! What replicas of one gateway share: which DPoP proofs were used, which tokens are revoked, how many requests a client
//! made, and the key that links and nonces are made with.
//!
//! Without `[shared_state] url` it is kept in this process. While the server is away a proof cannot be known to be new,
//! so it is refused (TOK-64); rates and revocations go on with what this process knows (KEYS-032, FLT-011).

mod key;
mod line;
mod proofs;
mod revoked;
mod server;

pub use key::SharedKey;
pub use proofs::Proof;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Rate, SharedState};
use key::Agreement;
use proofs::Proofs;
use revoked::Revoked;
use server::{Health, Script, Server};

/// Longest wait at start for what replicas have agreed upon already.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// Why it cannot be known whether a proof was used before: it must be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// The server that keeps it does not answer.
    #[error("`shared_state.url` cannot be used: {0}")]
    Away(String),
    /// One key used as many proofs as it may in their lifetime.
    #[error("the proofs of one key fill their share of the memory of used proofs")]
    Crowded,
    /// The proof is older than the server's memory.
    #[error("the memory of used proofs began after the proof was made")]
    Forgotten,
    /// There is no room for more.
    #[error("the memory of used proofs is full")]
    Full,
    /// The address or the trust anchor is none.
    #[error("`shared_state` cannot be used: {0}")]
    Unusable(String),
}

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Never in its lifetime.
    First,
    /// Before.
    Again,
}

/// Whether a client may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// After this time.
    Later(Duration),
    /// Not known: there is no server, or it is away.
    Unknown,
}

/// How the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStatus {
    /// Why it cannot be used, for operators; absent when it can.
    pub amiss: Option<String>,
    /// Questions that it was asked since it is this one.
    pub asked: u64,
    /// Those of them that had no usable answer.
    pub failed: u64,
}

/// What replicas share. Outlives reloads.
pub struct Shared {
    proofs: Proofs,
    agreement: Arc<Agreement>,
    revoked: Arc<Revoked>,
    first_use: Script,
    turn: Script,
    connected: ArcSwapOption<Connected>,
}

/// The server, and what runs for it until this is dropped.
struct Connected {
    settings: SharedState,
    server: Arc<Server>,
    _tasks: DropGuard,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to connect when there is a server; needs a runtime then, and waits for nothing.
    ///
    /// # Errors
    /// When the address or the trust anchor cannot be used.
    pub fn new(settings: Option<&SharedState>) -> Result<Self, SharedError> {
        let shared = Self {
            proofs: Proofs::new(Instant::now()),
            agreement: Arc::new(Agreement::new()?),
            revoked: Arc::new(Revoked::new()),
            first_use: Script::new(include_str!("shared/proof.lua")),
            turn: Script::new(include_str!("shared/rate.lua")),
            connected: ArcSwapOption::empty(),
        };
        shared.change(settings)?;
        Ok(shared)
    }

    /// Takes other settings, or the same with another trust anchor in the file; what was connected before is given up.
    ///
    /// # Errors
    /// When they cannot be used; then nothing changes.
    pub fn change(&self, settings: Option<&SharedState>) -> Result<(), SharedError> {
        let Some(settings) = settings else {
            self.connected.store(None);
            return Ok(());
        };
        let server = Arc::new(Server::new(settings)?);
        let same = |before: &Arc<Connected>| {
            before.settings == *settings && before.server.anchors() == server.anchors()
        };
        if self.connected.load().as_ref().is_some_and(same) {
            return Ok(());
        }
        let stop = CancellationToken::new();
        let until_stopped = || stop.clone();
        tokio::spawn(until_stopped().run_until_cancelled_owned(Arc::clone(&server).keep()));
        let listen = Arc::clone(&self.revoked).listen(Arc::clone(&server));
        tokio::spawn(until_stopped().run_until_cancelled_owned(listen));
        let speak = Arc::clone(&self.revoked).speak(Arc::clone(&server));
        tokio::spawn(until_stopped().run_until_cancelled_owned(speak));
        if settings.keeps_key {
            let agree = Arc::clone(&self.agreement).keep(Arc::clone(&server));
            tokio::spawn(until_stopped().run_until_cancelled_owned(agree));
        }
        let connected = Connected { settings: settings.clone(), server, _tasks: stop.drop_guard() };
        self.connected.store(Some(Arc::new(connected)));
        Ok(())
    }

    /// Waits, for two seconds at most, until what the other replicas have agreed upon and told is known here; not at all
    /// when the server is away.
    pub async fn settled(&self) {
        let Some(connected) = self.connected.load_full() else { return };
        let settled = async {
            let mut health = connected.server.health();
            let tried = health.wait_for(|health| *health != Health::Untried).await;
            if !tried.is_ok_and(|health| *health == Health::Up) {
                return;
            }
            reached(self.revoked.read()).await;
            if connected.settings.keeps_key {
                reached(self.agreement.reached()).await;
            }
        };
        let _late = tokio::time::timeout(SETTLES_WITHIN, settled).await;
    }

    /// Notes the use of a proof for as long as it could be accepted again: `lifetime`, from now (TOK-64, RFC 9449 §11.1).
    ///
    /// # Errors
    /// When it cannot be known whether this is the first use: the proof must not be accepted then.
    pub async fn first_use(&self, proof: &Proof, lifetime: Duration) -> Result<Use, SharedError> {
        if self.proofs.note(proof, lifetime, Instant::now())? == Use::Again {
            return Ok(Use::Again);
        }
        let Some(connected) = self.connected.load_full() else { return Ok(Use::First) };
        let server = &connected.server;
        let keys = [server.key(&format!("proof:{}", hex(&proof.digest))), server.key("since")];
        let keys = keys.each_ref().map(String::as_str);
        let lifetime = lifetime.as_millis().max(1).to_string();
        let issued = proof.issued.as_second().to_string();
        match server.run::<i64>(&self.first_use, &keys, &[&lifetime, &issued]).await {
            Ok(1) => Ok(Use::First),
            Ok(0) => Ok(Use::Again),
            Ok(-1) => Err(SharedError::Forgotten),
            Ok(other) => Err(SharedError::Away(format!("it answered {other}"))),
            Err(cause) => Err(SharedError::Away(cause)),
        }
    }

    /// Counts a request of a client against its rate at all replicas.
    pub async fn take(&self, client: &str, rate: Rate) -> Turn {
        let Some(connected) = self.connected.load_full() else { return Turn::Unknown };
        let server = &connected.server;
        let client = digest(&SHA256, client.as_bytes());
        let key = server.key(&format!("rate:{}", hex(client.as_ref())));
        let interval = 1_000_000_f64 / f64::from(rate.per_second.max(1));
        let (interval, burst) = (interval.to_string(), rate.burst.to_string());
        match server.run::<i64>(&self.turn, &[&key], &[&interval, &burst]).await {
            Ok(wait) => match u64::try_from(wait) {
                Ok(0) => Turn::Now,
                Ok(wait) => Turn::Later(Duration::from_micros(wait)),
                Err(_) => Turn::Unknown,
            },
            Err(_) => Turn::Unknown,
        }
    }

    /// Whether the token with this SHA-256 is revoked, as far as it is known here.
    #[must_use]
    pub fn revoked(&self, token: &[u8; 32]) -> bool {
        self.revoked.holds(token)
    }

    /// Whether the token with this issuer and id is revoked, as far as it is known here (JWT-075).
    #[must_use]
    pub fn revoked_id(&self, issuer: &str, jti: &str) -> bool {
        self.revoked.any() && self.revoked.holds(&revoked::by_id(issuer, jti))
    }

    /// Tells all replicas that the token with this SHA-256 is not to be accepted until an instant, in seconds since 1970.
    /// Does not wait; while the server is away the news wait for it. Nothing without a server.
    pub fn revoke(&self, token: [u8; 32], until: i64) {
        if self.connected.load().is_some() {
            self.revoked.tell(token, until);
        }
    }

    /// The key that links and nonces are made with when no file has one, now and later.
    #[must_use]
    pub fn key(&self) -> watch::Receiver<SharedKey> {
        self.agreement.key()
    }

    /// How the server is doing; nothing when there is none.
    #[must_use]
    pub fn status(&self) -> Option<SharedStatus> {
        let connected = self.connected.load_full()?;
        let amiss = match &*connected.server.health().borrow() {
            Health::Away(cause) => Some(cause.clone()),
            Health::Untried => Some("not connected yet".to_owned()),
            Health::Up if self.revoked.overfull() => Some("more revoked tokens than can be kept".to_owned()),
            Health::Up => None,
        };
        let (asked, failed) = connected.server.counts();
        Some(SharedStatus { amiss, asked, failed })
    }
}

async fn reached(mut mark: watch::Receiver<bool>) {
    let _never = mark.wait_for(|reached| *reached).await.is_err();
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// 32 bytes from 64 hexadecimal digits.
fn bytes(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .filter_map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}
