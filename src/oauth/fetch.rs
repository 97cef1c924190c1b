//! Calls to one authorization server: TLS, deadline, size limit, no redirects.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Method, Response, StatusCode};
use url::{Host, Url};

use super::error::CallError;
use super::terms::Terms;
use crate::config::{CertificateFiles, IssuerClient, IssuerClientAuth};
use crate::telemetry::Step;
use crate::token::Quoted;

/// The largest answer that is read: metadata, key sets and introspection answers are far smaller.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The HTTP client for one authorization server.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    timeout: Duration,
    expects: Media,
    files: [u8; 32],
}

/// What an answer to a form must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// A signed introspection answer (RFC 9701), and called so.
    IntrospectionJwt,
    /// JSON, whatever it is called.
    Json,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::IntrospectionJwt => "application/token-introspection+jwt",
            Self::Json => "application/json",
        }
    }
}

/// An answer to a question that may have been asked before.
#[derive(Debug)]
pub enum Fetched {
    /// 200.
    Body(Vec<u8>, Terms),
    /// 304: what was kept is still so.
    Unchanged(Terms),
}

/// What a [`Fetcher`] is made with.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'s> {
    /// The server's name, for error texts.
    pub server: &'s str,
    /// Longest wait for a whole call.
    pub timeout: Duration,
    /// Extra trust anchor, PEM.
    pub ca: Option<&'s Path>,
    /// The gateway's credentials, for the certificate among them (RFC 8705).
    pub client: Option<&'s IssuerClient>,
}

impl Fetcher {
    /// Builds the HTTP client.
    ///
    /// # Errors
    /// A trust anchor or certificate that cannot be used.
    pub fn new(server: Setup<'_>) -> Result<Self, CallError> {
        let mut builder = Client::builder()
            .timeout(server.timeout)
            .connect_timeout(server.timeout)
            // A redirect would take the gateway's credentials, or its trust, to another place.
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("pforte/", env!("CARGO_PKG_VERSION")));
        let mut files = digest::Context::new(&digest::SHA256);
        if let Some(path) = server.ca {
            let pem = read(path)?;
            note(&mut files, &pem);
            builder = builder.tls_certs_merge(anchors(path, &pem)?);
        }
        if let Some(IssuerClientAuth::Tls(own)) = server.client.map(|client| &client.auth) {
            let pem = [read(&own.certificate)?, b"\n".to_vec(), read(&own.key)?].concat();
            note(&mut files, &pem);
            builder = builder.identity(identity(own, &pem)?);
        }
        let client = builder.build().map_err(|error| CallError::ClientUnusable {
            server: server.server.to_owned(),
            cause: chain(&error),
        })?;
        let mut read = [0; 32];
        read.copy_from_slice(files.finish().as_ref());
        Ok(Self { client, timeout: server.timeout, expects: Media::Json, files: read })
    }

    /// Whether both were made with files of the same content: trust anchors, certificate and key.
    #[must_use]
    pub fn same_files(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// The HTTP client itself, for whoever wants to see answers that are refused here; it has the same trust and the same
    /// certificate, and no size limit.
    #[must_use]
    pub fn http(&self) -> &Client {
        &self.client
    }

    /// The same client, for forms that are answered with another media type.
    #[must_use]
    pub fn expecting(&self, media: Media) -> Self {
        Self { expects: media, ..self.clone() }
    }

    /// The answer to a GET: 200, or 304 when `known` are the terms of an answer that is kept.
    ///
    /// # Errors
    /// See [`CallError`]; a 304 that nobody asked for is one.
    pub async fn fetch(&self, url: &Url, known: Option<&Terms>) -> Result<Fetched, CallError> {
        check_address(url)?;
        let conditions = known.map(|known| known.conditions(url)).unwrap_or_default();
        let conditional = !conditions.is_empty();
        let request = self.client.get(url.clone()).headers(conditions).header(ACCEPT, "application/json");
        let step = Step::to_issuer(&Method::GET, url);
        let call = async {
            let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
            step.answered(answer.status());
            let terms = Terms::read(url, answer.headers());
            if conditional && answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(Fetched::Unchanged(terms));
            }
            Ok(Fetched::Body(reply(answer, url).await?.granted(url)?, terms))
        };
        self.in_time(call, url).await.inspect_err(|_| step.failed("call_failed"))
    }

    /// The body of a 200 answer to a form that is posted, with the `Authorization` field given.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post(
        &self,
        url: &Url,
        form: String,
        credentials: Option<HeaderValue>,
    ) -> Result<Vec<u8>, CallError> {
        self.ask(url, form, credentials).await?.granted(url)
    }

    /// Any answer to a form that is posted: token endpoints say in the body why they refuse (RFC 6749 §5.2).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ask(
        &self,
        url: &Url,
        form: String,
        credentials: Option<HeaderValue>,
    ) -> Result<Reply, CallError> {
        check_address(url)?;
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let expected = self.expects.name();
        let request = request.header(ACCEPT, expected);
        let step = Step::to_issuer(&Method::POST, url);
        let call = async {
            let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
            step.answered(answer.status());
            let found = media_type(answer.headers());
            let reply = reply(answer, url).await?;
            if reply.status == StatusCode::OK && self.expects != Media::Json && found != expected {
                let found = Quoted::new(&found);
                return Err(CallError::MediaType { url: url.to_string(), found, expected });
            }
            Ok(reply)
        };
        self.in_time(call, url).await.inspect_err(|_| step.failed("call_failed"))
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        url: &Url,
    ) -> Result<T, CallError> {
        let timed_out = |_| CallError::TimedOut { url: url.to_string() };
        tokio::time::timeout(self.timeout, call).await.map_err(timed_out)?
    }
}

/// An answer, whatever its status. `Debug` shows no body: it may hold a token.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Vec<u8>,
    /// When a busy server wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    fn granted(self, url: &Url) -> Result<Vec<u8>, CallError> {
        if self.status != StatusCode::OK {
            let (status, retry_after) = (self.status.as_u16(), self.retry_after);
            return Err(CallError::Status { url: url.to_string(), status, retry_after });
        }
        Ok(self.body)
    }
}

/// The whole answer, up to a limit.
async fn reply(mut answer: Response, url: &Url) -> Result<Reply, CallError> {
    let status = answer.status();
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let retry_after = if busy { retry_after(answer.headers()) } else { None };
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(url, &error))? {
        if body.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
            return Err(CallError::TooLarge { url: url.to_string(), limit: MAX_ANSWER_BYTES });
        }
        body.extend_from_slice(&piece);
    }
    Ok(Reply { status, body, retry_after })
}

/// The media type without parameters; empty when there is none.
fn media_type(headers: &HeaderMap) -> String {
    let field = headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok()).unwrap_or_default();
    field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// When a busy server wants to be asked again: seconds, or a date (RFC 9110 §10.2.3).
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a date is compared with this machine's clock, not with a request's"
)]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let field = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = field.parse().ok().map(Duration::from_secs);
    let date = || httpdate::parse_http_date(field).ok()?.duration_since(SystemTime::now()).ok();
    seconds.or_else(date)
}

#[expect(clippy::disallowed_methods, reason = "the files that calls rest on are this room's")]
fn read(path: &Path) -> Result<Vec<u8>, CallError> {
    std::fs::read(path).map_err(|error| unreadable(path, error.to_string()))
}

fn unreadable(path: &Path, cause: String) -> CallError {
    CallError::AnchorUnreadable { path: path.display().to_string(), cause }
}

/// Length first, so that no two lists of files look the same.
fn note(files: &mut digest::Context, content: &[u8]) {
    files.update(&content.len().to_be_bytes());
    files.update(content);
}

fn anchors(path: &Path, pem: &[u8]) -> Result<Vec<Certificate>, CallError> {
    let certificates = Certificate::from_pem_bundle(pem).map_err(|error| unreadable(path, chain(&error)))?;
    if certificates.is_empty() {
        return Err(unreadable(path, "it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// What the gateway presents in the handshake (RFC 8705 §2).
fn identity(own: &CertificateFiles, pem: &[u8]) -> Result<Identity, CallError> {
    Identity::from_pem(pem).map_err(|error| unreadable(&own.certificate, chain(&error)))
}

/// Plain http is for loopback only.
fn check_address(url: &Url) -> Result<(), CallError> {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(CallError::UrlInsecure { url: url.to_string() })
}

fn unreachable(url: &Url, error: &reqwest::Error) -> CallError {
    if error.is_timeout() {
        return CallError::TimedOut { url: url.to_string() };
    }
    CallError::Unreachable { url: url.to_string(), cause: chain(error) }
}

/// The innermost cause, which names what happened; the outer ones repeat the address.
fn chain(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TOK-30: keys and answers travel over TLS, except on this very machine.
    #[test]
    fn plain_http_is_for_loopback() {
        let table = [
            ("https://as.test/jwks", true),
            ("http://127.0.0.1:1/jwks", true),
            ("http://[::1]:1/jwks", true),
            ("http://localhost/jwks", true),
            ("http://as.test/jwks", false),
            ("http://localhost.evil.test/jwks", false),
            ("http://10.0.0.1/jwks", false),
            ("ftp://127.0.0.1/jwks", false),
            ("file:///etc/passwd", false),
        ];
        for (url, fine) in table {
            assert_eq!(check_address(&Url::parse(url).unwrap()).is_ok(), fine, "{url}");
        }
    }
}
