//! An authorization server in this process: publishes keys, answers about opaque tokens after a while, and counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use pforte::config::{
    AuthorizationServer, IssuerClient, IssuerClientAuth, Secret, Settings, Source, Surroundings, Validation,
};
use pforte::issuer::Issuers;
use pforte::token::Reading;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The public base of the gateway.
pub const BASE: &str = "https://gw.test/fhir";

/// How long an answer about a token takes, beside what loopback takes.
pub const ANSWERS_AFTER: Duration = Duration::from_millis(5);

/// A key of the server.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    public: Value,
}

impl Signer {
    /// A new key for ES256, or of 2048 bits for RS256.
    pub fn new(algorithm: Algorithm) -> Self {
        let kind = if algorithm == Algorithm::ES256 {
            &rcgen::PKCS_ECDSA_P256_SHA256
        } else {
            &rcgen::PKCS_RSA_SHA256
        };
        let pem = rcgen::KeyPair::generate_for(kind).expect("a key pair").serialize_pem().into_bytes();
        let key = EncodingKey::from_ec_pem(&pem).or_else(|_| EncodingKey::from_rsa_pem(&pem)).expect("a key");
        let public = Jwk::from_encoding_key(&key, algorithm).expect("the public half");
        let mut public = serde_json::to_value(public).expect("JSON");
        if let Some(members) = public.as_object_mut() {
            members.insert("kid".to_owned(), json!(format!("{algorithm:?}")));
            members.insert("use".to_owned(), json!("sig"));
        }
        Self { key, algorithm, public }
    }

    /// An access token as Keycloak makes them, of about 900 bytes; bound to something by choice.
    pub fn token(&self, issuer: &str, number: usize, bound: Option<(&str, String)>) -> String {
        let algorithm = format!("{:?}", self.algorithm);
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": algorithm});
        let now = super::now().as_second();
        let mut claims = json!({
            "exp": now + 600, "iat": now, "jti": format!("trrtcc:{number:032}"), "iss": issuer, "aud": ["pforte", BASE],
            "sub": "64cb7d91-fdc7-4053-bdc4-25fc5940c897", "typ": "Bearer", "azp": "app",
            "sid": "5c0df1a4-4f5e-4b4c-9d9c-0f6f6f3d5b5e", "patient": "pat-01", "encounter": "enc-1",
            "fhirUser": "Practitioner/prac-1", "groups": ["ward-7"],
            "scope": "openid fhirUser launch/patient patient/Observation.rs patient/Condition.rs patient/Patient.r user/*.rs",
        });
        if let (Some((method, value)), Some(members)) = (bound, claims.as_object_mut()) {
            members.insert("cnf".to_owned(), json!({method: value}));
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.expect("a signature"))
    }
}

/// The running server.
pub struct Server {
    issuer: String,
    asked: Arc<AtomicU64>,
}

impl Server {
    /// Starts on a free port of loopback, with these keys.
    pub async fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let metadata = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "introspection_endpoint": format!("{issuer}/introspect"),
        });
        let keys = json!({"keys": signers.iter().map(|signer| &signer.public).collect::<Vec<_>>()});
        let documents = Arc::new([metadata.to_string(), keys.to_string()]);
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (documents, counter) = (Arc::clone(&documents), Arc::clone(&counter));
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&documents), Arc::clone(&counter)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { issuer, asked }
    }

    /// Introspection calls so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The settings of a gateway that verifies signatures of this server.
    pub fn signed(&self) -> AuthorizationServer {
        let text = format!(
            "[server]\npublic_url = \"{BASE}\"\ninsecure_http = true\n[backend]\nurl = \"http://127.0.0.1:1/fhir\"\n[[authorization_server]]\nissuer = \"{}\"\n",
            self.issuer
        );
        settings(&text).authorization_servers.swap_remove(0)
    }

    /// The settings of one that asks it, and reuses an answer for this long.
    pub fn opaque(&self, cache: Duration) -> AuthorizationServer {
        let auth = IssuerClientAuth::SecretBasic(Secret::new("secret".to_owned()));
        AuthorizationServer {
            validation: Validation::Introspection,
            client: Some(IssuerClient { id: "pforte".to_owned(), auth }),
            introspection_cache: cache,
            opaque: true,
            ..self.signed()
        }
    }

    /// The issuers of a gateway with these settings.
    pub fn issuers(&self, settings: AuthorizationServer) -> Issuers {
        let scopes = rules().scopes;
        Issuers::new(&[settings], &Reading { scopes, base: BASE.to_owned() }, None).expect("issuers")
    }
}

fn rules() -> pforte::policy::Rules {
    let text = format!(
        "[server]\npublic_url = \"{BASE}\"\ninsecure_http = true\n[backend]\nurl = \"http://127.0.0.1:1/fhir\"\n[[authorization_server]]\nissuer = \"https://as.test\"\n"
    );
    settings(&text).rules
}

fn settings(text: &str) -> Settings {
    let surroundings = Surroundings::new(".", Timestamp::UNIX_EPOCH);
    let (settings, _) = Settings::check(&Source::new("bench", text), &surroundings).expect("settings");
    settings
}

async fn answer(
    request: Request<Incoming>,
    documents: Arc<[String; 2]>,
    asked: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let [metadata, keys] = &*documents;
    let body = match request.uri().path() {
        "/jwks" => keys.clone(),
        "/introspect" => {
            asked.fetch_add(1, Ordering::Relaxed);
            let _form = request.into_body().collect().await;
            tokio::time::sleep(ANSWERS_AFTER).await;
            let exp = super::now().as_second() + 600;
            json!({"active": true, "scope": "system/*.rs", "client_id": "app", "sub": "app", "exp": exp})
                .to_string()
        }
        _ => metadata.clone(),
    };
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(body))
        .expect("an answer"))
}
