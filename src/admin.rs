//! Health, readiness and metrics on an address of their own: plain HTTP/1.1, never on the public listener.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::telemetry::Metrics;

/// Longest time for a request's head.
const HEAD: Duration = Duration::from_secs(5);

/// What stands between the gateway and serving.
pub trait Readiness: Send + Sync + 'static {
    /// One sentence for each thing that is not ready; none means ready.
    fn missing(&self) -> Vec<String>;
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    readiness: Arc<dyn Readiness>,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let accept = async {
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let (readiness, metrics) = (Arc::clone(&readiness), metrics.clone());
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = answer(request.method(), request.uri().path(), &*readiness, &metrics);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
                // A client that breaks off is no concern of ours.
                let _ended = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
}

fn answer(
    method: &Method,
    path: &str,
    readiness: &dyn Readiness,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    let known = matches!(path, "/health" | "/ready" | "/metrics");
    if known && ![Method::GET, Method::HEAD].contains(method) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "application/json", "{}".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/health" => text(StatusCode::OK, "application/json", json!({"status": "up"}).to_string()),
        "/ready" => {
            let missing = readiness.missing();
            let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(
                status,
                "application/json",
                json!({"ready": missing.is_empty(), "missing": missing}).to_string(),
            )
        }
        "/metrics" => text(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics.encode(),
        ),
        _ => text(StatusCode::NOT_FOUND, "application/json", "{}".to_owned()),
    }
}

fn text(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lacking(Vec<String>);

    impl Readiness for Lacking {
        fn missing(&self) -> Vec<String> {
            self.0.clone()
        }
    }

    #[test]
    fn what_is_asked_is_answered() {
        let table = [
            (Method::GET, "/health", vec![], 200),
            (Method::HEAD, "/health", vec![], 200),
            (Method::GET, "/ready", vec![], 200),
            (Method::GET, "/ready", vec!["issuer x: no keys yet".to_owned()], 503),
            (Method::GET, "/metrics", vec![], 200),
            (Method::POST, "/metrics", vec![], 405),
            (Method::GET, "/", vec![], 404),
            (Method::GET, "/fhir/Patient", vec![], 404),
        ];
        for (method, path, missing, status) in table {
            let response = answer(&method, path, &Lacking(missing), &Metrics::new());
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
        }
    }
}
