//! An authorization server in a thread of this process: publishes keys, and answers about opaque tokens.
//!
//! Its name is not its address, so that tokens outlive a run: to sign 10,000 by RSA takes ten seconds, so keys and tokens are
//! kept in the scratch folder.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::machine;
use crate::setting::{BASE, PATIENT};

/// Signs tokens.
pub const ISSUER: &str = "https://as.bench.test";

/// Answers about opaque ones.
pub const OPAQUE_ISSUER: &str = "https://opaque.bench.test";

/// Tokens that differ.
pub const MANY: usize = 10_000;

/// Unconstrained, so that answers stream.
pub const EVERYTHING: &str = "system/*.rs";

/// One patient's, so that answers are checked entry by entry.
pub const OF_A_PATIENT: &str = "patient/*.rs";

const YEAR: u64 = 365 * 86_400;

/// A key of the server.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    /// For those who verify with a file: the public key, and a certificate of it.
    pub public_pem: String,
    pub certificate: String,
    jwk: Value,
}

impl Signer {
    /// The key kept in the folder, or a new one.
    fn kept(folder: &Path, algorithm: Algorithm) -> Self {
        let file = folder.join(format!("{algorithm:?}.key"));
        let mut pem = machine::text(&file);
        if pem.is_empty() {
            let ec = algorithm == Algorithm::ES256;
            let kind = if ec { &rcgen::PKCS_ECDSA_P256_SHA256 } else { &rcgen::PKCS_RSA_SHA256 };
            pem = rcgen::KeyPair::generate_for(kind).expect("a key pair").serialize_pem();
            fs::write(&file, &pem).expect("a file");
        }
        let pair = rcgen::KeyPair::from_pem(&pem).expect("a key pair");
        let names = rcgen::CertificateParams::new(vec!["as.bench.test".to_owned()]).expect("a name");
        let certificate = names.self_signed(&pair).expect("a certificate").pem();
        let key =
            EncodingKey::from_ec_pem(pem.as_bytes()).or_else(|_| EncodingKey::from_rsa_pem(pem.as_bytes()));
        let key = key.expect("a key");
        let jwk = Jwk::from_encoding_key(&key, algorithm).expect("the public half");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(format!("{algorithm:?}")));
            members.insert("use".to_owned(), json!("sig"));
        }
        Self { key, algorithm, public_pem: pair.public_key_pem(), certificate, jwk }
    }

    /// An access token as Keycloak makes them, of about 900 bytes; bound to a key by choice.
    pub fn token(&self, number: usize, scope: &str, bound: Option<String>) -> String {
        let algorithm = format!("{:?}", self.algorithm);
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": algorithm});
        let now = now();
        let mut claims = json!({
            "exp": now + YEAR, "iat": now, "jti": format!("trrtcc:{number:032}"), "iss": ISSUER, "aud": [BASE],
            "sub": format!("64cb7d91-fdc7-4053-bdc4-{number:012}"), "azp": "app", "client_id": "app",
            "sid": "5c0df1a4-4f5e-4b4c-9d9c-0f6f6f3d5b5e", "patient": PATIENT,
            "fhirUser": "Practitioner/prac-1", "groups": ["ward-7"], "scope": scope,
        });
        if let (Some(thumbprint), Some(members)) = (bound, claims.as_object_mut()) {
            members.insert("cnf".to_owned(), json!({"jkt": thumbprint}));
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.expect("a signature"))
    }

    /// Ten thousand tokens that differ, signed once and kept.
    pub fn many(&self, folder: &Path) -> Vec<String> {
        let file = folder.join(format!("{:?}-tokens.txt", self.algorithm));
        let kept: Vec<String> = machine::text(&file).lines().map(str::to_owned).collect();
        if kept.len() == MANY && fresh(&file) {
            return kept;
        }
        eprintln!("peers: signing {MANY} tokens by {:?}, once …", self.algorithm);
        let tokens: Vec<String> = (0..MANY).map(|number| self.token(number, EVERYTHING, None)).collect();
        fs::write(&file, tokens.join("\n")).expect("a file");
        tokens
    }
}

/// Whether tokens in this file, which live for a year, live for half a year more.
fn fresh(file: &Path) -> bool {
    let age = fs::metadata(file).ok().and_then(|found| found.modified().ok()?.elapsed().ok());
    age.is_some_and(|age| age.as_secs() < YEAR / 2)
}

/// The server and its keys.
pub struct Authority {
    pub rsa: Signer,
    pub ec: Signer,
    port: u16,
}

impl Authority {
    /// Serves until this process ends. Keys are kept in the folder.
    pub fn start(folder: &Path) -> Self {
        let (rsa, ec) = (Signer::kept(folder, Algorithm::RS256), Signer::kept(folder, Algorithm::ES256));
        let port = machine::free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let about = |issuer: &str| {
            let about = json!({"issuer": issuer, "jwks_uri": format!("{origin}/jwks"),
                "introspection_endpoint": format!("{origin}/introspect")});
            about.to_string()
        };
        let documents = Documents {
            signs: about(ISSUER),
            opaque: about(OPAQUE_ISSUER),
            keys: json!({"keys": [rsa.jwk, ec.jwk]}).to_string(),
        };
        let socket = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a port");
        std::thread::spawn(move || serve(socket, documents));
        Self { rsa, ec, port }
    }

    /// What a gateway's configuration says of it.
    pub fn settings(&self) -> String {
        let port = self.port;
        format!(
            "[[authorization_server]]\nissuer = \"{ISSUER}\"\nmetadata_url = \"http://127.0.0.1:{port}/signs\"\n[[authorization_server]]\nissuer = \"{OPAQUE_ISSUER}\"\nmetadata_url = \"http://127.0.0.1:{port}/opaque\"\nvalidation = \"introspection\"\nopaque = true\nintrospection_cache = \"10m\"\nclient = {{ id = \"pforte\", secret_file = \"secret\" }}\n"
        )
    }
}

struct Documents {
    signs: String,
    opaque: String,
    keys: String,
}

fn serve(socket: std::net::TcpListener, documents: Documents) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let documents = Arc::new(documents);
    runtime.block_on(async {
        socket.set_nonblocking(true).expect("a socket");
        let socket = TcpListener::from_std(socket).expect("a socket");
        while let Ok((stream, _)) = socket.accept().await {
            let documents = Arc::clone(&documents);
            let service = service_fn(move |request| answer(request, Arc::clone(&documents)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    documents: Arc<Documents>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/jwks" => documents.keys.clone(),
        "/introspect" => {
            let _form = request.into_body().collect().await;
            let about = json!({"active": true, "scope": EVERYTHING, "client_id": "app", "sub": "app",
                "iss": OPAQUE_ISSUER, "aud": BASE, "exp": now() + YEAR});
            about.to_string()
        }
        "/opaque" => documents.opaque.clone(),
        _ => documents.signs.clone(),
    };
    let answer = Response::builder().header("content-type", "application/json");
    Ok(answer.body(Full::from(body)).expect("an answer"))
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "an authorization server has a clock of its own")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock that is set").as_secs()
}
