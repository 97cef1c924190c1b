//! Signed introspection answers (RFC 9701, TOK-48).
//!
//! Held to the same as tokens, algorithm and keys included; and made by this issuer, for us, a moment ago. What is not is
//! no answer, so that nothing is learned of the token.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::error::IssuerError;
use super::server::Server;
use crate::token::{Jws, TokenError};

/// How old an answer may be beyond what clocks differ: nobody needs yesterday's.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// Reads an answer to a question that a request of `now` led to.
pub(super) async fn read(
    body: &[u8],
    server: &Arc<Server>,
    now: Timestamp,
) -> Result<Map<String, Value>, IssuerError> {
    let refused =
        |cause: String| IssuerError::AnswerRefused { issuer: server.settings.issuer.clone(), cause };
    let refusal = |error: TokenError| refused(error.detail());
    let text = std::str::from_utf8(body).map_err(|_| refused("it is no text".to_owned()))?;
    let jws = Jws::introspection_answer(text).map_err(refusal)?;
    server.verify(&jws).await.map_err(refusal)?;
    let mut claims = jws.into_claims();
    check(&claims, server, now).map_err(|claim| refused(format!("its `{claim}` is not acceptable")))?;
    match claims.remove("token_introspection") {
        Some(Value::Object(answer)) => Ok(answer),
        Some(_) | None => Err(refused("it holds no `token_introspection`".to_owned())),
    }
}

/// RFC 9701 §5: who made it, for whom, and when; gives the claim that does not fit.
fn check(claims: &Map<String, Value>, server: &Server, now: Timestamp) -> Result<(), &'static str> {
    let settings = &server.settings;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let own = settings.client.as_ref().map(|client| client.id.as_str());
    let ours = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str().is_some() && one.as_str() == own),
        Some(Value::String(one)) => Some(one.as_str()) == own,
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    // The request came before the answer was made, by no more than a call may take.
    let early = settings.clock_skew.saturating_add(FRESH_FOR);
    let late = settings.clock_skew.saturating_add(settings.timeout);
    let span = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO);
    let made = claims.get("iat").and_then(Value::as_f64);
    let made = made.and_then(|made| SignedDuration::try_from_secs_f64(made).ok());
    let age = made.map(|made| now.as_duration().saturating_sub(made));
    let fresh = age.is_some_and(|age| age <= span(early) && age >= -span(late));
    let checks = [("iss", text("iss") == Some(&settings.issuer)), ("aud", ours), ("iat", fresh)];
    checks.into_iter().find(|(_, fine)| !fine).map_or(Ok(()), |(claim, _)| Err(claim))
}
