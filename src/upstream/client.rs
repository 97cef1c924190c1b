//! Sends one request, and names what went wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::body::UpstreamBody;
use super::breaker::Breaker;
use super::headers::{Ours, incoming, outgoing};
use super::pool::Pool;
use super::{UpstreamError, UpstreamSetup};
use crate::config::{Backend, CertificateFiles};
use crate::rewrite::Outbound;

/// Longest wait for a connection; a backend in the same network answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// The connection pool to the backend.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Arc<Pool>,
    /// What `Host` says.
    host: HeaderValue,
    /// The base's path, without a trailing slash.
    base: String,
    timeout: Duration,
    places: Arc<Semaphore>,
    breaker: Arc<Breaker>,
}

impl Upstream {
    /// Makes the pool; connects to nothing. `requests` is how many may wait for the backend at once.
    ///
    /// # Errors
    /// A trust anchor that cannot be read, or a URL that is none.
    pub fn new(backend: &Backend, requests: usize) -> Result<Self, UpstreamSetup> {
        let unusable = |cause: http::Error| UpstreamSetup::Unusable(cause.to_string());
        let uri: Uri = backend.url.as_str().parse().map_err(|cause| unusable(http::Error::from(cause)))?;
        let Some(host) = host(&uri) else {
            return Err(UpstreamSetup::Unusable(format!("`{}` is no absolute URL", backend.url)));
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT.min(backend.timeout)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(backend)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            pool: Pool::new(connector, uri),
            host,
            base,
            timeout: backend.timeout,
            places: Arc::new(Semaphore::new(requests)),
            breaker: Arc::new(Breaker::new(0, Duration::ZERO)),
        })
    }

    /// Leaves the backend alone for `pause` after so many failures in a row to reach it, or to hear from it in time; never
    /// when `failures` is none.
    #[must_use]
    pub fn resting(self, failures: u32, pause: Duration) -> Self {
        Self { breaker: Arc::new(Breaker::new(failures, pause)), ..self }
    }

    /// Sends a request that a permit bought, with what the gateway tells the backend about it.
    ///
    /// # Errors
    /// See [`UpstreamError`]; errors inside the body come from the body.
    pub async fn forward(
        &self,
        outbound: &Outbound,
        ours: &Ours,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let asked = Asked {
            method: outbound.method(),
            target: outbound.target(),
            body: outbound.body(),
            fields: &|| outgoing(outbound.headers(), ours),
        };
        let (head, body) = self.send(&asked).await?.into_parts();
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = incoming(&head.headers)?;
        Ok(response)
    }

    /// Sends a request. A safe one is sent once more when the connection ended before a byte of the answer (HTTP-16).
    /// Redirects are not followed.
    ///
    /// # Errors
    /// See [`UpstreamError`]; errors inside the body come from the body.
    pub(super) async fn send(&self, asked: &Asked<'_>) -> Result<Response<UpstreamBody>, UpstreamError> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_full| UpstreamError::Overloaded)?;
        let uri = self.address(asked.target)?;
        let admitted = self.breaker.admit().map_err(UpstreamError::Resting)?;
        let again = [Method::GET, Method::HEAD].contains(asked.method);
        let attempt = || {
            let mut request = Request::new(Full::new(asked.body.clone()));
            *request.method_mut() = asked.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = (asked.fields)();
            request.headers_mut().insert(HOST, self.host.clone());
            self.pool.ask(request)
        };
        let answered = async {
            match attempt().await {
                Err(UpstreamError::Closed(_)) if again => attempt().await,
                other => other,
            }
        };
        let answered = tokio::time::timeout(self.timeout, answered).await;
        let answered = answered.unwrap_or(Err(UpstreamError::Timeout));
        match &answered {
            Err(
                UpstreamError::Connect(_)
                | UpstreamError::Refused(_)
                | UpstreamError::Timeout
                | UpstreamError::Tls(_),
            ) => {
                if admitted.failed() {
                    tracing::warn!("the backend is left alone for a while: it cannot be reached");
                }
            }
            // One that hangs up on a single request says nothing of the way.
            Err(UpstreamError::Closed(_)) => drop(admitted),
            Ok(_) | Err(_) => admitted.answered(),
        }
        let response = answered?;
        Ok(response.map(|body| UpstreamBody::new(body, self.timeout, place)))
    }

    /// Where a target below the base is at the backend.
    fn address(&self, target: &str) -> Result<Uri, UpstreamError> {
        // `/` is the base itself; FHIR servers know it without the slash.
        let (slash, below) = match target.strip_prefix('/').unwrap_or(target) {
            "" => ("", ""),
            below if below.starts_with('?') => ("", below),
            below => ("/", below),
        };
        let root = if self.base.is_empty() && slash.is_empty() { "/" } else { "" };
        let mut whole = BytesMut::with_capacity(self.base.len() + below.len() + 1);
        for part in [&self.base, root, slash, below] {
            whole.extend_from_slice(part.as_bytes());
        }
        PathAndQuery::from_maybe_shared(whole.freeze())
            .map(Uri::from)
            .map_err(|cause| UpstreamError::Target(cause.to_string()))
    }
}

/// What is asked of the backend, as often as it must be.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// Path and query below the base, as in `Observation?code=x`; a slash before it means the same.
    pub(super) target: &'a str,
    pub(super) body: &'a Bytes,
    /// Makes the header fields.
    pub(super) fields: &'a (dyn Fn() -> HeaderMap + Sync),
}

/// The server that a base names, as `Host` says it.
fn host(base: &Uri) -> Option<HeaderValue> {
    let (scheme, authority) = (base.scheme()?, base.authority()?);
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let named = match authority.port_u16() {
        Some(port) if port != usual => format!("{}:{port}", authority.host()),
        Some(_) | None => authority.host().to_owned(),
    };
    HeaderValue::try_from(named).ok()
}

fn tls(backend: &Backend) -> Result<ClientConfig, UpstreamSetup> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &backend.ca {
        let wrong = |cause: String| UpstreamSetup::Ca { path: path.clone(), cause };
        let found = CertificateDer::pem_file_iter(path).map_err(|cause| wrong(cause.to_string()))?;
        for ca in found {
            let ca = ca.map_err(|cause| wrong(cause.to_string()))?;
            roots.add(ca).map_err(|cause| wrong(cause.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| UpstreamSetup::Unusable(cause.to_string()))?;
    let config = config.with_root_certificates(roots);
    let Some(files) = &backend.client_certificate else { return Ok(config.with_no_client_auth()) };
    let (chain, key) = pair(files)?;
    config.with_client_auth_cert(chain, key).map_err(|cause| unfit(files, &cause))
}

/// The certificate chain and key that are shown to the backend (TLS-8).
fn pair(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), UpstreamSetup> {
    let found = CertificateDer::pem_file_iter(&files.certificate).map_err(|cause| unfit(files, &cause))?;
    let chain: Vec<_> = found.collect::<Result<_, _>>().map_err(|cause| unfit(files, &cause))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| unfit(files, &cause))?;
    Ok((chain, key))
}

fn unfit(files: &CertificateFiles, cause: &dyn std::fmt::Display) -> UpstreamSetup {
    UpstreamSetup::Certificate { path: files.certificate.clone(), cause: cause.to_string() }
}
