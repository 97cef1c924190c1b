//! Calls to one authorization server: TLS, deadline, size limit, no redirects.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode};
use url::{Host, Url};

use super::error::CallError;
use super::terms::Terms;
use crate::config::{CertificateFiles, IssuerClient, IssuerClientAuth};
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
        let call = async {
            let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
            let terms = Terms::read(url, answer.headers());
            if conditional && answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(Fetched::Unchanged(terms));
            }
            Ok(Fetched::Body(body(answer, url).await?, terms))
        };
        self.in_time(call, url).await
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
        let expected = self.expects.name();
        let request = self.form(url, form, credentials)?;
        let call = async {
            let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
            let found = media_type(answer.headers());
            let body = body(answer, url).await?;
            if self.expects != Media::Json && found != expected {
                let found = Quoted::new(&found);
                return Err(CallError::MediaType { url: url.to_string(), found, expected });
            }
            Ok(body)
        };
        self.in_time(call, url).await
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
        let request = self.form(url, form, credentials)?;
        let call = async {
            let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
            let (status, retry_after) = (answer.status(), asked_to_wait(&answer));
            Ok(Reply { status, retry_after, body: whole(answer, url).await? })
        };
        self.in_time(call, url).await
    }

    fn form(
        &self,
        url: &Url,
        form: String,
        credentials: Option<HeaderValue>,
    ) -> Result<RequestBuilder, CallError> {
        check_address(url)?;
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, self.expects.name())
            .body(form);
        Ok(match credentials {
            Some(credentials) => request.header(AUTHORIZATION, credentials),
            None => request,
        })
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

/// An answer to a form, whatever its status. `Debug` shows no body: it may hold a token.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// How long the server asks to be left alone, when it is busy.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The body of a 200 answer, up to a limit.
async fn body(answer: Response, url: &Url) -> Result<Vec<u8>, CallError> {
    let status = answer.status();
    if status != StatusCode::OK {
        let retry_after = asked_to_wait(&answer);
        return Err(CallError::Status { url: url.to_string(), status: status.as_u16(), retry_after });
    }
    whole(answer, url).await
}

async fn whole(mut answer: Response, url: &Url) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(url, &error))? {
        if body.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
            return Err(CallError::TooLarge { url: url.to_string(), limit: MAX_ANSWER_BYTES });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What a busy server asks for.
fn asked_to_wait(answer: &Response) -> Option<Duration> {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status());
    if busy { retry_after(answer.headers()) } else { None }
}

/// The media type without parameters; empty when there is none.
fn media_type(headers: &HeaderMap) -> String {
    let field = headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok()).unwrap_or_default();
    field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Seconds, or a date (RFC 9110 §10.2.3).
#[expect(
    clippy::disallowed_methods,
    reason = "a date is compared with this machine's clock, not with a request's"
)]
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
