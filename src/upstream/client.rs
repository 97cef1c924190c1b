//! Sends one request, and names what went wrong.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::body::UpstreamBody;
use super::headers::{Ours, incoming, outgoing};
use super::{UpstreamError, UpstreamSetup};
use crate::config::{Backend, CertificateFiles};
use crate::rewrite::Outbound;

/// Longest wait for a connection; a backend in the same network answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes of an answer's head.
const HEAD_BYTES: usize = 64 * 1024;

/// The connection pool to the backend.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: Scheme,
    authority: Authority,
    /// The base's path, without a trailing slash.
    base: String,
    timeout: Duration,
    places: Arc<Semaphore>,
}

impl Upstream {
    /// Makes the pool; connects to nothing. `requests` is how many may wait for the backend at once.
    ///
    /// # Errors
    /// A trust anchor that cannot be read, or a URL that is none.
    pub fn new(backend: &Backend, requests: usize) -> Result<Self, UpstreamSetup> {
        let unusable = |cause: http::Error| UpstreamSetup::Unusable(cause.to_string());
        let uri: Uri = backend.url.as_str().parse().map_err(|cause| unusable(http::Error::from(cause)))?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
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
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(HEAD_BYTES)
            .http2_max_header_list_size(HEAD_BYTES as u32)
            .http2_keep_alive_interval(IDLE)
            .http2_adaptive_window(true)
            .build(connector);
        Ok(Self {
            client,
            scheme,
            authority,
            base: uri.path().trim_end_matches('/').to_owned(),
            timeout: backend.timeout,
            places: Arc::new(Semaphore::new(requests)),
        })
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
        let wrong = |cause: http::Error| UpstreamError::Target(cause.to_string());
        let target = outbound.target();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let mut request = Request::builder()
            .method(outbound.method())
            .uri(target)
            .body(Full::new(outbound.body().clone()))
            .map_err(wrong)?;
        *request.headers_mut() = outgoing(outbound.headers(), ours);
        let (head, body) = self.send(request).await?.into_parts();
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = incoming(&head.headers)?;
        Ok(response)
    }

    /// Sends a request whose URI is a path and query below the backend's base, as in `/Observation?code=x`. A safe
    /// request is sent once more when the connection ended before a byte of the answer (HTTP-16). Redirects are not
    /// followed.
    ///
    /// # Errors
    /// See [`UpstreamError`]; errors inside the body come from the body.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_full| UpstreamError::Overloaded)?;
        let (head, body) = request.into_parts();
        let uri = self.address(&head.uri)?;
        let again = [Method::GET, Method::HEAD].contains(&head.method);
        let attempt = || {
            let mut request = Request::new(body.clone());
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = head.headers.clone();
            self.client.request(request)
        };
        let answered = async {
            match attempt().await.map_err(|cause| named(&cause)) {
                Err(UpstreamError::Closed(_)) if again => attempt().await.map_err(|cause| named(&cause)),
                other => other,
            }
        };
        let response: Response<Incoming> = tokio::time::timeout(self.timeout, answered)
            .await
            .map_err(|_elapsed| UpstreamError::Timeout)??;
        Ok(response.map(|body| UpstreamBody::new(body, self.timeout, place)))
    }

    fn address(&self, target: &Uri) -> Result<Uri, UpstreamError> {
        let wrong = |cause: String| UpstreamError::Target(cause);
        if target.authority().is_some() || target.scheme().is_some() {
            return Err(wrong("it names a server".to_owned()));
        }
        let below = target.path_and_query().map_or("", PathAndQuery::as_str);
        // `/` is the base itself; FHIR servers know it without the slash.
        let below = match below.strip_prefix('/') {
            Some("") => "",
            Some(rest) if rest.starts_with('?') => rest,
            Some(_) => below,
            None => return Err(wrong("it is no path".to_owned())),
        };
        let whole = format!("{}{below}", self.base);
        let whole = if whole.starts_with('/') { whole } else { format!("/{whole}") };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(whole)
            .build()
            .map_err(|cause| wrong(cause.to_string()))
    }
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

fn named(cause: &ClientError) -> UpstreamError {
    let text = chain(cause);
    if let Some(io) = find::<std::io::Error>(cause)
        && io.kind() == ErrorKind::TimedOut
    {
        return UpstreamError::Timeout;
    }
    if find::<rustls::Error>(cause).is_some() {
        return UpstreamError::Tls(text);
    }
    if cause.is_connect() {
        return match find::<std::io::Error>(cause) {
            Some(io) if io.kind() == ErrorKind::ConnectionRefused => UpstreamError::Refused(text),
            // rustls hands its errors on inside an `InvalidData`.
            Some(io) if io.kind() == ErrorKind::InvalidData => UpstreamError::Tls(text),
            _ => UpstreamError::Connect(text),
        };
    }
    match find::<hyper::Error>(cause) {
        Some(hyper) if hyper.is_timeout() => UpstreamError::Timeout,
        Some(hyper) if hyper.is_parse() => UpstreamError::Garbage(text),
        _ => UpstreamError::Closed(text),
    }
}

/// An error of a kind in the chain of causes, also inside `io::Error`, which hides what it wraps from `source`.
fn find<'e, E: StdError + 'static>(cause: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(cause);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// The whole chain of causes in one line, for the operator.
pub(super) fn chain(cause: &(dyn StdError + 'static)) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
