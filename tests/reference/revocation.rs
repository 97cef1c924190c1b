//! Tokens that their server takes back (TOK-31, TOK-44): refused at the next request where the gateway asks every time.

use serde_json::Value;

use crate::house::{Change, House};
use crate::stack::Stack;

/// With introspection alone, and beside the signature.
pub async fn all(house: &mut House<'_>) {
    let client = format!(
        "client = {{ id = \"{}\", auth = \"client_secret_basic\", secret_file = \"secret\" }}",
        house.stack.setting("INTROSPECTION_CLIENT")
    );
    for (validation, cache, next) in
        [("introspection", "0s", 401), ("both", "0s", 401), ("introspection", "1m", 200), ("both", "1m", 200)]
    {
        let keycloak = format!("validation = \"{validation}\"\nintrospection_cache = \"{cache}\"\n{client}");
        house.change(Change { keycloak: Some(&keycloak), ..Change::NONE });
        let words = format!("{validation}, cache {cache}");
        revoked(house, &words, next).await;
        logged_out(house, &words, next).await;
    }
}

/// Its client revokes it (RFC 7009).
async fn revoked(house: &House<'_>, words: &str, next: u16) {
    let token = house.stack.jwt("system/Patient.r").await;
    let neighbour = house.stack.jwt("system/Patient.r").await;
    read(house, &token, words, 200).await;
    read(house, &neighbour, words, 200).await;
    let url = house.stack.setting("KEYCLOAK_REVOCATION_URL");
    let (status, body) = house.stack.form(url, "system-client", &[("token", &token)]).await;
    house.findings.check(status == 200, format!("revocation: expected 200, got {status} {body}"));
    read(house, &token, &format!("{words}, revoked"), next).await;
    read(house, &neighbour, &format!("{words}, the other one is revoked"), 200).await;
}

/// Its user's session ends.
async fn logged_out(house: &House<'_>, words: &str, next: u16) {
    let session = session(house.stack).await;
    let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
    read(house, &text("access_token"), words, 200).await;
    let url = format!("{}/protocol/openid-connect/logout", house.stack.setting("KEYCLOAK_ISSUER"));
    let client = house.stack.setting("CONFIDENTIAL_APP_CLIENT");
    let (status, body) = house
        .stack
        .form(&url, client, &[("client_id", client), ("refresh_token", &text("refresh_token"))])
        .await;
    house.findings.check(status == 204, format!("logout: expected 204, got {status} {body}"));
    read(house, &text("access_token"), &format!("{words}, logged out"), next).await;
}

async fn read(house: &House<'_>, token: &str, words: &str, status: u16) {
    let answer = house.client.ask("GET", "Patient/pat-in").bearer(token).with(words).send().await;
    if status == 401 {
        answer.refused(401, "token_inactive").has("www-authenticate", "Bearer ");
    } else {
        answer.is(status);
    }
}

/// Token and refresh token of a patient.
async fn session(stack: &Stack) -> Value {
    let fields = [
        ("grant_type", "password"),
        ("username", stack.setting("USER_PATIENT_IN")),
        ("password", stack.setting("USER_PASSWORD")),
        ("scope", "launch/patient patient/*.rs"),
    ];
    let client = stack.setting("CONFIDENTIAL_APP_CLIENT");
    let (status, answer) = stack.form(stack.setting("KEYCLOAK_TOKEN_URL"), client, &fields).await;
    assert_eq!(status, 200, "a token by password: {answer}");
    answer
}
