//! Introspection (RFC 7662) and revocation (RFC 7009).

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::people::authenticated;
use super::{Shared, json_answer, refusal};
use crate::demo::chance;
use crate::demo::serving::{Body, Received, full, pairs, with_headers};

/// Tells a confidential client what a token means.
pub(super) fn introspect(shared: &Shared, received: &Received) -> Response<Body> {
    let form = pairs(&received.body);
    let client = authenticated(&shared.clients, received, &form).filter(|client| client.secret.is_some());
    if client.is_none() {
        return stranger();
    }
    let Some((_, token)) = form.iter().find(|(name, _)| name == "token") else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_request", "token is missing");
    };
    let memory = shared.memory();
    let issued = memory.tokens.get(token).filter(|issued| !issued.revoked);
    let now = chance::now().as_second();
    let live =
        issued.filter(|issued| issued.claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp > now));
    let Some(issued) = live else {
        return json_answer(StatusCode::OK, &json!({"active": false}));
    };
    let mut body = issued.claims.clone();
    body.insert("active".to_owned(), true.into());
    body.insert("token_type".to_owned(), "Bearer".into());
    json_answer(StatusCode::OK, &Value::Object(body))
}

/// Revokes an access or refresh token of the client that asks; unknown ones are no error (RFC 7009 §2.2).
pub(super) fn revoke(shared: &Shared, received: &Received) -> Response<Body> {
    let form = pairs(&received.body);
    let Some(client) = authenticated(&shared.clients, received, &form) else { return stranger() };
    let Some((_, token)) = form.iter().find(|(name, _)| name == "token") else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_request", "token is missing");
    };
    let mut memory = shared.memory();
    let own = |issued: &&mut super::Issued| {
        issued.claims.get("client_id").and_then(Value::as_str) == Some(client.id.as_str())
    };
    if let Some(issued) = memory.tokens.get_mut(token).filter(own) {
        issued.revoked = true;
    }
    if let Some(refresh) = memory.refresh.get_mut(token).filter(|refresh| refresh.flow.client == client.id) {
        refresh.revoked = true;
    }
    with_headers(Response::new(full("")), [("access-control-allow-origin", "*")])
}

fn stranger() -> Response<Body> {
    let response =
        refusal(StatusCode::UNAUTHORIZED, "invalid_client", "the client is unknown or its secret is wrong");
    with_headers(response, [("www-authenticate", "Basic realm=\"pforte demo\"")])
}
