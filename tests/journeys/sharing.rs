//! What replicas share through a real Redis, and what happens while it is away, slow or read-only (TOK-64, KEYS-032,
//! FLT-011, JWT-075). Each `Shared` stands for a replica.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use pforte::config::{Rate, Secret, SharedState};
use pforte::shared::{Proof, Shared, SharedError, Turn, Use};

use crate::redis_server::RedisServer;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a replica waits for an answer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The lifetime of proofs here.
const LIFETIME: Duration = Duration::from_secs(120);

fn settings(redis: &RedisServer) -> SharedState {
    SharedState {
        url: redis.url().parse().expect("a URL"),
        database: 0,
        username: None,
        password: None,
        ca: None,
        prefix: "pforte".to_owned(),
        timeout: TIMEOUT,
        keeps_key: true,
    }
}

/// A replica that has found the server, if it is there.
async fn replica(settings: &SharedState) -> Shared {
    let replica = Shared::new(Some(settings)).expect("settings that can be used");
    replica.settled().await;
    replica
}

/// A new proof each time, made long after any server began to remember.
fn proof(number: u8) -> Proof {
    made(number, i64::MAX / 4_000_000_000)
}

fn made(number: u8, issued: i64) -> Proof {
    let issued = Timestamp::from_second(issued).expect("an instant");
    Proof { digest: [number; 32], holder: [7; 32], issued }
}

/// Waits until this holds; gives the time that it took.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

async fn up(replica: &Shared) -> Duration {
    until("the server can be used", async || replica.status().is_some_and(|status| status.amiss.is_none()))
        .await
}

fn away(result: &Result<Use, SharedError>) -> bool {
    matches!(result, Err(SharedError::Away(_)))
}

/// TOK-64: a proof is used once, wherever; the neighbours are another proof and another gateway's prefix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_used_once_at_all_replicas() {
    let redis = RedisServer::start();
    let settings = settings(&redis);
    let (one, other) = (replica(&settings).await, replica(&settings).await);
    let stranger = replica(&SharedState { prefix: "other".to_owned(), ..settings.clone() }).await;
    assert_eq!(one.first_use(&proof(1), LIFETIME).await, Ok(Use::First));
    assert_eq!(other.first_use(&proof(1), LIFETIME).await, Ok(Use::Again));
    assert_eq!(one.first_use(&proof(1), LIFETIME).await, Ok(Use::Again));
    assert_eq!(stranger.first_use(&proof(1), LIFETIME).await, Ok(Use::First));
    assert_eq!(other.first_use(&proof(2), LIFETIME).await, Ok(Use::First));
    assert_eq!(one.first_use(&proof(2), LIFETIME).await, Ok(Use::Again));
    // It is forgotten when it is over, and not before.
    let left: i64 = redis.told(&format!("PTTL pforte:proof:{}", "01".repeat(32))).parse().expect("a number");
    let lifetime = i64::try_from(LIFETIME.as_millis()).expect("a number");
    assert!(left > lifetime - 20_000 && left <= lifetime, "{left}");
    // Of many at once at both, one is the first.
    for number in 10..30 {
        let (proof, one, other) = (proof(number), &one, &other);
        let asked = tokio::join!(
            one.first_use(&proof, LIFETIME),
            other.first_use(&proof, LIFETIME),
            one.first_use(&proof, LIFETIME),
            other.first_use(&proof, LIFETIME)
        );
        let asked = [asked.0, asked.1, asked.2, asked.3];
        assert_eq!(asked.iter().filter(|one| **one == Ok(Use::First)).count(), 1, "{asked:?}");
        assert_eq!(asked.iter().filter(|one| **one == Ok(Use::Again)).count(), 3, "{asked:?}");
    }
}

/// FLT-011: without the server no proof is accepted, and nobody waits long for that; back again, it is asked at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_lets_no_proof_pass() {
    let mut redis = RedisServer::start();
    let (settings, rate) = (settings(&redis), Rate { per_second: 1, burst: 1 });
    let replica = replica(&settings).await;
    assert_eq!(replica.first_use(&proof(1), LIFETIME).await, Ok(Use::First));
    redis.kill();
    for number in 2..100 {
        let begun = Instant::now();
        assert!(away(&replica.first_use(&proof(number), LIFETIME).await), "{number}");
        assert!(begun.elapsed() < TIMEOUT * 2, "{number}: {:?}", begun.elapsed());
    }
    // What is known here is known, and rates are not.
    assert_eq!(replica.first_use(&proof(1), LIFETIME).await, Ok(Use::Again));
    assert_eq!(replica.take("client", rate).await, Turn::Unknown);
    let status = replica.status().expect("a server");
    assert!(status.amiss.is_some() && status.failed >= 98, "{status:?}");
    redis.begin();
    let took = up(&replica).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(replica.first_use(&proof(101), LIFETIME).await, Ok(Use::First));
    // What was refused while it was away is not new any more.
    assert_eq!(replica.first_use(&proof(50), LIFETIME).await, Ok(Use::Again));
    assert_eq!(replica.take("client", rate).await, Turn::Now);
}

/// A server that lost its memory does not accept what was made before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_takes_no_older_proof() {
    let mut redis = RedisServer::start();
    let settings = settings(&redis);
    let (one, other) = (replica(&settings).await, replica(&settings).await);
    let since = |redis: &RedisServer| redis.told("GET pforte:since").parse::<i64>().unwrap_or_default();
    let before = since(&redis);
    assert_eq!(one.first_use(&made(1, before - 1), LIFETIME).await, Err(SharedError::Forgotten));
    assert_eq!(one.first_use(&made(2, before), LIFETIME).await, Ok(Use::First));
    redis.kill();
    redis.begin();
    until("proofs are remembered again", async || since(&redis) > 0).await;
    up(&other).await;
    assert!(since(&redis) > before);
    assert_eq!(other.first_use(&made(2, before), LIFETIME).await, Err(SharedError::Forgotten));
    assert_eq!(other.first_use(&made(3, since(&redis)), LIFETIME).await, Ok(Use::First));
    // The same when somebody empties it under our hands.
    redis.say("FLUSHALL");
    assert_eq!(other.first_use(&made(4, before), LIFETIME).await, Err(SharedError::Forgotten));
    redis.say("SCRIPT FLUSH");
    assert_eq!(other.first_use(&made(5, since(&redis)), LIFETIME).await, Ok(Use::First));
}

/// FLT-011: who waits when it stalls waits for one deadline; who comes later does not wait at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_costs_one_deadline() {
    let redis = RedisServer::start();
    let settings = settings(&redis);
    let replica = replica(&settings).await;
    redis.pause();
    let begun = Instant::now();
    assert!(away(&replica.first_use(&proof(1), LIFETIME).await));
    assert!(begun.elapsed() >= TIMEOUT / 2 && begun.elapsed() < TIMEOUT * 20, "{:?}", begun.elapsed());
    let begun = Instant::now();
    for number in 2..200 {
        assert!(away(&replica.first_use(&proof(number), LIFETIME).await), "{number}");
    }
    // One deadline each would be 198.
    assert!(begun.elapsed() < TIMEOUT * 20, "{:?}", begun.elapsed());
    redis.go_on();
    let took = up(&replica).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(replica.first_use(&proof(201), LIFETIME).await, Ok(Use::First));
}

/// FLT-011: a server that does not take what is written is away, whatever it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_away() {
    let redis = RedisServer::start();
    let settings = settings(&redis);
    let replica = replica(&settings).await;
    let table = [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "NOREPLICAS"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "READONLY"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM"),
    ];
    for (number, (sick, well, word)) in (1_u8..).zip(table) {
        redis.say(sick);
        let refused = replica.first_use(&proof(number), LIFETIME).await;
        assert!(
            away(&refused) && format!("{refused:?}").to_uppercase().contains(word),
            "{sick}: {refused:?}"
        );
        let amiss = async || replica.status().is_some_and(|status| status.amiss.is_some());
        until("it shows in the status", amiss).await;
        redis.say(well);
        up(&replica).await;
        assert_eq!(replica.first_use(&proof(number + 100), LIFETIME).await, Ok(Use::First), "{well}");
    }
}

/// What a client may ask is counted together, by the rate and burst of the settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_count_together() {
    let redis = RedisServer::start();
    let settings = settings(&redis);
    let (one, other) = (replica(&settings).await, replica(&settings).await);
    let slow = Rate { per_second: 1, burst: 4 };
    let mut turns = Vec::new();
    for _ in 0..2 {
        turns.extend([one.take("a", slow).await, other.take("a", slow).await]);
    }
    assert_eq!(turns, [Turn::Now; 4]);
    for replica in [&one, &other] {
        let Turn::Later(wait) = replica.take("a", slow).await else { panic!("a fifth request") };
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(1), "{wait:?}");
        assert_eq!(replica.take("b", slow).await, Turn::Now, "another client");
    }
    // It refills by the rate, and what is over leaves nothing behind.
    let fast = Rate { per_second: 1_000_000, burst: 1 };
    for _ in 0..50 {
        assert_eq!(one.take("c", fast).await, Turn::Now);
    }
    let Turn::Now = until_now(&one, Rate { per_second: 20, burst: 1 }).await else { panic!("refilled") };
}

async fn until_now(replica: &Shared, rate: Rate) -> Turn {
    assert_eq!(replica.take("d", rate).await, Turn::Now);
    let begun = Instant::now();
    let took = until("another turn", async || replica.take("d", rate).await == Turn::Now).await;
    assert!(took >= Duration::from_millis(35), "{took:?} {:?}", begun.elapsed());
    Turn::Now
}

/// SRCH-25, TOK-65: one key for all; who started alone takes it over, and opens with the own one still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_agree_on_a_key() {
    let mut redis = RedisServer::absent(&[]);
    let settings = settings(&redis);
    let alone = replica(&settings).await;
    let own = alone.key().borrow().clone();
    assert_eq!(own.former, None);
    redis.begin();
    let stored = "ab".repeat(32);
    redis.say(&format!("SET pforte:key {stored}"));
    until("the common key is taken over", async || alone.key().borrow().secret == [0xab; 32]).await;
    assert_eq!(alone.key().borrow().former, Some(own.secret));
    let later = replica(&settings).await;
    assert_eq!(later.key().borrow().secret, [0xab; 32]);
    // A server that lost it is given it again, not another one.
    redis.kill();
    redis.begin();
    until("the key is there again", async || redis.told("GET pforte:key") == stored).await;
    assert_eq!(later.key().borrow().secret, [0xab; 32]);
    // What is no key changes nothing.
    redis.say("SET pforte:key secret");
    let newcomer = replica(&settings).await;
    assert_ne!(newcomer.key().borrow().secret, [0xab; 32]);
    assert_eq!(newcomer.key().borrow().former, None);
    // Who has a file does not put a key there.
    redis.say("DEL pforte:key");
    let with_file =
        replica(&SharedState { keeps_key: false, prefix: "filed".to_owned(), ..settings.clone() }).await;
    assert_eq!(with_file.first_use(&proof(1), LIFETIME).await, Ok(Use::First));
    assert_eq!(redis.told("GET filed:key"), "");
    assert!(!format!("{:?}", later.key()).contains("171"));
}

/// JWT-075, TOK-31: what one replica or an operator revokes is revoked everywhere, within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_reach_all_replicas() {
    let redis = RedisServer::start();
    let settings = settings(&redis);
    let (one, other) = (replica(&settings).await, replica(&settings).await);
    let far = i64::MAX / 4_000_000_000;
    one.revoke([1; 32], far);
    let took = until("told", async || other.revoked(&[1; 32]) && one.revoked(&[1; 32])).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!other.revoked(&[2; 32]));
    // What nobody understands stops nothing.
    redis.say("XADD pforte:revoked * token secret");
    redis.say("XADD pforte:revoked * jti t-9");
    redis.say(&format!("XADD pforte:revoked MAXLEN ~ 100000 * iss https://as.test jti t-1 until {far}"));
    let took = until("told", async || other.revoked_id("https://as.test", "t-1")).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!other.revoked_id("https://as.test", "t-2") && !other.revoked_id("https://as2.test", "t-1"));
    // What is over matters no longer.
    redis.say(&format!("XADD pforte:revoked * token {} until 1000", "09".repeat(32)));
    // Who starts later knows all of it at once.
    let late = replica(&settings).await;
    assert!(late.revoked(&[1; 32]) && late.revoked_id("https://as.test", "t-1") && !late.revoked(&[9; 32]));
    // Nothing is missed while the line is cut.
    redis.say("CLIENT KILL TYPE normal");
    redis.say(&format!("XADD pforte:revoked * token {} until {far}", "03".repeat(32)));
    until("read after the cut", async || one.revoked(&[3; 32]) && other.revoked(&[3; 32])).await;
    // A key of another kind is no end either.
    redis.say("RENAME pforte:revoked kept");
    redis.say("SET pforte:revoked x");
    redis.say("CLIENT KILL TYPE normal");
    up(&one).await;
    redis.say("DEL pforte:revoked");
    redis.say("RENAME kept pforte:revoked");
    redis.say(&format!("XADD pforte:revoked * token {} until {far}", "04".repeat(32)));
    until("read after the mess", async || one.revoked(&[4; 32])).await;
}

/// What is revoked while the server is away is told when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_wait_for_the_server() {
    let mut redis = RedisServer::start();
    let settings = settings(&redis);
    let (one, other) = (replica(&settings).await, replica(&settings).await);
    redis.kill();
    assert!(away(&one.first_use(&proof(1), LIFETIME).await));
    let far = i64::MAX / 4_000_000_000;
    one.revoke([1; 32], far);
    one.revoke([2; 32], far);
    redis.begin();
    until("told", async || other.revoked(&[1; 32]) && other.revoked(&[2; 32])).await;
}

/// Settings that change: another server, a password, none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_under_way() {
    let (first, second) = (RedisServer::start(), RedisServer::start_with(&["--requirepass", "hunter2"]));
    let replica = replica(&settings(&first)).await;
    assert_eq!(replica.first_use(&proof(1), LIFETIME).await, Ok(Use::First));
    let key = replica.key().borrow().secret;
    let mut other = settings(&second);
    replica.change(Some(&other)).expect("settings that can be used");
    let denied =
        async || replica.status().and_then(|status| status.amiss).is_some_and(|why| why.contains("NOAUTH"));
    until("it wants a password", denied).await;
    assert!(away(&replica.first_use(&proof(2), LIFETIME).await));
    other.password = Some(Secret::new("hunter3".to_owned()));
    replica.change(Some(&other)).expect("settings that can be used");
    let amiss = async || {
        replica.status().and_then(|status| status.amiss).is_some_and(|why| why != "not connected yet")
    };
    until("the password is wrong", amiss).await;
    assert!(!format!("{:?} {replica:?}", replica.status()).contains("hunter"), "a secret is shown");
    other.password = Some(Secret::new("hunter2".to_owned()));
    replica.change(Some(&other)).expect("settings that can be used");
    up(&replica).await;
    assert_eq!(replica.first_use(&proof(3), LIFETIME).await, Ok(Use::First));
    assert_eq!(replica.first_use(&proof(1), LIFETIME).await, Ok(Use::Again), "the own memory goes on");
    assert_eq!(replica.key().borrow().secret, key);
    replica.change(None).expect("none");
    assert_eq!(replica.status(), None);
    assert_eq!(replica.first_use(&proof(4), LIFETIME).await, Ok(Use::First));
}

/// `rediss://`: the certificate is verified, and a user of the access list needs few rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_users() {
    let tls = "--tls-port {port} --tls-cert-file redis.pem --tls-key-file redis.key --tls-ca-cert-file redis.pem \
               --tls-auth-clients no";
    let user = "--user pforte on >hunter2 ~pforte:* resetchannels -@all +ping +info +get +set +time +xadd +xread +eval \
                +evalsha";
    let arguments: Vec<&str> = tls.split(' ').chain(user.split(' ')).collect();
    let mut redis = RedisServer::absent(&arguments);
    for name in ["redis", "other"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("made");
        let folder = redis.folder();
        std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).expect("written");
        std::fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem())
            .expect("written");
    }
    redis.begin();
    let port = redis.address().port();
    let with = |host: &str, ca: &str, password: &str| SharedState {
        url: format!("rediss://{host}:{port}/0").parse().expect("a URL"),
        ca: Some(redis.folder().join(ca)),
        username: Some("pforte".to_owned()),
        password: Some(Secret::new(password.to_owned())),
        ..settings(&redis)
    };
    for host in ["localhost", "127.0.0.1"] {
        let replica = replica(&with(host, "redis.pem", "hunter2")).await;
        assert_eq!(replica.status().expect("a server").amiss, None, "{host}");
        assert!(replica.first_use(&proof(1), LIFETIME).await.is_ok(), "{host}");
        replica.revoke([1; 32], i64::MAX / 4_000_000_000);
        until("told", async || replica.revoked(&[1; 32])).await;
        assert_eq!(replica.take("a", Rate { per_second: 1, burst: 2 }).await, Turn::Now);
    }
    for (ca, password, said) in
        [("other.pem", "hunter2", "certificate"), ("redis.pem", "hunter3", "authentication failed")]
    {
        let replica = replica(&with("localhost", ca, password)).await;
        assert!(away(&replica.first_use(&proof(2), LIFETIME).await));
        let shown = format!("{:?} {replica:?}", replica.status());
        assert!(shown.contains(said) && !shown.contains("hunter"), "{shown}");
    }
    assert!(Shared::new(Some(&with("localhost", "none.pem", "hunter2"))).is_err());
}
