//! Revoked tokens: told by replicas and operators through a stream at the server, and kept here.
//!
//! An entry of the stream names a token by its SHA-256 (`token`), or by issuer and id (`iss`, `jti`), and until when it
//! matters (`until`, seconds since 1970). Every replica reads all of them from the first on and then as they come; after
//! an absence of the server it goes on where it was. What cannot be read is logged and passed over.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::server::{Health, Server};
use super::{bytes, hex};

/// Most revocations at once: at 60 to 100 bytes each.
const MOST: usize = 1_000_000;

/// About how many entries the stream keeps when replicas add to it.
const STREAM: usize = 100_000;

/// Most revocations that wait to be told.
const MOST_UNTOLD: usize = 10_000;

/// Entries that are read at once.
const BATCH: usize = 1000;

/// How long the server holds a question for news.
const HELD: Duration = Duration::from_secs(2);

/// Rest after a failure.
const REST: Duration = Duration::from_millis(200);

/// How far it is read again after a loss: the server may have come back with an older clock.
const OVERLAP_MS: u64 = 300_000;

/// How long an entry without `until` matters, in seconds: as long as any `max_lifetime` may be.
const WITHOUT_END: i64 = 30 * 86_400;

/// Clocks may differ by this much, in seconds.
const SKEW: i64 = 120;

/// A token by the SHA-256 of its text, or of issuer and id.
type Name = [u8; 32];

/// Entries as Redis tells them: streams with their name, each with entries of an id, fields and values.
type Told = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;

/// The name of a token by issuer and `jti`; no token is the text that is hashed here.
pub(super) fn by_id(issuer: &str, jti: &str) -> Name {
    let mut context = Context::new(&SHA256);
    for part in ["jti", issuer, jti] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// What is revoked, as far as this process knows.
#[derive(Debug)]
pub(super) struct Revoked {
    until: RwLock<HashMap<Name, i64>>,
    count: AtomicUsize,
    most: usize,
    overfull: AtomicBool,
    untold: Mutex<VecDeque<(Name, i64)>>,
    news: Notify,
    /// Whether all that the server had was read.
    read: watch::Sender<bool>,
}

impl Revoked {
    pub(super) fn new() -> Self {
        Self::within(MOST)
    }

    fn within(most: usize) -> Self {
        Self {
            until: RwLock::default(),
            count: AtomicUsize::new(0),
            most,
            overfull: AtomicBool::new(false),
            untold: Mutex::default(),
            news: Notify::new(),
            read: watch::Sender::new(false),
        }
    }

    /// Whether any is known: without any, nothing needs a name.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Whether this one is revoked.
    pub(super) fn holds(&self, name: &Name) -> bool {
        self.any() && self.until.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Whether there were more than can be kept.
    pub(super) fn overfull(&self) -> bool {
        self.overfull.load(Ordering::Relaxed)
    }

    /// Whether all that the server had was read, now and later.
    pub(super) fn read(&self) -> watch::Receiver<bool> {
        self.read.subscribe()
    }

    fn note(&self, name: Name, until: i64) {
        let mut known = self.until.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most && !known.contains_key(&name) {
            if !self.overfull.swap(true, Ordering::Relaxed) {
                tracing::error!(most = self.most, "more revoked tokens than can be kept");
            }
            return;
        }
        let last = known.entry(name).or_insert(until);
        *last = until.max(*last);
        self.count.store(known.len(), Ordering::Release);
    }

    /// Forgets those that matter no longer.
    fn clear(&self, now: i64) {
        let mut known = self.until.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| until.saturating_add(SKEW) > now);
        self.count.store(known.len(), Ordering::Release);
        self.overfull.store(false, Ordering::Relaxed);
    }

    /// Puts a token down to be told to all replicas; this one hears of it with the others.
    pub(super) fn tell(&self, name: Name, until: i64) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.len() >= MOST_UNTOLD {
            untold.pop_front();
            tracing::warn!("a revocation is not told to other replicas: too many wait");
        }
        untold.push_back((name, until));
        self.news.notify_one();
    }

    fn next_untold(&self) -> Option<(Name, i64)> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn put_back(&self, entry: (Name, i64)) {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).push_front(entry);
    }

    /// Tells what was put down, for ever.
    pub(super) async fn speak(self: Arc<Self>, server: Arc<Server>) {
        let (stream, mut health) = (server.key("revoked"), server.health());
        loop {
            let Some((name, until)) = self.next_untold() else {
                self.news.notified().await;
                continue;
            };
            let mut command = redis::cmd("XADD");
            command.arg(&stream).arg("MAXLEN").arg("~").arg(STREAM).arg("*");
            command.arg("token").arg(hex(&name)).arg("until").arg(until);
            if let Err(cause) = server.ask::<String>(&command).await {
                tracing::debug!(cause, "a revocation waits to be told");
                self.put_back((name, until));
                sleep(REST).await;
                if health.wait_for(|health| *health == Health::Up).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Reads what others tell, for ever.
    pub(super) async fn listen(self: Arc<Self>, server: Arc<Server>) {
        let (mut place, mut health) = (Place::default(), server.health());
        while health.wait_for(|health| *health == Health::Up).await.is_ok() {
            let ended = match server.dial().await {
                Ok(line) => self.read_on(&server, line, &mut place).await,
                Err(cause) => cause,
            };
            tracing::debug!(cause = ended, "revocations are not read for the moment");
            place = place.back();
            sleep(REST).await;
        }
    }

    /// Reads from this place on until something fails.
    async fn read_on(&self, server: &Server, mut line: MultiplexedConnection, place: &mut Place) -> String {
        let stream = server.key("revoked");
        let mut held = Duration::ZERO;
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(BATCH);
            if !held.is_zero() {
                command.arg("BLOCK").arg(HELD.as_secs().saturating_mul(1000));
            }
            command.arg("STREAMS").arg(&stream).arg(place.to_string());
            let limit = server.patience().saturating_add(held);
            let told = match timeout(limit, command.query_async::<Option<Told>>(&mut line)).await {
                Ok(Ok(told)) => told.unwrap_or_default(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("no answer in {limit:?}"),
            };
            let now = now();
            let entries: Vec<_> = told.into_iter().flat_map(|(_, entries)| entries).collect();
            for (id, fields) in &entries {
                *place = Place::of(id).unwrap_or(*place);
                self.take(id, fields, now);
            }
            if entries.len() < BATCH {
                self.read.send_replace(true);
                self.clear(now);
                held = HELD;
            }
        }
    }

    fn take(&self, id: &str, fields: &[Vec<u8>], now: i64) {
        match understood(id, fields) {
            Ok((_, until)) if until.saturating_add(SKEW) <= now => {}
            Ok((name, until)) => self.note(name, until),
            Err(expected) => {
                tracing::warn!(entry = id, expected, "a revocation is not understood");
            }
        }
    }
}

/// The name of the token that an entry revokes, and until when it matters.
fn understood(id: &str, fields: &[Vec<u8>]) -> Result<(Name, i64), &'static str> {
    let field = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        let value = pairs.find_map(|pair| match pair {
            [key, value] if key.eq_ignore_ascii_case(name.as_bytes()) => Some(value),
            _ => None,
        });
        value.map(|value| String::from_utf8_lossy(value).trim().to_owned())
    };
    let name = match (field("token"), field("iss"), field("jti")) {
        (Some(token), None, None) => bytes(&token).ok_or("`token` with a SHA-256 in hexadecimal digits")?,
        (None, Some(issuer), Some(jti)) => by_id(&issuer, &jti),
        (None | Some(_), _, _) => return Err("either `token`, or `iss` and `jti`"),
    };
    let until = match field("until") {
        Some(until) => until.parse().map_err(|_| "`until` in seconds since 1970")?,
        None => Place::of(id).map_or(i64::MAX, |place| place.seconds().saturating_add(WITHOUT_END)),
    };
    Ok((name, until))
}

/// The place of an entry in a stream: milliseconds since 1970, and a number within them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place(u64, u64);

impl Place {
    fn of(id: &str) -> Option<Self> {
        let (time, number) = id.split_once('-')?;
        Some(Self(time.parse().ok()?, number.parse().ok()?))
    }

    fn back(self) -> Self {
        Self(self.0.saturating_sub(OVERLAP_MS), 0)
    }

    fn seconds(self) -> i64 {
        i64::try_from(self.0 / 1000).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[expect(clippy::disallowed_methods, reason = "entries are cleared outside any request")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn fields(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect()
    }

    /// JWT-075: what operators may write, and neighbours that name nothing.
    #[test]
    fn entries() {
        let token = bytes(TOKEN).unwrap();
        let jti = by_id("https://as.test", "t-1");
        let table = [
            (format!("token {TOKEN} until 100"), Ok((token, 100))),
            (format!("TOKEN {} UNTIL 100", TOKEN.to_uppercase()), Ok((token, 100))),
            (format!("token {TOKEN}"), Ok((token, 5 + WITHOUT_END))),
            ("iss https://as.test jti t-1 until 7".to_owned(), Ok((jti, 7))),
            ("until 7 jti t-1 iss https://as.test by me".to_owned(), Ok((jti, 7))),
            ("iss https://as.test".to_owned(), Err(())),
            ("jti t-1".to_owned(), Err(())),
            (format!("token {TOKEN} jti t-1 iss a"), Err(())),
            (format!("token {TOKEN}00"), Err(())),
            (format!("token x{TOKEN}"), Err(())),
            (format!("token {TOKEN} until soon"), Err(())),
            (format!("token {TOKEN} until"), Ok((token, 5 + WITHOUT_END))),
            (String::new(), Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(understood("5999-0", &fields(&text)).map_err(|_| ()), expected, "{text}");
        }
        assert_ne!(by_id("a", "bc"), by_id("ab", "c"));
    }

    /// Known until their time, and the later time counts.
    #[test]
    fn revocations_end() {
        let revoked = Revoked::new();
        let name = |n| [n; 32];
        assert!(!revoked.any() && !revoked.holds(&name(1)));
        revoked.note(name(1), 100);
        revoked.note(name(2), 1000);
        revoked.note(name(2), 50);
        revoked.clear(100 + SKEW - 1);
        assert!(revoked.holds(&name(1)) && revoked.holds(&name(2)) && !revoked.holds(&name(3)));
        revoked.clear(100 + SKEW);
        assert!(!revoked.holds(&name(1)) && revoked.holds(&name(2)));
        revoked.clear(1000 + SKEW);
        assert!(!revoked.any());
    }

    /// What is known stays; what has no room is told of.
    #[test]
    fn a_full_memory_is_told_of() {
        let revoked = Revoked::within(2);
        (1..=2).for_each(|n| revoked.note([n; 32], 100));
        assert!(!revoked.overfull());
        revoked.note([3; 32], 200);
        assert!(revoked.overfull() && revoked.holds(&[1; 32]) && !revoked.holds(&[3; 32]));
        revoked.clear(1000);
        revoked.note([3; 32], 2000);
        assert!(!revoked.overfull() && revoked.holds(&[3; 32]));
    }

    #[test]
    fn places() {
        assert_eq!(
            Place::of("1700000000000-3").map(|place| place.to_string()).as_deref(),
            Some("1700000000000-3")
        );
        assert_eq!(Place(1_000_000, 3).back(), Place(700_000, 0));
        assert_eq!(Place(1, 3).back(), Place(0, 0));
        assert!(Place::of("x").is_none() && Place::of("1").is_none());
    }
}
