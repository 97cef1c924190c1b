//! The endpoints by name, and the ways each can misbehave.

use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::trouble::Canned;

/// The endpoints that count their calls and can misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/app`
    App,
    /// `/authorize` and its forms.
    Authorization,
    /// `/introspect`
    Introspection,
    /// `/jwks`
    Jwks,
    /// `/.well-known/oauth-authorization-server`
    OAuthMetadata,
    /// `/.well-known/openid-configuration`
    OpenIdMetadata,
    /// `/revoke`
    Revocation,
    /// `/token`
    Token,
}

/// How an endpoint misbehaves.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// Answers this instead.
    Answer(Canned),
    /// Closes the connection without an answer.
    Close,
    /// Waits, then answers properly.
    Delay(Duration),
    /// Answers properly, but not before `AuthorizationServer::behave` is called.
    Hold,
}

impl Misbehaviour {
    /// Answers 500.
    pub fn down() -> Self {
        Self::Answer(Canned::new(500, "out of order"))
    }

    /// Answers text that is no JSON, as JSON.
    pub fn garbage() -> Self {
        Self::Answer(Canned::new(200, "{\"keys\":[{\"kty\":").header("content-type", "application/json"))
    }

    /// Answers JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Answer(Canned::new(status, body.to_string()).header("content-type", "application/json"))
    }

    /// Answers a well-formed key set with so many made-up keys.
    pub fn huge_jwks(keys: usize) -> Self {
        let coordinate = "A".repeat(43);
        let key = |number| json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": format!("made-up-{number}"), "x": coordinate, "y": coordinate});
        Self::json(200, &json!({"keys": (0..keys).map(key).collect::<Vec<_>>()}))
    }
}

pub(super) fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::App => "/app",
        Endpoint::Authorization => "/authorize",
        Endpoint::Introspection => "/introspect",
        Endpoint::Jwks => "/jwks",
        Endpoint::OAuthMetadata => "/.well-known/oauth-authorization-server",
        Endpoint::OpenIdMetadata => "/.well-known/openid-configuration",
        Endpoint::Revocation => "/revoke",
        Endpoint::Token => "/token",
    }
}
