//! The room's promises, kept against an authorization server in this process.

mod asked;
mod clients;
mod double;
mod outages;
mod renewal;
mod rotation;
mod signatures;
mod signed;
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey};
use serde_json::{Value, json};

use super::Issuers;
use crate::config::{
    AuthorizationDetails, AuthorizationServer, IntrospectionResponse, IssuerClient, IssuerClientAuth, Secret,
    TokenType, Validation,
};
use crate::token::{AccessToken, Caller, ClaimNames, Grant, Possession, Presented, Reading, TokenError};
use double::Double;

/// The instant of every request in these tests.
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A clock that stands still until it is put forward.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn forward(&self, seconds: u64) {
        self.forward_millis(seconds * 1000);
    }

    fn forward_millis(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    fn clock(&self) -> crate::oauth::Clock {
        let (start, hand) = (Instant::now(), self.clone());
        Arc::new(move || start + Duration::from_millis(hand.0.load(Ordering::SeqCst)))
    }
}

/// A signing key with the JWK that is published for it.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: &'static str,
    public: Value,
    /// The private key, PEM.
    pem: String,
}

impl Signer {
    fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        let kind = match algorithm.family() {
            AlgorithmFamily::Ec if algorithm == Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            AlgorithmFamily::Ec => &rcgen::PKCS_ECDSA_P256_SHA256,
            AlgorithmFamily::Ed => &rcgen::PKCS_ED25519,
            AlgorithmFamily::Hmac | AlgorithmFamily::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        let generated = rcgen::KeyPair::generate_for(kind).unwrap();
        let text = generated.serialize_pem();
        let pem = text.as_bytes();
        if algorithm == Algorithm::EdDSA {
            let x = URL_SAFE_NO_PAD.encode(generated.public_key_raw());
            let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            let key = EncodingKey::from_ed_pem(pem).unwrap();
            return Self { key, algorithm, kid, public, pem: text };
        }
        let key = EncodingKey::from_ec_pem(pem).or_else(|_| EncodingKey::from_rsa_pem(pem)).unwrap();
        let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm).unwrap();
        Self { key, algorithm, kid, public: serde_json::to_value(public).unwrap(), pem: text }
    }

    /// Knows a secret only.
    fn hmac(algorithm: Algorithm, secret: &[u8], kid: &'static str) -> Self {
        Self {
            key: EncodingKey::from_secret(secret),
            algorithm,
            kid,
            public: Value::Null,
            pem: String::new(),
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Signs any header and payload.
    fn sign(&self, header: &Value, payload: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(payload));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A good access token of this issuer.
    fn token(&self, issuer: &str) -> String {
        self.sign(&self.header(), &payload(issuer))
    }

    fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.kid, "typ": "at+jwt"})
    }
}

fn payload(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "user-1", "aud": "https://gw.test/fhir", "client_id": "app", "jti": "t-1",
        "exp": NOW + 3000, "iat": NOW - 5, "scope": "patient/*.rs", "patient": "p1"
    })
}

fn key_set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// How the double is configured; its metadata gives the addresses.
fn configured(double: &Double, validation: Validation) -> AuthorizationServer {
    AuthorizationServer {
        issuer: double.issuer(),
        audience: vec!["https://gw.test/fhir".to_owned()],
        validation,
        metadata_url: None,
        jwks_url: None,
        algorithms: vec![
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::RS256,
            Algorithm::PS256,
            Algorithm::EdDSA,
        ],
        token_type: TokenType::AccessToken,
        introspection_url: None,
        client: Some(IssuerClient {
            id: "pforte".to_owned(),
            auth: IssuerClientAuth::SecretBasic(Secret::new("s3cret".to_owned())),
        }),
        introspection_cache: Duration::ZERO,
        timeout: Duration::from_secs(20),
        clock_skew: Duration::from_secs(30),
        opaque: validation == Validation::Introspection,
        max_lifetime: None,
        introspection_response: IntrospectionResponse::Json,
        authorization_details: AuthorizationDetails::Ignore,
        refresh: Duration::from_secs(300),
        ca: None,
        claims: ClaimNames::default(),
    }
}

fn issuers(servers: &[AuthorizationServer], hand: &Hand) -> Issuers {
    Issuers::set_up(servers, &Reading::sample(), hand.clock(), None).unwrap()
}

async fn admitted(issuers: &Issuers, token: &str) -> Result<Grant, TokenError> {
    let presented = Presented::Bearer(AccessToken::new(token)?);
    let claims = issuers.verify(&presented, now()).await?;
    Ok(Caller::admit(claims, &Possession::default(), now())?.grant().unwrap().clone())
}

/// `ok`, or the reason id.
async fn outcome(issuers: &Issuers, token: &str) -> &'static str {
    match admitted(issuers, token).await {
        Ok(_) => "ok",
        Err(refusal) => refusal.reason_id(),
    }
}
