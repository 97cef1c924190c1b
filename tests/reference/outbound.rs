//! Tokens that the gateway gets at Keycloak for the backend: in its own name (RFC 6749 §4.4), or in exchange for the
//! client's (RFC 8693). The backend is the demo server, which tells what it was sent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pforte::demo::fhir_server::{FhirServer, Options};
use serde_json::{Value, json};

use crate::house::{Change, House};

const TARGET: &str = "Patient/pat-01";

/// `client_credentials`: one token for everybody, another before it expires.
pub async fn own(house: &mut House<'_>) {
    let more = format!("{}, scope = \"system/*.cruds\"", secret(house));
    let backend = backend(house, "client_credentials", &more).await;
    let (token, other) = (house.stack.jwt("system/Patient.r").await, house.stack.jwt("system/*.rs").await);
    for token in [&token, &other, &token] {
        house.client.read(TARGET, token).await.is(200);
    }
    let sent = sent(&backend);
    let claims = sent.first().map(|token| claims(token)).unwrap_or_default();
    let fits =
        claims["aud"] == "fhir-backend" && claims["azp"] == "pforte" && claims["scope"] == "system/*.cruds";
    house.findings.check(fits, format!("the backend got a token with {claims}"));
    let different = sent.iter().collect::<BTreeSet<_>>().len();
    house.findings.check(
        different == 1 && sent.len() == 3,
        format!("three requests: {different} tokens of the gateway"),
    );
    house.findings.check(
        !sent.contains(&token) && !sent.contains(&other),
        "the backend got a token that a client had sent",
    );
    drop(backend);
    identified(house).await;
    renewed(house).await;
}

/// By whom the gateway is known there: a key, a certificate, and neither.
async fn identified(house: &mut House<'_>) {
    let setting = |name: &str| house.stack.setting(name).to_owned();
    let (client, key, kid) = (
        setting("INTROSPECTION_JWT_CLIENT"),
        setting("INTROSPECTION_JWT_KEY"),
        setting("INTROSPECTION_JWT_KID"),
    );
    let url = setting("KEYCLOAK_TOKEN_URL");
    let key = format!(
        ", token_url = \"{url}\", client_id = \"{client}\", auth = \"private_key_jwt\", key_file = \"{key}\", kid = \"{kid}\""
    );
    let (client, url, folder) =
        (setting("INTROSPECTION_TLS_CLIENT"), setting("KEYCLOAK_TLS_TOKEN_URL"), setting("TLS_FOLDER"));
    let certificate = |name: &str| {
        format!(
            ", token_url = \"{url}\", client_id = \"{client}\", auth = \"tls\", ca = \"{folder}/ca.pem\", \
             certificate = \"{folder}/{name}.pem\", key_file = \"{folder}/{name}.key\""
        )
    };
    let token = house.stack.jwt("system/Patient.r").await;
    let ways = [
        ("private_key_jwt", key, Some("pforte-jwt")),
        ("certificate", certificate("pforte"), Some("pforte-tls")),
        ("certificate of somebody else", certificate("other"), None),
    ];
    for (words, client, known) in ways {
        let backend = backend(house, "client_credentials", &client).await;
        let answer = house.client.ask("GET", TARGET).bearer(&token).with(words).send().await;
        let sent = sent(&backend);
        let Some(known) = known else {
            // The client's token is good; what is wrong is between the gateway and Keycloak.
            answer.one_of(&[502, 503]).without("www-authenticate");
            house.findings.check(sent.is_empty(), format!("{words}: {} requests at the backend", sent.len()));
            continue;
        };
        answer.is(200);
        let claims = sent.first().map(|token| claims(token)).unwrap_or_default();
        let fits = claims["azp"] == known && claims["aud"] == "fhir-backend";
        house.findings.check(fits, format!("{words}: the backend got a token with {claims}"));
    }
}

/// Before the gateway's own token expires there is the next one, and no request notices.
async fn renewed(house: &mut House<'_>) {
    const LIFE: u64 = 4;
    lifespan(house, &LIFE.to_string()).await;
    let client = secret(house);
    let backend = backend(house, "client_credentials", &client).await;
    let token = house.stack.jwt("system/Patient.r").await;
    let begun = Instant::now();
    // Two lives and a half of the token; nothing else tells when one is over.
    while begun.elapsed() < Duration::from_secs(LIFE * 5 / 2) {
        house.client.read(TARGET, &token).await.is(200);
        let expired = sent(&backend).last().map(|token| claims(token)["exp"].as_f64().unwrap_or_default());
        house
            .findings
            .check(expired > Some(now()), format!("the backend got a token that expired at {expired:?}"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tokens = sent(&backend).into_iter().collect::<BTreeSet<_>>().len();
    house.findings.check(
        (2..=8).contains(&tokens),
        format!("tokens of {LIFE} s for ten seconds: the backend saw {tokens} of them"),
    );
    lifespan(house, "").await;
}

/// `token_exchange`: a token for each client's, on behalf of whom it was for.
pub async fn exchanged(house: &mut House<'_>) {
    let more = format!("{}, audience = \"fhir-backend\"", secret(house));
    let backend = backend(house, "token_exchange", &more).await;
    let stack = house.stack;
    let tokens = [
        stack.jwt("system/Patient.r").await,
        stack.signed("system/Patient.r"),
        stack.login(&["--user", "practitioner", "--scope", "openid fhirUser user/Patient.rs"]),
    ];
    for token in &tokens {
        for _ in 0..2 {
            house.client.read(TARGET, token).await.is(200);
        }
        let sent = sent(&backend);
        backend.forget();
        let (theirs, ours) = (claims(token), sent.first().map(|token| claims(token)).unwrap_or_default());
        let fits = ours["sub"] == theirs["sub"] && ours["azp"] == "pforte" && ours["aud"] == "fhir-backend";
        house.findings.check(fits, format!("for a token with {theirs} the backend got one with {ours}"));
        house.findings.check(!sent.contains(token), "the backend got the client's own token");
        let different = sent.iter().collect::<BTreeSet<_>>().len();
        house
            .findings
            .check(different == 1 && sent.len() == 2, format!("one token was exchanged for {different}"));
    }
    // Only what Keycloak issued can be exchanged there.
    let opaque = stack.opaque("system/Patient.r").await;
    let answer = house.client.ask("GET", TARGET).bearer(&opaque).with("of another issuer").send().await;
    house.findings.check(
        answer.status >= 400 && sent(&backend).is_empty(),
        format!(
            "a token that cannot be exchanged: {} and {} requests at the backend",
            answer.status,
            sent(&backend).len()
        ),
    );
}

/// The gateway's usual client at Keycloak.
fn secret(house: &House<'_>) -> String {
    format!(
        ", token_url = \"{}\", client_id = \"{}\", client_secret_file = \"secret\"",
        house.stack.setting("KEYCLOAK_TOKEN_URL"),
        house.stack.setting("INTROSPECTION_CLIENT"),
    )
}

/// Runs the gateway in front of a demo server, with credentials of this kind, and these members beside it.
async fn backend(house: &mut House<'_>, kind: &str, more: &str) -> FhirServer {
    let backend = FhirServer::start(Options::default()).await.expect("a demo server");
    let settings = format!("url = \"{}\"\ncredentials = {{ kind = \"{kind}\"{more} }}", backend.base());
    house.change(Change { backend: Some(&settings), ..Change::NONE });
    backend.forget();
    backend
}

/// The bearer tokens of the requests for the record, in order; empty for a request without one.
fn sent(backend: &FhirServer) -> Vec<String> {
    let asked = backend.log().into_iter().filter(|received| received.path().ends_with(TARGET));
    let token =
        |field: Option<&str>| field.and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    asked.map(|received| token(received.header("authorization"))).collect()
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// How long tokens of the gateway's client live.
async fn lifespan(house: &House<'_>, seconds: &str) {
    let found = house.stack.keycloak("GET", "clients?clientId=pforte", None).await;
    let mut client = found[0].clone();
    let place = format!("clients/{}", client["id"].as_str().expect("an id"));
    client["attributes"]["access.token.lifespan"] = json!(seconds);
    house.stack.keycloak("PUT", &place, Some(&client)).await;
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the backend has a clock of its own")]
fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock that is set").as_secs_f64()
}
