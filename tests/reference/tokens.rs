//! Which tokens open the gateway (contract §4).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::house::House;

/// Tokens of every way to get one.
pub async fn accepted(house: &mut House<'_>) {
    let (stack, client) = (house.stack, house.client.clone());
    let scope = "system/Patient.r";
    let user = "openid fhirUser user/Patient.rs";
    let app = ["--server", "oidc", "--client", "opaque-app", "--user", "practitioner", "--scope"];
    let tokens = [
        ("client secret", stack.jwt(scope).await),
        ("private_key_jwt", stack.signed(scope)),
        ("opaque", stack.opaque(scope).await),
        ("code and PKCE", stack.login(&["--user", "practitioner", "--scope", user])),
        ("code and PKCE, opaque", stack.login(&[&app[..], &["fhirUser user/Patient.rs"]].concat())),
    ];
    for (words, token) in &tokens {
        let ask = |target: &str| client.ask("GET", target).bearer(token).with(words);
        ask("Patient/pat-in").send().await.is(200).holds("Inwood");
        ask("Patient/pat-out").send().await.is(200).holds("Outhwaite");
        for target in ["Observation/obs-lab-enc-1", "Observation"] {
            let answer = ask(target).send().await;
            answer.refused(403, "insufficient_scope").has("www-authenticate", "Bearer ");
        }
    }
    constrained(house).await;
}

/// Grants in part, of every kind of token: patient/, a patient who is the user, parameters.
async fn constrained(house: &House<'_>) {
    let (stack, client) = (house.stack, house.client.clone());
    let patient = stack.login(&["--user", "patient-in", "--scope", "openid launch/patient patient/*.rs"]);
    let own = stack.login(&["--user", "patient-in", "--scope", "openid fhirUser user/*.rs"]);
    let vital = "system/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs";
    let granular = stack.jwt_of("system-client", vital).await;
    let granular = match granular {
        Some(token) => token,
        None => stack.opaque(vital).await,
    };
    let opaque = house.logins.opaque("patient-in", "launch/patient patient/*.rs");
    let cases = [
        (&patient, "patient/", "obs-lab-enc-3"),
        (&opaque, "patient/, opaque", "obs-lab-enc-3"),
        (&own, "user/ of a patient", "obs-lab-enc-3"),
        (&granular, "granular", "obs-lab-enc-1"),
    ];
    for (token, words, outside) in cases {
        let ask = |target: &str| client.ask("GET", target).bearer(token).with(words);
        ask("Observation/obs-vital-enc-1").send().await.is(200).holds("8867-4");
        ask(&format!("Observation/{outside}")).send().await.refused(404, "not_found");
        let found = ask("Observation?_count=100").send().await;
        found.is(200).only(&["Observation"]).holds("obs-vital-enc-1").lacks(outside);
    }
    let nobody = stack.login(&["--user", "nobody", "--scope", "openid launch/patient patient/*.rs"]);
    client
        .ask("GET", "Patient/pat-in")
        .bearer(&nobody)
        .with("no launch patient")
        .send()
        .await
        .refused(403, "no_launch_patient");
    // A wider alternative beside the constrained one is enough (contract §5: grants are alternatives).
    let both = stack.opaque(&format!("{vital} system/Observation.r")).await;
    client
        .ask("GET", "Observation/obs-lab-enc-1")
        .bearer(&both)
        .with("granular and plain")
        .send()
        .await
        .is(200);
}

/// Tokens that are none, or no longer.
pub async fn refused(house: &mut House<'_>) {
    let (stack, client) = (house.stack, house.client.clone());
    let answer = client.ask("GET", "Patient/pat-in").send().await;
    answer.refused(401, "no_credentials").has("www-authenticate", "Bearer ");
    if answer.field("www-authenticate").contains("error=") {
        answer.wrong("a challenge without an error, because no token was sent (RFC 6750 §3.1)");
    }
    let asked = client.ask("GET", "Patient/pat-in").field("accept", "application/fhir+xml").with("XML");
    asked.send().await.refused(401, "no_credentials").has("content-type", "application/fhir+xml");

    let good = stack.jwt("system/Patient.r").await;
    let elsewhere = stack.jwt_of("other-audience", "system/Patient.r").await.expect("a token for elsewhere");
    let answer =
        client.ask("GET", "Patient/pat-in").bearer(&elsewhere).with("for another audience").send().await;
    answer.refused(401, "token_audience_mismatch").has("www-authenticate", "Bearer ");
    let id_token = stack.form(stack.setting("OIDC_TOKEN_URL"), "opaque-client", &[]).await;
    house.findings.check(id_token.0 == 400, "an empty form to the token endpoint: expected 400");

    let forged = [
        (
            "more scope",
            forge(&good, |claims| claims["scope"] = json!("system/*.cruds")),
            "token_signature_invalid",
        ),
        (
            "later expiry",
            forge(&good, |claims| claims["exp"] = json!(4_000_000_000_u64)),
            "token_signature_invalid",
        ),
        ("no signature", format!("{}.", good.rsplit_once('.').expect("a JWT").0), ""),
        ("alg none", unsigned(&good), ""),
        ("cut", good.get(..good.len() - 8).expect("ASCII").to_owned(), ""),
        ("opaque and unknown", "V2h5IGRpZCB5b3UgZGVjb2RlIHRoaXM".to_owned(), "token_inactive"),
    ];
    for (words, token, reason) in &forged {
        let answer = client.ask("GET", "Patient/pat-in").bearer(token).with(words).send().await;
        answer.is(401).has("www-authenticate", "Bearer ").holds("OperationOutcome");
        if !reason.is_empty() {
            answer.refused(401, reason);
        }
    }
    let query = format!("Patient/pat-in?access_token={good}");
    client.ask("GET", &query).with("token in the query").send().await.one_of(&[400, 401]);
    let twice =
        client.ask("GET", "Patient/pat-in").bearer(&good).field("authorization", &format!("Bearer {good}"));
    twice.with("two Authorization fields").send().await.one_of(&[400, 401]);
    client.ask("GET", "Patient/pat-in").bearer(&good).with("the good one").send().await.is(200);
    revoked(house).await;
}

/// TOK-44 with cap 0: a revoked token is refused at the next request.
async fn revoked(house: &House<'_>) {
    let token = house.stack.opaque("system/Patient.r").await;
    house.client.read("Patient/pat-in", &token).await.is(200);
    let url = house.stack.setting("OIDC_REVOCATION_URL");
    let (status, body) = house.stack.form(url, "opaque-client", &[("token", &token)]).await;
    house.findings.check(status == 200, format!("revocation: expected 200, got {status} {body}"));
    let answer = house.client.ask("GET", "Patient/pat-in").bearer(&token).with("revoked").send().await;
    answer.refused(401, "token_inactive").has("www-authenticate", "Bearer ");
}

/// A token that works until it expires, the cache of verified tokens notwithstanding (TOK-20).
pub async fn expiry(house: &mut House<'_>) {
    const LIFE: u64 = 4;
    let found = house.stack.keycloak("GET", "clients?clientId=system-client", None).await;
    let client = found[0].clone();
    let place = format!("clients/{}", client["id"].as_str().expect("an id"));
    let mut brief = client.clone();
    brief["attributes"]["access.token.lifespan"] = json!(LIFE.to_string());
    house.stack.keycloak("PUT", &place, Some(&brief)).await;
    let token = house.stack.jwt("system/Patient.r").await;
    let begun = Instant::now();
    brief["attributes"]["access.token.lifespan"] = json!("");
    house.stack.keycloak("PUT", &place, Some(&brief)).await;
    house.client.ask("GET", "Patient/pat-in").bearer(&token).with("lives 4 s").send().await.is(200);
    // The end of its life is what is waited for; nothing else tells when it has come.
    let limit = Duration::from_secs(LIFE + 15);
    loop {
        let answer = house.client.ask("GET", "Patient/pat-in").bearer(&token).with("lives 4 s").send().await;
        if answer.status != 200 || begun.elapsed() > limit {
            answer.refused(401, "token_expired").has("www-authenticate", "Bearer ");
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let lived = begun.elapsed();
    house
        .findings
        .check(lived >= Duration::from_secs(LIFE - 1), format!("a token of {LIFE} s lived {lived:?} only"));
}

/// The same signature over other claims.
fn forge(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
    let mut claims: Value = serde_json::from_slice(&claims).expect("claims");
    change(&mut claims);
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

/// The same claims under `alg: none`.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("a JWT");
    format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#))
}
