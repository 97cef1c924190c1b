//! A backend that lets in live tokens only, and the token endpoint that issues them, at one address. It answers reads of
//! one patient and takes whatever is posted; what it is asked for is written down.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What every token of the endpoint begins with.
pub const MARK: &str = "issued-at-the-double-";

/// How the token endpoint answers.
#[derive(Clone)]
pub enum Mode {
    /// Status and body.
    Answer(u16, Value),
    /// A token that lives so many seconds; in an exchange another one for each user.
    Issue(u64),
}

/// What was asked of either.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: Vec<String>,
    pub form: HashMap<String, String>,
    /// What the backend answered.
    pub status: u16,
}

/// The running servers.
pub struct Guard {
    origin: String,
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mutex<Mode>,
    /// Until when each token lives.
    live: Mutex<HashMap<String, Instant>>,
    issued: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    /// Starts on a free port of loopback.
    pub async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (mode, live, asked) = (Mutex::new(mode), Mutex::default(), Mutex::default());
        let inner = Arc::new(Inner { mode, live, issued: AtomicUsize::new(1), asked });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| respond(Arc::clone(&inner), request));
                let builder = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(
                    async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) },
                );
            }
        });
        Self { origin, inner }
    }

    /// The FHIR base.
    pub fn base(&self) -> String {
        format!("{}/fhir", self.origin)
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.origin)
    }

    pub fn set(&self, mode: Mode) {
        *locked(&self.inner.mode) = mode;
    }

    /// Lets no token in that was issued so far.
    pub fn revoke_all(&self) {
        locked(&self.inner.live).clear();
    }

    /// What the token endpoint was asked.
    pub fn tokens(&self) -> Vec<Asked> {
        self.log().into_iter().filter(|asked| asked.path == "/token").collect()
    }

    /// What the backend was asked.
    pub fn requests(&self) -> Vec<Asked> {
        self.log().into_iter().filter(|asked| asked.path != "/token").collect()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        locked(&self.inner.asked).clear();
    }

    fn log(&self) -> Vec<Asked> {
        locked(&self.inner.asked).clone()
    }
}

impl Inner {
    fn issue(&self, form: &HashMap<String, String>) -> (u16, Value) {
        let seconds = match locked(&self.mode).clone() {
            Mode::Answer(status, body) => return (status, body),
            Mode::Issue(seconds) => seconds,
        };
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let whose = form.get("subject_token").map_or_else(|| "own".to_owned(), |subject| subject_of(subject));
        let token = format!("{MARK}{whose}-{number}");
        locked(&self.live).insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
        (200, answer)
    }

    fn lets_in(&self, authorization: &[String]) -> bool {
        let [only] = authorization else { return false };
        let live = locked(&self.live);
        only.strip_prefix("Bearer ")
            .and_then(|token| live.get(token))
            .is_some_and(|end| Instant::now() < *end)
    }
}

/// `sub` of a JWT.
fn subject_of(token: &str) -> String {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
    claims["sub"].as_str().unwrap_or("nobody").to_owned()
}

async fn respond(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let fields = head.headers.get_all(http::header::AUTHORIZATION).iter();
    let authorization: Vec<_> =
        fields.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let (status, answer, form) = if path == "/token" {
        let form = url::form_urlencoded::parse(&body).into_owned().collect();
        let (status, answer) = inner.issue(&form);
        (status, answer, form)
    } else if path.ends_with("/metadata") {
        (
            200,
            json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "format": ["json"]}),
            HashMap::new(),
        )
    } else if !inner.lets_in(&authorization) {
        (401, json!({"resourceType": "OperationOutcome"}), HashMap::new())
    } else {
        let status = if head.method == Method::POST { 201 } else { 200 };
        (status, json!({"resourceType": "Patient", "id": "pat-01"}), HashMap::new())
    };
    locked(&inner.asked).push(Asked { path, authorization, form, status });
    let media = if status == 401 { "text/plain" } else { "application/fhir+json" };
    let response = Response::builder().status(status).header("content-type", media);
    let response = response.header("location", "Patient/new/_history/1").header("etag", "W/\"1\"");
    Ok(response.body(Full::from(answer.to_string())).expect("a response"))
}
