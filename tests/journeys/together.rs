//! Two replicas of one gateway: one public URL, one Redis (TOK-31, TOK-64, TOK-65, SRCH-25; KEYS-032, FLT-011, JWT-075).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use pforte::demo::authorization::Claims;
use serde_json::{Value, json};

use crate::house::{HOST, House, Plan, free};
use crate::proof::Holder;
use crate::redis_server::RedisServer;
use crate::support::{Answer, Ask, Client, Gateway};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the replicas wait for Redis.
const TIMEOUT: Duration = Duration::from_millis(400);

const SCOPE: &str = "system/*.rs";
/// A scope under which page links leave sealed.
const SEARCHES: &str = "system/Patient.rs";
const TARGET: &str = "Patient/pat-01";

/// Two replicas: the one of the house, and another one at the same port of another address.
struct Pair {
    house: House,
    other: Gateway,
    client: Client,
    /// Where the first one tells how it is.
    admin: SocketAddr,
}

impl Pair {
    /// Starts both; `tables` follow `[shared_state]`, and `change` makes the second's settings of the first's.
    async fn open(redis: &RedisServer, plan: Plan, change: impl FnOnce(String) -> String) -> Self {
        let admin = free();
        let tables = format!(
            "[shared_state]\nurl = \"{}\"\ntimeout = \"{}ms\"\n[admin]\nlisten = \"{admin}\"\n{}",
            redis.url(),
            TIMEOUT.as_millis(),
            plan.tables
        );
        let house = House::open(Plan { tables: Box::leak(tables.into_boxed_str()), ..plan }).await;
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), house.address.port()));
        let settings =
            house.settings(&format!("listen = \"{}\"", house.address), &format!("listen = \"{at}\""));
        let settings = change(settings.replacen(&admin.to_string(), "off", 1));
        let other = Gateway::run(at, HOST, &settings, plan.secrets);
        let client = Client::new(house.client.base(), at, other.certificate(), &[], &house.findings);
        Self { house, other, client, admin }
    }

    fn clients(&self) -> [&Client; 2] {
        [&self.house.client, &self.client]
    }

    fn close(mut self) {
        self.other.close(&self.client, &self.house.findings);
        self.house.close();
    }
}

fn same(settings: String) -> String {
    settings
}

fn read(client: &Client, token: &str) -> Ask {
    client.ask("GET", TARGET).bearer(token)
}

/// A holder of a key, with a token that is bound to it.
struct Bound {
    holder: Holder,
    token: String,
}

impl Bound {
    fn new(house: &House) -> Self {
        let holder = Holder::new(Algorithm::ES256);
        let claims = Claims::new(SCOPE).with("cnf", json!({"jkt": holder.thumbprint()}));
        Self { token: house.claiming(claims), holder }
    }

    fn proof(&self, client: &Client, nonce: Option<&str>) -> String {
        self.holder.proof("GET", &format!("{}/{TARGET}", client.base()), Some(&self.token), |proof| {
            if let Some(nonce) = nonce {
                proof.claims["nonce"] = json!(nonce);
            }
        })
    }

    fn ask(&self, client: &Client, proof: &str) -> Ask {
        client.ask("GET", TARGET).token("DPoP", &self.token).field("dpop", proof)
    }

    /// A request with a proof of its own.
    async fn read(&self, client: &Client) -> Answer {
        self.ask(client, &self.proof(client, None)).send().await
    }
}

/// Waits until this holds; gives the time that it took.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// The memory of proofs is a second old at both.
async fn remembering(pair: &Pair) -> Bound {
    let bound = Bound::new(&pair.house);
    for client in pair.clients() {
        until("proofs are accepted", async || bound.read(client).await.status == 200).await;
    }
    bound
}

/// The status and body of a page of the admin address.
async fn page(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{admin}{path}")).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The query of the sealed link to the next page.
async fn next(client: &Client, token: &str) -> String {
    let answer = client.ask("GET", "Patient?_count=2").bearer(token).send().await;
    answer.is(200);
    let bundle = answer.json();
    let links = bundle["link"].as_array().cloned().unwrap_or_default();
    let url = links.iter().find(|link| link["relation"] == "next").map(|link| link["url"].clone());
    let url = url.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let query = url.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
    if !query.starts_with("?_link=") {
        answer.wrong("a sealed link to the next page");
    }
    query
}

/// TOK-64, TOK-65: a proof is used once, and a nonce of one replica is taken by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_and_a_nonce_count_at_both() {
    let redis = RedisServer::start();
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let bound = remembering(&pair).await;
    let [one, other] = pair.clients();
    for (first, second) in [(one, other), (other, one)] {
        let proof = bound.proof(first, None);
        bound.ask(first, &proof).send().await.is(200);
        let replayed = bound.ask(second, &proof).with("at the other replica").send().await;
        replayed.refused(401, "dpop_proof_replayed");
        bound.ask(first, &proof).send().await.refused(401, "dpop_proof_replayed");
        bound.read(second).await.is(200);
    }
    pair.close();
    let plan = Plan { tables: "[dpop]\nnonce = \"required\"", ..Plan::default() };
    let pair = Pair::open(&redis, plan, same).await;
    let bound = Bound::new(&pair.house);
    for (first, second) in [(0, 1), (1, 0)].map(|(a, b)| (pair.clients()[a], pair.clients()[b])) {
        let answer = bound.read(first).await;
        answer.refused(401, "dpop_nonce_needed");
        let nonce = answer.field("dpop-nonce").to_owned();
        bound.ask(second, &bound.proof(second, Some(&nonce))).send().await.is(200);
    }
    pair.close();
}

/// SRCH-25: without a key file a link of one opens at the other, and not where another gateway's key is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_at_both() {
    let redis = RedisServer::start();
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let stranger =
        |settings: String| settings.replacen("[shared_state]\n", "[shared_state]\nprefix = \"another\"\n", 1);
    let apart = Pair::open(&redis, Plan::default(), stranger).await;
    for (pair, opens) in [(&pair, true), (&apart, false)] {
        let token = pair.house.claiming(Claims::new(SEARCHES).with("client_id", "app-1"));
        let link = next(&pair.house.client, &token).await;
        let answer = pair.client.ask("GET", &link).bearer(&token).send().await;
        if opens {
            answer.is(200).only(&["Patient"]);
        } else {
            answer.refused(403, "link_refused");
        }
    }
    for pair in [pair, apart] {
        pair.close();
    }
}

/// A replica that starts alone serves, and takes the common key over; its own links still open there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_started_alone_joins() {
    let mut redis = RedisServer::absent(&[]);
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let token = pair.house.claiming(Claims::new(SEARCHES).with("client_id", "app-1"));
    let [one, other] = pair.clients();
    let links = [next(one, &token).await, next(other, &token).await];
    other.ask("GET", &links[0]).bearer(&token).with("before").send().await.refused(403, "link_refused");
    let (status, shown) = page(pair.admin, "/ready").await;
    assert!(status == 200 && shown.contains("\"shared_state\",\"ready\":true,\"degraded\""), "{shown}");
    redis.begin();
    let opened =
        async |client: &Client, link: &str| client.ask("GET", link).bearer(&token).send().await.status;
    until("a link opens at both", async || opened(other, &next(one, &token).await).await == 200).await;
    until("a link opens at both", async || opened(one, &next(other, &token).await).await == 200).await;
    for (client, link) in [(one, &links[0]), (other, &links[1])] {
        client.ask("GET", link).bearer(&token).with("a link of before").send().await.is(200);
    }
    let (_, shown) = page(pair.admin, "/ready").await;
    assert!(shown.contains("{\"name\":\"shared_state\",\"ready\":true}"), "{shown}");
    pair.close();
}

/// `requests_per_client` counts at both together; without Redis at each alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_counts_at_both() {
    let mut redis = RedisServer::start();
    let plan = Plan { tables: "[limits]\nrequests_per_client = \"1/s burst 20\"", ..Plan::default() };
    let pair = Pair::open(&redis, plan, same).await;
    let [one, other] = pair.clients();
    let passed = async |client_id: &str| {
        let token = pair.house.claiming(Claims::new(SCOPE).with("client_id", client_id));
        let mut passed = 0;
        for client in [one, other].into_iter().cycle().take(50) {
            let answer = read(client, &token).with(client_id).send().await;
            answer.one_of(&[200, 429]);
            passed += usize::from(answer.status == 200);
        }
        passed
    };
    let begun = Instant::now();
    let together = passed("app-1").await;
    let refilled = usize::try_from(begun.elapsed().as_secs()).expect("a number") + 1;
    assert!((20..=20 + refilled).contains(&together), "{together}");
    redis.kill();
    let begun = Instant::now();
    let alone = passed("app-2").await;
    let refilled = 2 * (usize::try_from(begun.elapsed().as_secs()).expect("a number") + 1);
    assert!((40..=40 + refilled).contains(&alone), "{alone}");
    pair.close();
}

/// TOK-31: what an issuer calls inactive at one replica is refused at the other within a second, though it is remembered there as
/// active for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_at_both() {
    let redis = RedisServer::start();
    let plan = Plan {
        issuer: "validation = \"introspection\"\nopaque = true\nintrospection_cache = \"1s\"\n\
                 client = { id = \"pforte\", auth = \"client_secret_basic\", secret_file = \"secret\" }",
        secrets: &[("secret", "pforte-demo-secret")],
        ..Plan::default()
    };
    let longer = |settings: String| {
        settings.replacen("introspection_cache = \"1s\"", "introspection_cache = \"10m\"", 1)
    };
    let pair = Pair::open(&redis, plan, longer).await;
    let [one, other] = pair.clients();
    let server = &pair.house.demo.authorization;
    let (token, neighbour) = (server.mint_opaque(Claims::new(SCOPE)), server.mint_opaque(Claims::new(SCOPE)));
    for client in [one, other] {
        read(client, &token).send().await.is(200);
        read(client, &neighbour).send().await.is(200);
    }
    server.revoke(&token);
    read(other, &token).with("remembered").send().await.is(200);
    until("refused at the first", async || read(one, &token).send().await.status == 401).await;
    let took = until("refused at the other", async || read(other, &token).send().await.status == 401).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    read(other, &token).send().await.refused(401, "token_revoked");
    read(other, &neighbour).send().await.is(200);
    pair.close();
}

/// JWT-075: an operator revokes a signed token by issuer and id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_revokes() {
    let redis = RedisServer::start();
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let token = |jti: &str| pair.house.claiming(Claims::new(SCOPE).with("jti", jti));
    let (bad, good) = (token("t-1"), token("t-2"));
    for client in pair.clients() {
        read(client, &bad).send().await.is(200);
        read(client, &good).send().await.is(200);
    }
    let issuer = pair.house.demo.authorization.issuer();
    redis.say(&format!("XADD pforte:revoked MAXLEN ~ 100000 * iss {issuer} jti t-1 until 4000000000"));
    for client in pair.clients() {
        let took = until("refused", async || read(client, &bad).send().await.status == 401).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        pair.house
            .kept_out(read(client, &bad))
            .await
            .refused(401, "token_revoked")
            .has("www-authenticate", "");
        read(client, &good).send().await.is(200);
    }
    pair.close();
}

/// FLT-011, KEYS-032: Redis away, slow, read-only: proofs are refused with 503 in time, everybody else is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_no_proof_passes() {
    let mut redis = RedisServer::start();
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let bound = remembering(&pair).await;
    let bearer = pair.house.token(SCOPE);
    let trouble = async |what: &str| {
        for client in pair.clients() {
            for _ in 0..5 {
                let begun = Instant::now();
                let answer = bound.read(client).await;
                answer.refused(503, "replay_memory_unavailable").has("retry-after", "");
                let took = begun.elapsed();
                pair.house.findings.check(took < TIMEOUT * 4, format!("{what}: refused after {took:?}"));
                read(client, &bearer).with(what).send().await.is(200);
            }
        }
        let (status, shown) = page(pair.admin, "/ready").await;
        assert!(status == 200 && shown.contains("\"degraded\""), "{what}: {shown}");
        let (_, shown) = page(pair.admin, "/metrics").await;
        assert!(shown.contains("pforte_shared_state_up{kind=\"redis\"} 0"), "{what}: {shown}");
    };
    let well = async |what: &str| {
        for client in pair.clients() {
            let took = until(what, async || bound.read(client).await.status == 200).await;
            pair.house.findings.check(took < Duration::from_secs(5), format!("{what}: well after {took:?}"));
        }
        let shown = async || {
            page(pair.admin, "/metrics").await.1.contains("pforte_shared_state_up{kind=\"redis\"} 1")
        };
        until("it is shown", shown).await;
    };
    redis.kill();
    trouble("killed").await;
    redis.begin();
    well("killed").await;
    redis.pause();
    trouble("stopped").await;
    redis.go_on();
    well("stopped").await;
    redis.say("CONFIG SET min-replicas-to-write 1");
    until("it is noticed", async || page(pair.admin, "/ready").await.1.contains("degraded")).await;
    trouble("read-only").await;
    redis.say("CONFIG SET min-replicas-to-write 0");
    well("read-only").await;
    pair.close();
}

/// A reload takes another prefix, and refuses settings that cannot be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_state_is_reloaded() {
    let redis = RedisServer::start();
    let pair = Pair::open(&redis, Plan::default(), same).await;
    let bound = remembering(&pair).await;
    let settings = pair.house.settings("[shared_state]\n", "[shared_state]\nprefix = \"ward\"\n");
    pair.house.rewrite(&settings);
    pair.house.gateway.signal("HUP");
    until("the new prefix is used", async || redis.told("EXISTS ward:since") == "1").await;
    until("proofs are accepted", async || bound.read(&pair.house.client).await.status == 200).await;
    let proof = bound.proof(&pair.client, None);
    bound.ask(&pair.client, &proof).send().await.is(200);
    bound.ask(&pair.house.client, &proof).with("apart now").send().await.is(200);
    pair.house.rewrite(&settings.replacen("prefix = \"ward\"", "prefix = \"a b\"", 1));
    pair.house.gateway.signal("HUP");
    until("it is reported", async || pair.house.gateway.log().contains("shared_state.prefix")).await;
    bound.read(&pair.house.client).await.is(200);
    pair.close();
}

/// `check --online` tries the server as the gateway does, and leaves nothing in it that replicas would take for theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_checked() {
    let mut redis = RedisServer::start();
    let tables = format!("[shared_state]\nurl = \"{}\"\nprefix = \"checked\"", redis.url());
    let house = House::open(Plan { tables: Box::leak(tables.into_boxed_str()), ..Plan::default() }).await;
    let settings = house.settings("prefix = \"checked\"", "prefix = \"unused\"");
    std::fs::write(house.gateway.folder.join("checked.toml"), settings).expect("written");
    let checked = || {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_pforte"))
            .args(["check", "--online", "--config"])
            .arg(house.gateway.folder.join("checked.toml"))
            .output()
            .expect("the check runs");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let text = tokio::task::block_in_place(checked);
    house.findings.check(text.contains("fits  it answers, and takes what is written"), text);
    let left = redis.say("EXISTS unused:key");
    house.findings.check(left == redis::Value::Int(0), format!("a key was left: {left:?}"));
    redis.kill();
    let text = tokio::task::block_in_place(checked);
    house.findings.check(text.contains("MEND") && text.contains("mend `shared_state`"), text);
    house.close();
}
