//! An authorization server that misbehaves, and tokens that are not what they seem (TOK-4 … TOK-47).

use std::time::{Duration, Instant};

use pforte::demo::authorization::{Claims, Endpoint, Misbehaviour};
use serde_json::json;

use crate::house::{House, Plan};

const OPAQUE: Plan = Plan {
    backend: "",
    issuer: "validation = \"introspection\"\nopaque = true\nintrospection_cache = \"0s\"\ntimeout = \"1s\"\n\
             client = { id = \"pforte\", auth = \"client_secret_basic\", secret_file = \"secret\" }",
    tables: "",
    secrets: &[("secret", "pforte-demo-secret")],
};

/// TOK-20 … TOK-31: claims and headers that refuse a token, with the good neighbour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_refused() {
    let house = House::open(Plan::default()).await;
    let server = &house.demo.authorization;
    let claims = || Claims::new("system/*.rs");
    let plain = |claims: Claims| server.mint(claims);
    let header = |header: serde_json::Value| server.mint_with(&header, claims());
    let foreign = json!({"alg": "ES256", "typ": "at+jwt", "kid": "no-such-key"});
    let cases = [
        ("good", plain(claims()), 200, ""),
        (
            "several audiences",
            plain(claims().with("aud", json!([house.client.base(), "https://b.example"]))),
            200,
            "",
        ),
        ("expired", plain(claims().with("exp", 1_700_000_000)), 401, "token_expired"),
        ("not yet valid", plain(claims().with("nbf", 4_000_000_000_u64)), 401, "token_not_yet_valid"),
        ("issued in future", plain(claims().with("iat", 4_000_000_000_u64)), 401, "token_issued_in_future"),
        ("no expiry", plain(claims().without("exp")), 401, "token_claim_missing"),
        ("expiry as text", plain(claims().with("exp", "4000000000")), 401, "token_claim_unusable"),
        (
            "other audience",
            plain(claims().with("aud", "https://other.example/fhir")),
            401,
            "token_audience_mismatch",
        ),
        (
            "longer audience",
            plain(claims().with("aud", format!("{}/", house.client.base()))),
            401,
            "token_audience_mismatch",
        ),
        ("no audience", plain(claims().without("aud")), 401, ""),
        ("other issuer", plain(claims().with("iss", "https://evil.example")), 401, "token_issuer_unknown"),
        ("no issuer", plain(claims().without("iss")), 401, ""),
        (
            "bound to a key",
            plain(claims().with("cnf", json!({"jkt": "x"}))),
            401,
            "token_confirmation_unusable",
        ),
        ("ID token", header(json!({"typ": "JWT"})), 401, "token_type_refused"),
        ("no type", header(json!({"typ": null})), 401, "token_type_refused"),
        ("unknown key", header(foreign), 401, "token_key_unknown"),
        ("alg none", header(json!({"alg": "none"})), 401, ""),
        ("alg HS256", header(json!({"alg": "HS256"})), 401, "token_algorithm_refused"),
        ("critical extension", header(json!({"crit": ["b64"], "b64": false})), 401, ""),
        ("not a token", "x".to_owned(), 401, ""),
        ("no scope", plain(Claims::default()), 403, "insufficient_scope"),
        (
            "malformed scope",
            plain(Claims::new("system/*.sr system/*.RS SYSTEM/*.rs system/Patient")),
            403,
            "",
        ),
    ];
    for (words, token, status, reason) in cases {
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token).with(words);
        if status == 200 {
            asked.send().await.is(200);
            continue;
        }
        let answer = house.kept_out(asked).await;
        answer.is(status).holds("OperationOutcome").has("www-authenticate", "Bearer ");
        if !reason.is_empty() {
            answer.refused(status, reason);
        }
    }
    house.close();
}

/// TOK-13, TOK-15: keys come and go; made-up key names cause no storm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_change() {
    let house = House::open(Plan::default()).await;
    let server = &house.demo.authorization;
    let old = server.active_key();
    let before = house.token("system/Patient.r");
    house.client.read("Patient/pat-01", &before).await.is(200);
    server.rotate_key().expect("a key");
    house
        .client
        .ask("GET", "Patient/pat-01")
        .bearer(&house.token("system/Patient.r"))
        .with("new key")
        .send()
        .await
        .is(200);
    house
        .client
        .ask("GET", "Patient/pat-01")
        .bearer(&before)
        .with("old key, still published")
        .send()
        .await
        .is(200);
    house.findings.check(server.active_key() != old, "the key was not changed");
    let calls = server.calls(Endpoint::Jwks);
    let mut flying = tokio::task::JoinSet::new();
    for number in 0..60 {
        let token =
            server.mint_with(&json!({"kid": format!("made-up-{number}")}), Claims::new("system/*.rs"));
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token).with("unknown key");
        flying.spawn(async move { asked.send().await });
    }
    while let Some(answer) = flying.join_next().await {
        answer.expect("an answer").is(401);
    }
    let more = server.calls(Endpoint::Jwks) - calls;
    house.findings.check(more <= 3, format!("60 tokens of unknown keys caused {more} calls for keys"));
    house.close();
}

/// TOK-45, DISC-15: a server in trouble is 503 with Retry-After, and the way back is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_keys_in_trouble() {
    for (words, endpoint, trouble) in [
        ("keys down", Endpoint::Jwks, Misbehaviour::down()),
        ("keys garbage", Endpoint::Jwks, Misbehaviour::garbage()),
        ("keys closed", Endpoint::Jwks, Misbehaviour::Close),
        ("keys without end", Endpoint::Jwks, Misbehaviour::huge_jwks(20_000)),
        ("keys late", Endpoint::Jwks, Misbehaviour::Delay(Duration::from_secs(3600))),
    ] {
        let mut house = House::open(Plan { issuer: "timeout = \"1s\"", ..Plan::default() }).await;
        let token = house.token("system/Patient.r");
        house.client.read("Patient/pat-01", &token).await.is(200);
        house.demo.authorization.misbehave(endpoint, trouble);
        // Started anew in the middle of the trouble: it has never seen the keys.
        let findings = house.findings.clone();
        house.gateway.restart(&findings);
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token).with(words);
        house.kept_out(asked).await.refused(503, "issuer_unavailable").has("retry-after", "");
        house.close();
    }
}

/// DISC-21: metadata that names another issuer, or leads nowhere, is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_not_believed() {
    for (words, members) in [
        ("another issuer", json!({"issuer": "https://evil.example"})),
        ("no issuer", json!({"issuer": null})),
        ("no keys", json!({"jwks_uri": null})),
        ("keys elsewhere, unreachable", json!({"jwks_uri": "https://127.0.0.1:1/jwks"})),
        ("keys at a relative address", json!({"jwks_uri": "/jwks"})),
    ] {
        let mut house = House::open(Plan { issuer: "timeout = \"1s\"", ..Plan::default() }).await;
        let token = house.token("system/Patient.r");
        house.client.read("Patient/pat-01", &token).await.is(200);
        house.demo.authorization.override_metadata(&members);
        let findings = house.findings.clone();
        house.gateway.restart(&findings);
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token).with(words);
        house.kept_out(asked).await.refused(503, "issuer_unavailable").has("retry-after", "");
        house.close();
    }
}

/// TOK-40 … TOK-46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_in_trouble() {
    let house = House::open(OPAQUE).await;
    let server = &house.demo.authorization;
    let token = server.mint_opaque(Claims::new("system/Patient.r"));
    let ask = |words: &str| house.client.ask("GET", "Patient/pat-01").bearer(&token).with(words);
    ask("good").send().await.is(200);
    let says = |status, body| Misbehaviour::json(status, &body);
    let full = json!({"active": true, "scope": "system/*.rs", "client_id": "c", "exp": 4_000_000_000_u64,
                      "aud": house.client.base()});
    let but = |name: &str, value: serde_json::Value| {
        let mut body = full.clone();
        body[name] = value;
        body
    };
    let refusals = [
        ("inactive", json!({"active": false}), 401),
        ("active as text", but("active", json!("true")), 401),
        ("active as number", but("active", json!(1)), 401),
        ("no active", json!({"scope": "system/*.rs"}), 401),
        ("expired", but("exp", json!(1_700_000_000)), 401),
        ("other audience", but("aud", json!("https://other.example")), 401),
        ("other issuer", but("iss", json!("https://evil.example")), 401),
        ("no scope", but("scope", json!("")), 403),
    ];
    for (words, body, status) in refusals {
        server.misbehave(Endpoint::Introspection, says(200, body));
        house.kept_out(ask(words)).await.is(status).holds("OperationOutcome");
    }
    server.behave();
    ask("good again").send().await.is(200);
    let troubles = [
        ("500", Misbehaviour::down()),
        ("garbage", Misbehaviour::garbage()),
        ("closed", Misbehaviour::Close),
        ("late", Misbehaviour::Delay(Duration::from_secs(3600))),
        ("401 to the gateway", says(401, json!({"error": "invalid_client"}))),
    ];
    for (words, trouble) in troubles {
        server.misbehave(Endpoint::Introspection, trouble);
        house.kept_out(ask(words)).await.refused(503, "issuer_unavailable").has("retry-after", "");
    }
    server.behave();
    // After several failures the server is left in peace for a while; the way back is found after that.
    let begun = Instant::now();
    loop {
        let answer = ask("well again").send().await;
        if answer.status != 503 || begun.elapsed() > Duration::from_secs(15) {
            answer.is(200);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Cap 0: every request asks, so a revoked token is refused at the next one.
    server.revoke(&token);
    house.kept_out(ask("revoked")).await.refused(401, "token_inactive");
    house.close();
}

/// TOK-47: one call in flight for a token, however many requests bring it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_is_shared() {
    const REQUESTS: usize = 12;
    let lines = "validation = \"introspection\"\nopaque = true\nintrospection_cache = \"60s\"\n\
                 client = { id = \"pforte\", auth = \"client_secret_post\", secret_file = \"secret\" }";
    let house = House::open(Plan { issuer: lines, ..OPAQUE }).await;
    let server = &house.demo.authorization;
    let token = server.mint_opaque(Claims::new("system/Patient.r"));
    server.misbehave(Endpoint::Introspection, Misbehaviour::Hold);
    let mut flying = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS {
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token);
        flying.spawn(async move { asked.send().await });
    }
    while server.calls(Endpoint::Introspection) == 0 {
        tokio::task::yield_now().await;
    }
    server.behave();
    while let Some(answer) = flying.join_next().await {
        answer.expect("an answer").is(200);
    }
    let calls = server.calls(Endpoint::Introspection);
    house
        .findings
        .check(calls == 1, format!("{REQUESTS} requests with one token caused {calls} introspections"));
    house.close();
}
