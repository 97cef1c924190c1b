//! The sockets under both demo servers: HTTP/1.1 and HTTP/2, with or without TLS.
//!
//! A server here can be made to refuse connections and to accept them again on the same port: that is how tests
//! take an authorization server or a backend away and bring it back.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The largest request body a demo server reads.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a handler gives back; an error closes the connection without an answer.
pub(super) type Reply = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

type Handler = Arc<dyn Fn(Received) -> Reply + Send + Sync>;

/// One request as a demo server saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// Path and query, exactly as they came.
    pub target: String,
    /// `Host`, or the `:authority` of HTTP/2.
    pub authority: String,
    /// All header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Received {
    /// The path, still percent-encoded.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query without its question mark; empty when there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, for assertions.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A socket that is bound but not served yet, so that a server can know its own URL before it answers.
pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Bound {
    /// Takes the address; port 0 chooses a free one.
    pub(super) async fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls: tls.map(TlsAcceptor::from) })
    }

    /// `http://127.0.0.1:4711`
    pub(super) fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Begins to answer.
    pub(super) fn serve(self, handler: impl Fn(Received) -> Reply + Send + Sync + 'static) -> Serving {
        let handler: Handler = Arc::new(handler);
        let task = tokio::spawn(accept(self.listener, self.tls.clone(), handler.clone()));
        Serving { address: self.address, tls: self.tls, handler, task: Mutex::new(Some(task)) }
    }
}

/// A running server; it ends, with every open connection, when this is dropped.
pub(super) struct Serving {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Serving {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and every connection; when this returns, new connections are refused.
    pub(super) async fn refuse(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // The error says "cancelled", which is what was asked for.
            drop(task.await);
        }
    }

    /// Listens again on the same address.
    pub(super) async fn resume(&self) -> io::Result<()> {
        self.refuse().await;
        let listener = TcpListener::bind(self.address).await?;
        let task = tokio::spawn(accept(listener, self.tls.clone(), self.handler.clone()));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, tls.clone(), handler.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Handler) {
    // Failing to set the option costs speed only.
    drop(stream.set_nodelay(true));
    match tls {
        None => exchange(stream, handler).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                exchange(stream, handler).await;
            }
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, handler: Handler) {
    let service = service_fn(move |request| answer(request, handler.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    // An error ends this connection; the peer sees it.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, handler: Handler) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(io::Error::other)?.to_bytes();
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let authority = host.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap_or_default();
    let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    handler(Received { method: head.method, target, authority, headers: head.headers, body }).await
}

/// A body that is all there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Adds header fields given as text; what is no valid field is left out.
pub(super) fn with_headers<'a>(
    mut response: Response<Body>,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Response<Body> {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Splits a query or a form into decoded pairs, in order.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}
