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
    /// Status, header fields and body.
    With(u16, Vec<(&'static str, String)>, String),
    /// 200 with this body and entity tag, or 304 to whoever has it; both with these header fields.
    Tagged(String, &'static str, Vec<(&'static str, String)>),
    /// 200 with this body and date, or 304 to whoever has it from then.
    Dated(String, &'static str),
}

pub(super) struct Double {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    replies: Mutex<HashMap<&'static str, Reply>>,
    asked: Mutex<Vec<Asked>>,
    gate: Semaphore,
    statuses: Mutex<Vec<u16>>,
}

/// What was asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) accept: Option<String>,
    pub(super) body: String,
}

impl Double {
    /// Starts on a free port of loopback; its metadata names its key set and its introspection endpoint.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            replies: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(0),
            statuses: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let double = Self { address, inner };
        double.set_metadata(|document| Reply::Answer(200, document));
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

    /// Puts a reply in the place of that for its metadata.
    pub(super) fn set_metadata(&self, reply: impl FnOnce(String) -> Reply) {
        let (path, issuer) = ("/.well-known/oauth-authorization-server", self.issuer());
        let document = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "introspection_endpoint": format!("{issuer}/introspect")
        });
        self.set(path, reply(document.to_string()));
    }

    /// How often anything was asked for.
    pub(super) fn total(&self) -> usize {
        self.inner.asked.lock().unwrap().len()
    }

    /// How often it answered with this status.
    pub(super) fn with_status(&self, status: u16) -> usize {
        self.inner.statuses.lock().unwrap().iter().filter(|told| **told == status).count()
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
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        path: path.clone(),
        authorization: field("authorization"),
        accept: field("accept"),
        body: body.clone(),
    };
    inner.asked.lock().unwrap().push(asked);
    let reply = inner.replies.lock().unwrap().get(path.as_str()).cloned();
    let (status, fields, text) = match reply.unwrap_or(Reply::Answer(404, String::new())) {
        Reply::Answer(status, text) => (status, vec![], text),
        Reply::Gated(text) => {
            inner.gate.acquire().await.unwrap().forget();
            (200, vec![], text)
        }
        Reply::Hang => std::future::pending().await,
        Reply::Mirror => {
            inner.gate.acquire().await.unwrap().forget();
            let mut form = url::form_urlencoded::parse(body.as_bytes());
            let token = form.find(|(name, _)| name == "token").unwrap().1.into_owned();
            (200, vec![], json!({"active": true, "sub": token}).to_string())
        }
        Reply::Redirect(to) => (302, vec![("location", to)], String::new()),
        Reply::With(status, fields, text) => (status, fields, text),
        Reply::Tagged(text, tag, mut fields) => {
            fields.push(("etag", tag.to_owned()));
            let known = field("if-none-match").as_deref() == Some(tag);
            if known { (304, fields, String::new()) } else { (200, fields, text) }
        }
        Reply::Dated(text, date) => {
            let known = field("if-modified-since").as_deref() == Some(date);
            let fields = vec![("last-modified", date.to_owned())];
            if known { (304, vec![], String::new()) } else { (200, fields, text) }
        }
    };
    inner.statuses.lock().unwrap().push(status);
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(text)).unwrap())
}
