//! An audit record repository over TLS that stores what it is sent, or answers as it is told to.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::house::free;

/// What an event has in it that this repository does not take.
pub const POISON: &str = "Patient/poison";

/// How a transaction is answered.
#[derive(Clone, Debug)]
pub enum Mode {
    /// With this, storing nothing: status, one header field, body.
    Answer(u16, (&'static str, String), Vec<u8>),
    /// Not at all; the connection ends.
    Close,
    /// By refusing whatever it is.
    Refuse,
    /// After so long.
    Slow(Duration),
    /// As a repository does: all of it or, when an event has poison in it, nothing.
    Store,
    /// All of it is stored, and then the connection ends.
    StoreAndClose,
}

/// A certificate for a name, signed by itself, and its key.
pub struct Identity {
    pub certificate: String,
    key: String,
}

impl Identity {
    pub fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// The key, as PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")]
    }

    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }
}

/// A repository; it listens once it is told to.
pub struct Repository {
    address: SocketAddr,
    identity: Identity,
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inner {
    /// What the next transactions are answered with; then they are stored.
    next: Mutex<VecDeque<Mode>>,
    always: Mutex<Option<Mode>>,
    /// Events by id, or by tag when the id is ours; and how often each was created.
    stored: Mutex<HashMap<String, (Value, usize)>>,
    /// `Authorization` of each transaction, and how many events were in it.
    seen: Mutex<Vec<(String, usize)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Repository {
    /// Has an address, and does not listen yet. `name` is what the certificate is for.
    pub fn new(name: &str) -> Self {
        let (inner, task) = (Arc::default(), Mutex::default());
        Self { address: free(), identity: Identity::of(name), inner, task }
    }

    /// Its FHIR base.
    pub fn base(&self) -> String {
        format!("https://localhost:{}/fhir", self.address.port())
    }

    /// What to trust.
    pub fn certificate(&self) -> &str {
        &self.identity.certificate
    }

    /// Listens.
    pub async fn up(&self) {
        self.down().await;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(self.identity.chain(), self.identity.private())
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(self.address).await.expect("the address is free");
        let inner = Arc::clone(&self.inner);
        *locked(&self.task) = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, inner) = (acceptor.clone(), Arc::clone(&inner));
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        }));
    }

    /// Listens no more; every connection ends.
    pub async fn down(&self) {
        let task = locked(&self.task).take();
        if let Some(task) = task {
            task.abort();
            drop(task.await);
        }
    }

    /// Answers the next transaction so.
    pub fn once(&self, mode: Mode) {
        locked(&self.inner.next).push_back(mode);
    }

    /// Answers all so, until told otherwise.
    pub fn always(&self, mode: Mode) {
        *locked(&self.inner.always) = Some(mode);
    }

    /// The events that are there, and how often each was created.
    pub fn stored(&self) -> HashMap<String, usize> {
        locked(&self.inner.stored).iter().map(|(id, (_, created))| (id.clone(), *created)).collect()
    }

    /// `Authorization` of each transaction, and how many events were in it.
    pub fn seen(&self) -> Vec<(String, usize)> {
        locked(&self.inner.seen).clone()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }
}

impl Inner {
    /// All of a transaction, or what is wrong with it.
    fn store(&self, bundle: &Value) -> Response<Full<Bytes>> {
        let none = Vec::new();
        let entries = bundle["entry"].as_array().unwrap_or(&none);
        if bundle.to_string().contains(POISON) {
            return outcome(422, &format!("a {POISON} is not taken"));
        }
        let mut stored = locked(&self.stored);
        let mut answers = Vec::new();
        for entry in entries {
            let (request, resource) = (&entry["request"], &entry["resource"]);
            let (id, fits) = match request["method"].as_str() {
                Some("PUT") => {
                    let id = resource["id"].as_str().unwrap_or_default().to_owned();
                    let fits = request["url"] == format!("AuditEvent/{id}");
                    (id, fits)
                }
                Some("POST") => {
                    let tag = &resource["meta"]["tag"][0];
                    let id = tag["code"].as_str().unwrap_or_default().to_owned();
                    let condition = request["ifNoneExist"].as_str().unwrap_or_default();
                    let pairs: Vec<_> = url::form_urlencoded::parse(condition.as_bytes()).collect();
                    let expected = format!("{}|{id}", tag["system"].as_str().unwrap_or_default());
                    let fits =
                        matches!(pairs.as_slice(), [(name, value)] if name == "_tag" && *value == expected);
                    (id, fits && resource["id"].is_null())
                }
                _ => (String::new(), false),
            };
            if !fits || resource["resourceType"] != "AuditEvent" {
                return outcome(400, &format!("not a sound entry: {entry}"));
            }
            let created = !stored.contains_key(&id);
            let held = stored.entry(id).or_insert_with(|| (resource.clone(), 1));
            if held.0 != *resource {
                held.1 += 1;
            }
            answers.push(json!({"response": {"status": if created { "201 Created" } else { "200 OK" }}}));
        }
        let answer = json!({"resourceType": "Bundle", "type": "transaction-response", "entry": answers});
        response(200, ("x-mode", "stored"), answer.to_string())
    }
}

fn outcome(status: u16, text: &str) -> Response<Full<Bytes>> {
    let issue = json!({"severity": "error", "code": "invalid", "diagnostics": text});
    let body = json!({"resourceType": "OperationOutcome", "issue": [issue]});
    response(status, ("x-mode", "refused"), body.to_string())
}

fn response(status: u16, (name, value): (&str, &str), body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/fhir+json");
    response.header(name, value).body(Full::new(body.into())).expect("a response")
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let bundle: Value = serde_json::from_slice(&body).unwrap_or_default();
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let entries = bundle["entry"].as_array().map_or(0, Vec::len);
    locked(&inner.seen).push((authorization.unwrap_or_default().to_owned(), entries));
    if (head.method.as_str(), head.uri.path()) != ("POST", "/fhir") || bundle["type"] != "transaction" {
        return Ok(outcome(404, "only transactions"));
    }
    let once = locked(&inner.next).pop_front();
    let mode = once.or_else(|| locked(&inner.always).clone()).unwrap_or(Mode::Store);
    match mode {
        Mode::Answer(status, (name, value), body) => Ok(response(status, (name, &value), body)),
        Mode::Close => Err(io::Error::other("closed")),
        Mode::Refuse => Ok(outcome(422, "nothing is taken")),
        Mode::Slow(pause) => {
            tokio::time::sleep(pause).await;
            Ok(inner.store(&bundle))
        }
        Mode::Store => Ok(inner.store(&bundle)),
        Mode::StoreAndClose => {
            drop(inner.store(&bundle));
            Err(io::Error::other("closed"))
        }
    }
}
