//! Calls to one authorization server: TLS, deadline, size limit, no redirects.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use url::{Host, Url};

use super::error::CallError;
use crate::config::IssuerClient;

/// The largest answer that is read: metadata, key sets and introspection answers are far smaller.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The HTTP client for one authorization server.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    timeout: Duration,
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
        if let Some(path) = server.ca {
            builder = builder.tls_certs_merge(anchors(path)?);
        }
        let client = builder.build().map_err(|error| CallError::ClientUnusable {
            server: server.server.to_owned(),
            cause: chain(&error),
        })?;
        Ok(Self { client, timeout: server.timeout })
    }

    /// The body of a 200 answer to a GET.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn fetch(&self, url: &Url) -> Result<Vec<u8>, CallError> {
        check_address(url)?;
        self.body(self.client.get(url.clone()), url).await
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
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(credentials) = credentials {
            request = request.header(reqwest::header::AUTHORIZATION, credentials);
        }
        self.reply(request, url).await
    }

    async fn body(&self, request: RequestBuilder, url: &Url) -> Result<Vec<u8>, CallError> {
        self.reply(request, url).await?.granted(url)
    }

    async fn reply(&self, request: RequestBuilder, url: &Url) -> Result<Reply, CallError> {
        let call = async {
            let failed = |error: reqwest::Error| unreachable(url, &error);
            let mut answer = request.header(ACCEPT, "application/json").send().await.map_err(failed)?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(failed)? {
                if body.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
                    return Err(CallError::TooLarge { url: url.to_string(), limit: MAX_ANSWER_BYTES });
                }
                body.extend_from_slice(&piece);
            }
            Ok(Reply { status, body })
        };
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
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    fn granted(self, url: &Url) -> Result<Vec<u8>, CallError> {
        if self.status != StatusCode::OK {
            return Err(CallError::Status { url: url.to_string(), status: self.status.as_u16() });
        }
        Ok(self.body)
    }
}

#[expect(clippy::disallowed_methods, reason = "an issuer's trust anchor is this room's file")]
fn anchors(path: &Path) -> Result<Vec<Certificate>, CallError> {
    let unreadable = |cause: String| CallError::AnchorUnreadable { path: path.display().to_string(), cause };
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(chain(&error)))?;
    if certificates.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    Ok(certificates)
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
