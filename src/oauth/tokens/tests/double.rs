//! A token endpoint in this process that answers as it is told and counts what it is asked.

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
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How it answers.
#[derive(Clone)]
pub(super) enum Mode {
    /// Status and body.
    Answer(u16, String),
    /// A token of its own for each question, with this `expires_in`, when the gate opens.
    Gated(Value),
    /// Never.
    Hang,
    /// A token of its own for each question, with this `expires_in`.
    Issue(Value),
}

pub(super) struct Double {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mutex<Mode>,
    asked: Mutex<Vec<Asked>>,
    gate: Semaphore,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) authorization: Option<String>,
    pub(super) form: HashMap<String, String>,
}

impl Double {
    /// Starts on a free port of loopback.
    pub(super) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner =
            Arc::new(Inner { mode: Mutex::new(mode), asked: Mutex::default(), gate: Semaphore::new(0) });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, inner }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.inner.mode.lock().unwrap() = mode;
    }

    /// How often it was asked.
    pub(super) fn count(&self) -> usize {
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

/// An answer with everything in it.
pub(super) fn whole(token: &str, expires_in: &Value) -> String {
    json!({
        "access_token": token, "token_type": "Bearer", "expires_in": expires_in,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
    .to_string()
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
    let header = head.headers.get(http::header::AUTHORIZATION);
    let authorization = header.map(|value| value.to_str().unwrap().to_owned());
    let subject = form.get("subject_token").cloned();
    let number = {
        let mut asked = inner.asked.lock().unwrap();
        asked.push(Asked { authorization, form });
        asked.len()
    };
    let token = subject.map_or(format!("own-{number}"), |subject| format!("for-{subject}-{number}"));
    let mode = inner.mode.lock().unwrap().clone();
    let (status, text) = match mode {
        Mode::Answer(status, text) => (status, text),
        Mode::Gated(expires_in) => {
            inner.gate.acquire().await.unwrap().forget();
            (200, whole(&token, &expires_in))
        }
        Mode::Hang => std::future::pending().await,
        Mode::Issue(expires_in) => (200, whole(&token, &expires_in)),
    };
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}
