//! An authorization server in this process that answers as it is told and counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How a path answers.
#[derive(Clone)]
pub(super) enum Reply {
    /// Status and body.
    Answer(u16, String),
    /// As `Answer` with 200, when the gate opens.
    Gated(String),
    /// Never.
    Hang,
    /// An active token whose subject is the form's `token`, when the gate opens.
    Mirror,
    /// A redirect.
    Redirect(String),
}

pub(super) struct Double {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    replies: Mutex<HashMap<&'static str, Reply>>,
    asked: Mutex<Vec<Asked>>,
    gate: Semaphore,
}

/// What was asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) body: String,
}

impl Double {
    /// Starts on a free port of loopback; its metadata names its key set and its introspection endpoint.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner =
            Arc::new(Inner { replies: Mutex::default(), asked: Mutex::default(), gate: Semaphore::new(0) });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let double = Self { address, inner };
        let issuer = double.issuer();
        let metadata = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "introspection_endpoint": format!("{issuer}/introspect")
        });
        double.set("/.well-known/oauth-authorization-server", Reply::Answer(200, metadata.to_string()));
        double
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn set(&self, path: &'static str, reply: Reply) {
        self.inner.replies.lock().unwrap().insert(path, reply);
    }

    pub(super) fn answer(&self, path: &'static str, body: impl ToString) {
        self.set(path, Reply::Answer(200, body.to_string()));
    }

    /// How often the path was asked for.
    pub(super) fn count(&self, path: &str) -> usize {
        self.inner.asked.lock().unwrap().iter().filter(|asked| asked.path == path).count()
    }

    /// How often anything was asked for.
    pub(super) fn total(&self) -> usize {
        self.inner.asked.lock().unwrap().len()
    }

    /// The last question.
    pub(super) fn last(&self) -> Asked {
        self.inner.asked.lock().unwrap().last().cloned().unwrap()
    }

    /// Lets all gated answers go, now and later.
    pub(super) fn open_gate(&self) {
        self.inner.gate.add_permits(10_000);
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let header = head.headers.get(http::header::AUTHORIZATION);
    let authorization = header.map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked { path: path.clone(), authorization, body: body.clone() };
    inner.asked.lock().unwrap().push(asked);
    let reply = inner.replies.lock().unwrap().get(path.as_str()).cloned();
    let (status, text, location) = match reply.unwrap_or(Reply::Answer(404, String::new())) {
        Reply::Answer(status, text) => (status, text, None),
        Reply::Gated(text) => {
            inner.gate.acquire().await.unwrap().forget();
            (200, text, None)
        }
        Reply::Hang => std::future::pending().await,
        Reply::Mirror => {
            inner.gate.acquire().await.unwrap().forget();
            let mut form = url::form_urlencoded::parse(body.as_bytes());
            let token = form.find(|(name, _)| name == "token").unwrap().1.into_owned();
            (200, json!({"active": true, "sub": token}).to_string(), None)
        }
        Reply::Redirect(to) => (302, String::new(), Some(to)),
    };
    let mut response = Response::builder().status(status);
    if let Some(to) = location {
        response = response.header(http::header::LOCATION, to);
    }
    Ok(response.body(Full::from(text)).unwrap())
}
