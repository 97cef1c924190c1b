//! The token endpoint: authorization_code, client_credentials, refresh_token.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::authorize::Flow;
use super::people::{Client, TokenForm, authenticated};
use super::{Claims, Issued, Memory, Shared, json_answer, refusal};
use crate::demo::chance;
use crate::demo::serving::{Body, Received, pairs, with_headers};

/// A refresh token: good once, then replaced.
#[derive(Clone, Debug)]
pub(super) struct Refresh {
    pub(super) flow: Flow,
    pub(super) revoked: bool,
}

type Refusal = (StatusCode, &'static str, &'static str);

const fn bad(error: &'static str, text: &'static str) -> Refusal {
    (StatusCode::BAD_REQUEST, error, text)
}

pub(super) fn answer(shared: &Shared, received: &Received) -> Response<Body> {
    if !received
        .header("content-type")
        .is_some_and(|media| media.starts_with("application/x-www-form-urlencoded"))
    {
        return refusal(StatusCode::BAD_REQUEST, "invalid_request", "the body must be a form");
    }
    let form = pairs(&received.body);
    let Some(client) = authenticated(&shared.clients, received, &form) else {
        let response = refusal(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "the client is unknown or its secret is wrong",
        );
        return with_headers(response, [("www-authenticate", "Basic realm=\"pforte demo\"")]);
    };
    let value = |name: &str| {
        form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let done = match value("grant_type") {
        "authorization_code" => {
            exchange(shared, client, (value("code"), value("redirect_uri"), value("code_verifier")))
        }
        "client_credentials" => credentials(shared, client, value("scope")),
        "refresh_token" => refresh(shared, client, value("refresh_token"), value("scope")),
        _ => Err(bad("unsupported_grant_type", "this grant_type is not supported")),
    };
    match done {
        Ok(body) => json_answer(StatusCode::OK, &Value::Object(body)),
        Err((status, error, text)) => refusal(status, error, text),
    }
}

/// RFC 7636 §4.6.
fn proves(verifier: &str, challenge: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(allowed)
        && URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes())) == challenge
}

fn exchange(
    shared: &Shared,
    client: &Client,
    (code, redirect_uri, verifier): (&str, &str, &str),
) -> Result<Map<String, Value>, Refusal> {
    let wrong = bad("invalid_grant", "the code is unknown, used, expired, or for somebody else");
    let mut memory = shared.memory();
    let known = memory.codes.get_mut(code).ok_or(wrong)?;
    if known.used {
        let tokens = std::mem::take(&mut known.tokens);
        forget(&mut memory, &tokens);
        return Err(wrong);
    }
    // Spent at the first try, whatever comes of it: a wrong verifier gets no second guess.
    known.used = true;
    let flow = known.flow.clone();
    if known.expires < chance::now().as_second()
        || flow.client != client.id
        || flow.redirect_uri != redirect_uri
    {
        return Err(wrong);
    }
    if !proves(verifier, &flow.challenge) {
        return Err(bad("invalid_grant", "the code_verifier does not fit"));
    }
    let body = issue(shared, &mut memory, client, &flow);
    let given = ["access_token", "refresh_token"]
        .iter()
        .filter_map(|name| body.get(*name)?.as_str().map(str::to_owned));
    if let Some(known) = memory.codes.get_mut(code) {
        known.tokens.extend(given);
    }
    Ok(body)
}

fn forget(memory: &mut Memory, tokens: &[String]) {
    for token in tokens {
        if let Some(issued) = memory.tokens.get_mut(token) {
            issued.revoked = true;
        }
        if let Some(refresh) = memory.refresh.get_mut(token) {
            refresh.revoked = true;
        }
    }
}

fn credentials(shared: &Shared, client: &Client, scope: &str) -> Result<Map<String, Value>, Refusal> {
    if client.secret.is_none() {
        return Err(bad("unauthorized_client", "a public client has no credentials"));
    }
    let granted: Vec<&str> = scope.split_whitespace().filter(|scope| scope.starts_with("system/")).collect();
    if granted.is_empty() {
        return Err(bad("invalid_scope", "ask for a scope that begins with system/"));
    }
    let scope = granted.join(" ");
    let claims = Claims::new(&scope).with("client_id", client.id.as_str()).with("sub", client.id.as_str());
    let mut memory = shared.memory();
    let token = give(shared, &mut memory, client, claims);
    Ok(bearer(shared, &token, &scope))
}

fn refresh(
    shared: &Shared,
    client: &Client,
    token: &str,
    scope: &str,
) -> Result<Map<String, Value>, Refusal> {
    let wrong = bad("invalid_grant", "the refresh token is unknown, used, or for somebody else");
    let mut memory = shared.memory();
    let known = memory
        .refresh
        .get_mut(token)
        .filter(|known| !known.revoked && known.flow.client == client.id)
        .ok_or(wrong)?;
    let asked: Vec<String> = scope.split_whitespace().map(str::to_owned).collect();
    if asked.iter().any(|scope| !known.flow.asks(scope)) {
        return Err(bad("invalid_scope", "a refresh cannot add scopes"));
    }
    known.revoked = true;
    let mut flow = known.flow.clone();
    if !asked.is_empty() {
        flow.scope = asked;
    }
    Ok(issue(shared, &mut memory, client, &flow))
}

/// Access token, refresh token, ID token and launch context for a login.
fn issue(shared: &Shared, memory: &mut Memory, client: &Client, flow: &Flow) -> Map<String, Value> {
    let scope = flow.scope.join(" ");
    let person = flow.person.as_ref();
    let user = person.map(|person| format!("{}/{}", memory.audience.trim_end_matches('/'), person.resource));
    let subject = person.map(|person| person.name.clone()).unwrap_or_default();
    let mut claims = Claims::new(&scope).with("client_id", client.id.as_str()).with("sub", subject.as_str());
    let mut context = Map::new();
    if let Some(launch) = &flow.launch {
        context.insert("patient".to_owned(), json!(launch.patient));
        let encounter =
            launch.encounter.as_ref().filter(|_| flow.asks("launch/encounter") || flow.asks("launch"));
        if let Some(encounter) = encounter {
            context.insert("encounter".to_owned(), json!(encounter));
        }
    }
    for (name, value) in &context {
        claims = claims.with(name, value.clone());
    }
    if let Some(user) = &user {
        claims = claims.with("fhirUser", user.as_str());
    }
    let token = give(shared, memory, client, claims);
    let mut body = bearer(shared, &token, &scope);
    body.extend(context);
    if flow.asks("openid") {
        let claims = Claims::default()
            .with("aud", client.id.as_str())
            .with("sub", subject.as_str())
            .with("nonce", flow.nonce.clone())
            .with("fhirUser", user.filter(|_| flow.asks("fhirUser") || flow.asks("profile")))
            .without("client_id");
        let claims = shared.complete(memory, claims);
        body.insert("id_token".to_owned(), memory.keys.sign(&json!({"typ": "JWT"}), &claims).into());
    }
    if flow.asks("offline_access") || flow.asks("online_access") {
        let token = chance::secret();
        memory.refresh.insert(token.clone(), Refresh { flow: flow.clone(), revoked: false });
        body.insert("refresh_token".to_owned(), token.into());
    }
    body
}

fn give(shared: &Shared, memory: &mut Memory, client: &Client, claims: Claims) -> String {
    let claims = shared.complete(memory, claims);
    let token = match client.form {
        TokenForm::Jwt => memory.keys.sign(&json!({}), &claims),
        TokenForm::Opaque => chance::secret(),
    };
    memory.tokens.insert(token.clone(), Issued { claims, revoked: false });
    token
}

fn bearer(shared: &Shared, token: &str, scope: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("access_token".to_owned(), token.into());
    body.insert("token_type".to_owned(), "Bearer".into());
    body.insert("expires_in".to_owned(), shared.lifetime.as_secs().into());
    body.insert("scope".to_owned(), scope.into());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_verifier_must_hash_to_the_challenge() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(proves("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge));
        assert!(!proves("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", challenge));
        assert!(!proves("short", challenge));
        assert!(!proves(challenge, challenge), "plain is no method here");
    }
}
