//! Tokens bound to a key (RFC 9449; TOK-62 … TOK-67): good proofs, bad ones, used ones, and nonces.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use pforte::demo::authorization::Claims;
use pforte::token::NonceKey;
use serde_json::{Value, json};

use crate::house::{House, Plan};
use crate::proof::{Holder, Proof};
use crate::support::{Answer, Ask};

const TARGET: &str = "Patient/pat-01";
const SCOPE: &str = "system/*.rs";

/// The key of nonces, in a file and here.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const NONCES: Plan = Plan {
    backend: "",
    issuer: "",
    tables: "[dpop]\nnonce = \"required\"\n[shared_state]\nseal_key_file = \"seal.key\"",
    secrets: &[("seal.key", KEY)],
};

fn bound_to(holder: &Holder) -> Claims {
    Claims::new(SCOPE).with("cnf", json!({"jkt": holder.thumbprint()}))
}

/// A request with this proof.
fn with_proof(house: &House, (method, target): (&str, &str), (token, proof): (&str, &str)) -> Ask {
    house.client.ask(method, target).token("DPoP", token).field("dpop", proof)
}

/// A good proof for reading `TARGET`, changed.
fn proof(house: &House, holder: &Holder, token: &str, change: impl FnOnce(&mut Proof)) -> String {
    holder.proof("GET", &format!("{}/{TARGET}", house.client.base()), Some(token), change)
}

fn challenges(answer: &Answer) -> Vec<String> {
    let fields = answer.headers.get_all("www-authenticate").iter();
    fields.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// What is wrong is told by the DPoP challenge, which comes first; Bearer is named beside it.
fn told(answer: &Answer, error: &str) {
    let all = challenges(answer);
    let fits = match all.as_slice() {
        [dpop, bearer] => {
            dpop.starts_with("DPoP ")
                && dpop.contains(&format!(r#"error="{error}""#))
                && dpop.contains(r#"algs="ES256 "#)
                && bearer.starts_with("Bearer ")
                && !bearer.contains("error=")
        }
        _ => false,
    };
    if !fits {
        answer.wrong(&format!("challenges of DPoP with `{error}` and of Bearer, not {all:?}"));
    }
}

/// TOK-63, TOK-67: a holder of the key reads, searches and posts by all kinds of keys; the backend sees no proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_are_served() {
    let house = House::open(Plan::default()).await;
    let base = house.client.base().to_owned();
    for algorithm in
        [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256]
    {
        let holder = Holder::new(algorithm);
        let token = house.claiming(bound_to(&holder));
        let good = proof(&house, &holder, &token, |_| ());
        let asked = with_proof(&house, ("GET", TARGET), (&token, &good)).with(&format!("{algorithm:?}"));
        let (answer, seen) = house.let_in(asked).await;
        answer.is(200).without("dpop-nonce").without("www-authenticate");
        for name in ["dpop", "authorization"] {
            let leaked = seen.as_ref().is_some_and(|seen| seen.headers.contains_key(name));
            house.findings.check(!leaked, format!("the backend sees the field `{name}`"));
        }
    }
    let holder = Holder::new(Algorithm::ES256);
    let token = house.claiming(bound_to(&holder));
    for (method, target, url) in [
        ("HEAD", TARGET, format!("{base}/{TARGET}")),
        ("GET", "Patient?_count=1", format!("{base}/Patient")),
        ("GET", "?_type=Patient", base.clone()),
        ("POST", "Patient/_search", format!("{base}/Patient/_search")),
    ] {
        let good = holder.proof(method, &url, Some(&token), |_| ());
        let asked = with_proof(&house, (method, target), (&token, &good));
        let asked = if method == "POST" {
            asked.body("application/x-www-form-urlencoded", "_count=1")
        } else {
            asked
        };
        asked.send().await.is(200);
    }
    house.close();
}

/// What makes a bad proof of a good one.
type Change = Box<dyn FnOnce(&mut Proof)>;

fn claim(name: &'static str, value: Value) -> Change {
    Box::new(move |proof| proof.claims[name] = value)
}

fn without(name: &'static str) -> Change {
    Box::new(move |proof| drop(proof.claims.as_object_mut().expect("claims").remove(name)))
}

fn header(name: &'static str, value: Value) -> Change {
    Box::new(move |proof| proof.header[name] = value)
}

/// TOK-63; POP-004 … POP-007: proofs that are none, each one change away from a good one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_are_refused() {
    let house = House::open(Plan::default()).await;
    let holder = Holder::new(Algorithm::ES256);
    let token = house.claiming(bound_to(&holder));
    let url = format!("{}/{TARGET}", house.client.base());
    let port = house.address.port();
    let cases: Vec<(&str, Change, &str)> = vec![
        ("good", Box::new(|_| ()), ""),
        ("host in upper case", claim("htu", json!(format!("HTTPS://GW.TEST:{port}/fhir/{TARGET}"))), ""),
        ("encoded letter", claim("htu", json!(url.replace("Patient", "%50atient"))), ""),
        ("dot segment", claim("htu", json!(url.replace("Patient", "./Patient"))), ""),
        ("another path", claim("htu", json!(url.replace("pat-01", "pat-02"))), "dpop_proof_url"),
        ("with query", claim("htu", json!(format!("{url}?_format=json"))), "dpop_proof_url"),
        ("with fragment", claim("htu", json!(format!("{url}#x"))), "dpop_proof_url"),
        ("another port", claim("htu", json!(url.replace(&format!(":{port}"), ""))), "dpop_proof_url"),
        ("plain http", claim("htu", json!(url.replace("https", "http"))), "dpop_proof_url"),
        ("no URL", without("htu"), "dpop_proof_malformed"),
        ("method of another", claim("htm", json!("POST")), "dpop_proof_method"),
        ("method in lower case", claim("htm", json!("get")), "dpop_proof_method"),
        ("no hash of the token", without("ath"), "dpop_proof_malformed"),
        (
            "hash of another token",
            claim("ath", json!("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")),
            "dpop_proof_token",
        ),
        ("old", claim("iat", json!(1_700_000_000)), "dpop_proof_time"),
        ("of the future", claim("iat", json!(4_000_000_000_u64)), "dpop_proof_time"),
        ("no id", without("jti"), "dpop_proof_malformed"),
        ("type of a token", header("typ", json!("at+jwt")), "dpop_proof_malformed"),
        ("symmetric", header("alg", json!("HS256")), "dpop_proof_malformed"),
        ("unsigned", header("alg", json!("none")), "dpop_proof_malformed"),
        ("no key", header("jwk", json!(null)), "dpop_proof_malformed"),
        ("critical extension", header("crit", json!(["x"])), "dpop_proof_malformed"),
    ];
    for (words, change, reason) in cases {
        let made = proof(&house, &holder, &token, change);
        let asked = with_proof(&house, ("GET", TARGET), (&token, &made)).with(words);
        if reason.is_empty() {
            asked.send().await.is(200);
        } else {
            told(house.kept_out(asked).await.refused(401, reason), "invalid_dpop_proof");
        }
    }
    house.close();
}

/// TOK-63; POP-006, POP-007, POP-011: good proofs in the wrong place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_of_something_else() {
    let house = House::open(Plan::default()).await;
    let (holder, other) = (Holder::new(Algorithm::ES256), Holder::new(Algorithm::ES256));
    let token = house.claiming(bound_to(&holder));
    let another = house.claiming(bound_to(&holder));
    let good = || proof(&house, &holder, &token, |_| ());
    let fields = || house.client.ask("GET", TARGET).token("DPoP", &token);
    let foreign = proof(&house, &other, &token, |_| ());
    let forged = good().chars().rev().collect::<String>();
    for (words, asked, reason) in [
        ("two proofs", fields().field("dpop", &good()).field("dpop", &good()), "dpop_proof_missing"),
        ("no proof", fields(), "dpop_proof_missing"),
        ("another key", fields().field("dpop", &foreign), "dpop_proof_key"),
        ("no JWT", fields().field("dpop", &forged), "dpop_proof_malformed"),
        ("the token itself", fields().field("dpop", &token), "dpop_proof_malformed"),
        (
            "a proof for another token",
            with_proof(&house, ("GET", TARGET), (&another, &good())),
            "dpop_proof_token",
        ),
        ("GET for HEAD", with_proof(&house, ("HEAD", TARGET), (&token, &good())), ""),
        ("GET for DELETE", with_proof(&house, ("DELETE", TARGET), (&token, &good())), "dpop_proof_method"),
    ] {
        let answer = house.kept_out(asked.with(words)).await;
        answer.is(401);
        told(&answer, "invalid_dpop_proof");
        if !reason.is_empty() {
            answer.refused(401, reason);
        }
    }
    house.close();
}

/// TOK-62, TOK-66; POP-001, JWT-078: the scheme must be the one that the token is for, also when it is introspected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemes_that_do_not_fit() {
    let issuer = "validation = \"introspection\"\nopaque = true\n\
                  client = { id = \"pforte\", auth = \"client_secret_basic\", secret_file = \"secret\" }";
    let opaque = Plan { issuer, secrets: &[("secret", "pforte-demo-secret")], ..Plan::default() };
    for plan in [Plan::default(), opaque] {
        let house = House::open(plan).await;
        let holder = Holder::new(Algorithm::ES256);
        let mint = |claims: Claims| {
            if plan.issuer.is_empty() {
                house.claiming(claims)
            } else {
                house.demo.authorization.mint_opaque(claims)
            }
        };
        let bound = mint(bound_to(&holder));
        let free = mint(Claims::new(SCOPE));
        let good = |token: &str| proof(&house, &holder, token, |_| ());
        with_proof(&house, ("GET", TARGET), (&bound, &good(&bound))).with("bound").send().await.is(200);
        house.client.ask("GET", TARGET).bearer(&free).with("free").send().await.is(200);
        for asked in [
            house.client.ask("GET", TARGET).bearer(&bound).with("bound as Bearer"),
            house.client.ask("GET", TARGET).bearer(&bound).field("dpop", &good(&bound)).with("with proof"),
        ] {
            let answer = house.kept_out(asked).await;
            answer.refused(401, "token_bound");
            let all = challenges(&answer);
            let fits = all.len() == 2
                && all[0].starts_with("Bearer ")
                && all[0].contains(r#"error="invalid_token""#)
                && all[1].starts_with("DPoP ")
                && !all[1].contains("error=");
            house.findings.check(fits, format!("downgrade: wrong challenges {all:?}"));
        }
        let asked = with_proof(&house, ("GET", TARGET), (&free, &good(&free))).with("free as DPoP");
        told(house.kept_out(asked).await.refused(401, "token_not_bound"), "invalid_token");
        for cnf in [json!({}), json!(null), json!({"jkt": "x"}), json!({"jwk": {}})] {
            let token = mint(Claims::new(SCOPE).with("cnf", cnf.clone()));
            // The demo leaves a member out that is null.
            if cnf.is_null() {
                continue;
            }
            let asked = with_proof(&house, ("GET", TARGET), (&token, &good(&token))).with(&cnf.to_string());
            told(house.kept_out(asked).await.refused(401, "token_confirmation_unusable"), "invalid_token");
        }
        let expired = mint(bound_to(&holder).with("exp", 1_700_000_000));
        let asked = with_proof(&house, ("GET", TARGET), (&expired, &good(&expired))).with("expired");
        told(house.kept_out(asked).await.is(401), "invalid_token");
        let narrow = mint(bound_to(&holder).with("scope", "system/Observation.rs"));
        let asked = with_proof(&house, ("GET", TARGET), (&narrow, &good(&narrow))).with("other scope");
        house.kept_out(asked).await.refused(403, "insufficient_scope").has("www-authenticate", "DPoP ");
        house.close();
    }
}

/// TOK-64; POP-002: a proof is good for one request; what never was a proof uses nothing up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays() {
    let house = House::open(Plan::default()).await;
    let (holder, other) = (Holder::new(Algorithm::ES256), Holder::new(Algorithm::ES256));
    let (token, second) = (house.claiming(bound_to(&holder)), house.claiming(bound_to(&holder)));
    let foreign = house.claiming(bound_to(&other));
    let same = |proof: &mut Proof| proof.claims["jti"] = json!("used-twice");
    let good = proof(&house, &holder, &token, same);
    let expired = house.claiming(bound_to(&holder).with("exp", 1_700_000_000));
    for (words, token, proof) in [
        ("not by the holder", &token, proof(&house, &other, &token, same)),
        ("with an expired token", &expired, proof(&house, &holder, &expired, same)),
    ] {
        let asked = with_proof(&house, ("GET", TARGET), (token, &proof)).with(words);
        house.kept_out(asked).await.is(401);
    }
    with_proof(&house, ("GET", TARGET), (&token, &good)).send().await.is(200);
    let signed_again = proof(&house, &holder, &token, same);
    let with_another_token = proof(&house, &holder, &second, same);
    for (words, token, proof) in [
        ("the same", &token, &good),
        ("the same again", &token, &good),
        ("the same id, signed again", &token, &signed_again),
        ("the same id, another token", &second, &with_another_token),
    ] {
        let asked = with_proof(&house, ("GET", TARGET), (token, proof)).with(words);
        told(house.kept_out(asked).await.refused(401, "dpop_proof_replayed"), "invalid_dpop_proof");
    }
    let elsewhere = format!("{}/Patient/pat-02", house.client.base());
    let elsewhere = holder.proof("GET", &elsewhere, Some(&token), same);
    with_proof(&house, ("GET", "Patient/pat-02"), (&token, &elsewhere))
        .with("elsewhere")
        .send()
        .await
        .is(200);
    let theirs = proof(&house, &other, &foreign, same);
    with_proof(&house, ("GET", TARGET), (&foreign, &theirs)).with("another key").send().await.is(200);
    // Many at once: one wins.
    let one = proof(&house, &holder, &token, |_| ());
    let mut flying = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let asked = with_proof(&house, ("GET", TARGET), (&token, &one)).with("all at once");
        flying.spawn(async move { asked.send().await.status });
    }
    let mut served = 0;
    while let Some(status) = flying.join_next().await {
        served += u32::from(status.expect("an answer") == 200);
    }
    house.findings.check(served == 1, format!("one proof served {served} requests of 20"));
    house.close();
}

/// TOK-65; POP-013; RFC 9449 §9: the dance, an aging nonce renewed on the way, and nonces that are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonces() {
    let house = House::open(NONCES).await;
    let holder = Holder::new(Algorithm::ES256);
    let token = house.claiming(bound_to(&holder));
    let send = |words: &'static str, nonce: Option<String>| {
        let made = proof(&house, &holder, &token, |proof| {
            if let Some(nonce) = nonce {
                proof.claims["nonce"] = json!(nonce);
            }
        });
        with_proof(&house, ("GET", TARGET), (&token, &made)).with(words)
    };
    let answer = house.kept_out(send("no nonce", None)).await;
    told(answer.refused(401, "dpop_nonce_needed"), "use_dpop_nonce");
    let nonce = answer.field("dpop-nonce").to_owned();
    house.findings.check(!nonce.is_empty(), "no nonce was offered");
    send("the offered one", Some(nonce.clone())).send().await.is(200).without("dpop-nonce");
    send("the offered one again", Some(nonce.clone())).send().await.is(200);

    let secret: Vec<u8> = (0..32).collect();
    let key = NonceKey::new(&secret.try_into().expect("32 bytes"));
    let ago = |seconds: i64| key.issue(now() - SignedDuration::from_secs(seconds));
    let renewed = send("aging", Some(ago(200))).send().await;
    renewed.is(200).has("dpop-nonce", "");
    send("the renewed one", Some(renewed.field("dpop-nonce").to_owned())).send().await.is(200);
    let foreign = NonceKey::new(&[9; 32]).issue(now());
    for (words, nonce) in [
        ("stale", ago(400)),
        ("of the future", ago(-400)),
        ("of another key", foreign),
        ("none", "x".to_owned()),
    ] {
        let answer = house.kept_out(send(words, Some(nonce))).await;
        told(answer.refused(401, "dpop_nonce_needed"), "use_dpop_nonce");
        answer.has("dpop-nonce", "");
    }
    // Who is no holder is told nothing about nonces.
    let other = Holder::new(Algorithm::ES256);
    let made = proof(&house, &other, &token, |_| ());
    let asked = with_proof(&house, ("GET", TARGET), (&token, &made)).with("another key");
    house.kept_out(asked).await.refused(401, "dpop_proof_key").without("dpop-nonce");
    house.close();
}

/// TOK-65, TOK-66, HTTP-20, DISC-20: what browsers and clients are told about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced() {
    let tables = "[cors]\norigins = [\"https://app.example\"]";
    let house = House::open(Plan { tables, ..Plan::default() }).await;
    let answer = house.client.ask("GET", TARGET).field("origin", "https://app.example").send().await;
    answer.refused(401, "no_credentials");
    let all = challenges(&answer);
    let fits = all.len() == 2
        && all[0].starts_with("Bearer ")
        && all[1].starts_with("DPoP ")
        && all[1].contains(r#"algs="ES256 ES384 EdDSA Ed25519 PS256"#)
        && !all.concat().contains("error=");
    house.findings.check(fits, format!("no token: wrong challenges {all:?}"));
    let exposed = answer.field("access-control-expose-headers");
    house.findings.check(
        exposed.contains("DPoP-Nonce") && exposed.contains("WWW-Authenticate"),
        format!("exposed: {exposed}"),
    );
    let preflight = house.client.ask("OPTIONS", TARGET).field("origin", "https://app.example");
    let preflight = preflight
        .field("access-control-request-method", "GET")
        .field("access-control-request-headers", "authorization,dpop")
        .send()
        .await;
    let allowed = preflight.is(204).field("access-control-allow-headers");
    house.findings.check(allowed.contains("DPoP"), format!("allowed: {allowed}"));
    let document = house.client.ask("GET", "/.well-known/oauth-protected-resource/fhir").send().await.json();
    house.findings.check(
        document["dpop_signing_alg_values_supported"][0] == "ES256"
            && document["tls_client_certificate_bound_access_tokens"] == false
            && document.get("dpop_bound_access_tokens_required").is_none(),
        format!("protected resource metadata: {document}"),
    );
    house.close();
}

/// `dpop.enabled = false`: nothing is accepted, nothing announced, and bound tokens are not served otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off() {
    let house = House::open(Plan { tables: "[dpop]\nenabled = false", ..Plan::default() }).await;
    let holder = Holder::new(Algorithm::ES256);
    let token = house.claiming(bound_to(&holder));
    let good = proof(&house, &holder, &token, |_| ());
    for (asked, reason) in [
        (with_proof(&house, ("GET", TARGET), (&token, &good)), "dpop_unsupported"),
        (house.client.ask("GET", TARGET).token("DPoP", &token), "dpop_unsupported"),
        (house.client.ask("GET", TARGET).bearer(&token), "token_bound"),
    ] {
        let answer = house.kept_out(asked).await;
        answer.refused(401, reason);
        let all = challenges(&answer);
        let fits = all.len() == 1 && all[0].starts_with("Bearer ");
        house.findings.check(fits, format!("{reason}: wrong challenges {all:?}"));
    }
    let document = house.client.ask("GET", "/.well-known/oauth-protected-resource/fhir").send().await.json();
    let told = document.get("dpop_signing_alg_values_supported").is_some();
    house.findings.check(!told, format!("protected resource metadata: {document}"));
    house.close();
}

#[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
fn now() -> Timestamp {
    Timestamp::now()
}
