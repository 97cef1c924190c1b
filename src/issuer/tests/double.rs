//! An authorization server in this process that answers as it is told and counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

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
    issuer: String,
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
    /// The certificate that the client presented, DER.
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) body: String,
}

impl Double {
    /// Starts on a free port of loopback; its metadata names its key set and its introspection endpoint.
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same over TLS, as `localhost`.
    pub(super) async fn start_tls(tls: rustls::ServerConfig) -> Self {
        Self::start_with(Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let inner = Arc::new(Inner {
            replies: Mutex::default(),
            asked: Mutex::default(),
            gate: Semaphore::new(0),
            statuses: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&serving), stream, tls.clone()));
            }
        });
        let double = Self { issuer, inner };
        double.set_metadata(|document| Reply::Answer(200, document));
        double
    }

    pub(super) fn issuer(&self) -> String {
        self.issuer.clone()
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

    /// All questions to a path.
    pub(super) fn asked(&self, path: &str) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
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

async fn serve(inner: Arc<Inner>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let service = |certificate: Option<Vec<u8>>| {
        service_fn(move |request| answer(Arc::clone(&inner), certificate.clone(), request))
    };
    let http = http1::Builder::new();
    let Some(tls) = tls else {
        let _ended = http.serve_connection(TokioIo::new(stream), service(None)).await;
        return;
    };
    let Ok(stream) = tls.accept(stream).await else { return };
    let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = presented.map(|leaf| leaf.to_vec());
    let _ended = http.serve_connection(TokioIo::new(stream), service(certificate)).await;
}

async fn answer(
    inner: Arc<Inner>,
    certificate: Option<Vec<u8>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        path: path.clone(),
        authorization: field("authorization"),
        accept: field("accept"),
        certificate,
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
