//! Health, readiness and metrics, on a port of their own: `GET /health`, `/ready` and `/metrics`.
//!
//! Never on the public listener, and no FHIR here. Each connection carries one request, has a bounded time and a
//! bounded size, and only so many are served at once: whoever scrapes us cannot wear us out.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::Metrics;

/// Connections served at once.
const CONNECTIONS: usize = 32;
/// Longest wait for a request's headers.
const HEADERS: Duration = Duration::from_secs(5);
/// Longest life of a connection, its slow reader included.
const CONNECTION: Duration = Duration::from_secs(20);
/// Rest after a refused accept, which comes back at once while file descriptors are short.
const REST: Duration = Duration::from_millis(100);

/// One thing that must be right before requests are sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What: `issuers`, `backend`, `audit`.
    pub name: &'static str,
    /// What is amiss; absent when all is well. Operators read it: it may name hosts, never a secret.
    pub amiss: Option<String>,
}

/// Tells whether the gateway can serve. Asked at each `GET /ready`; answers from what is known, without waiting.
pub trait Readiness: Send + Sync {
    /// Every check, in a fixed order.
    fn checks(&self) -> Vec<Check>;

    /// What may be amiss without keeping requests away, in a fixed order.
    fn weaknesses(&self) -> Vec<Check> {
        Vec::new()
    }
    /// Brings figures up to date that are counted elsewhere. Asked at each `GET /metrics`; waits for nothing either.
    fn measure(&self) {}
}

impl<F: Fn() -> Vec<Check> + Send + Sync> Readiness for F {
    fn checks(&self) -> Vec<Check> {
        self()
    }
}

/// What the admin port shows.
pub struct Admin {
    metrics: Metrics,
    readiness: Box<dyn Readiness>,
}

impl Admin {
    /// Shows these metrics, and ready when every check is well.
    #[must_use]
    pub fn new(metrics: Metrics, readiness: impl Readiness + 'static) -> Self {
        Self { metrics, readiness: Box::new(readiness) }
    }

    fn answer<B: Body>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/health" | "/ready" | "/metrics") {
            return plain(StatusCode::NOT_FOUND, "not found\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        if !request.body().is_end_stream() {
            return plain(StatusCode::BAD_REQUEST, "no body is expected\n");
        }
        match path {
            "/ready" => self.ready(),
            "/metrics" => {
                self.readiness.measure();
                self.show();
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response(StatusCode::OK, kind, self.metrics.encode())
            }
            _ => plain(StatusCode::OK, "ok\n"),
        }
    }

    /// What `/ready` says, in metrics.
    fn show(&self) {
        let checks = self.readiness.checks();
        self.metrics.ready(checks.iter().all(|check| check.amiss.is_none()));
        for check in checks.into_iter().chain(self.readiness.weaknesses()) {
            self.metrics.checked(check.name, check.amiss.is_none());
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let checks = self.readiness.checks();
        let ready = checks.iter().all(|check| check.amiss.is_none());
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let weaknesses = self.readiness.weaknesses().into_iter().map(|check| match check.amiss {
            None => json!({ "name": check.name, "ready": true }),
            Some(amiss) => json!({ "name": check.name, "ready": true, "degraded": amiss }),
        });
        let checks: Vec<_> = checks
            .iter()
            .map(|check| match &check.amiss {
                None => json!({ "name": check.name, "ready": true }),
                Some(amiss) => json!({ "name": check.name, "ready": false, "amiss": amiss }),
            })
            .chain(weaknesses)
            .collect();
        let body = json!({ "ready": ready, "checks": checks }).to_string();
        response(status, "application/json", body)
    }
}

/// Serves until `shutdown` ends, then finishes what is in flight: no longer than a connection may live.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => spawn(stream, permit, Arc::clone(&admin), &graceful),
            Err(error) => {
                tracing::warn!(%error, "admin connection not accepted");
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(REST) => {}
                }
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn spawn(stream: TcpStream, permit: OwnedSemaphorePermit, admin: Arc<Admin>, graceful: &GracefulShutdown) {
    let service = service_fn(move |request| {
        let answer = admin.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        let _permit = permit;
        match tokio::time::timeout(CONNECTION, watched).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
            Err(_) => tracing::debug!("admin connection took too long"),
        }
    });
}

fn plain(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body)
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::{Admin, Check, serve};
    use crate::telemetry::Metrics;

    struct Running {
        address: SocketAddr,
        well: Arc<AtomicBool>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let well = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&well);
        let checks = move || {
            let amiss = (!asked.load(Ordering::SeqCst)).then(|| "disk full".to_owned());
            vec![Check { name: "issuers", amiss: None }, Check { name: "audit", amiss }]
        };
        let (stop, stopped) = oneshot::channel();
        let admin = Arc::new(Admin::new(Metrics::new(), checks));
        let task = tokio::spawn(serve(listener, admin, async move {
            let _ = stopped.await;
        }));
        Running { address, well, stop, task }
    }

    async fn ask(address: SocketAddr, raw: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(raw.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refusal before the whole request was read may end in a reset; what was answered is still there.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn pages_and_refusals() {
        let running = start().await;
        let many: String = (0..80).map(|n| format!("x-{n}: 1\r\n")).collect();
        let long = "a".repeat(20_000);
        let table = [
            ("GET /health HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "200", "ok\n"),
            ("GET /health?x=1 HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "200", "ok\n"),
            ("GET /ready HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "200", "{\"ready\":true,"),
            ("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "200", "# EOF\n"),
            (
                "POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "405",
                "allow: GET, HEAD",
            ),
            ("GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi".to_owned(), "400", "no body"),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "404", "not found"),
            ("GET /ready/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "404", "not found"),
            (format!("GET /health HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431", ""),
            (format!("GET /health HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431", ""),
            ("hello\r\n\r\n".to_owned(), "400", ""),
        ];
        for (sent, status, holds) in table {
            let answer = ask(running.address, &sent).await;
            let shown = sent.lines().next().unwrap_or("").to_owned();
            assert_eq!(answer.split(' ').nth(1), Some(status), "{shown}: {answer}");
            assert!(answer.contains(holds), "{shown}: {answer}");
        }
        let head = ask(running.address, "HEAD /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains("application/openmetrics-text") && head.contains("no-store"), "{head}");
    }

    #[tokio::test]
    async fn unready_names_what_is_amiss() {
        let running = start().await;
        running.well.store(false, Ordering::SeqCst);
        let answer = ask(running.address, "GET /ready HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let expected = r#"{"ready":false,"checks":[{"name":"issuers","ready":true},{"name":"audit","ready":false,"amiss":"disk full"}]}"#;
        assert_eq!(body, expected);
        let health = ask(running.address, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }

    /// A connection that has sent nothing does not hold the stop up.
    #[tokio::test]
    async fn stops_when_told() {
        let running = start().await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        ask(running.address, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        running.stop.send(()).unwrap();
        running.task.await.unwrap();
        assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(running.address).await.is_err());
    }
}
