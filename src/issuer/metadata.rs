//! An authorization server's own metadata (RFC 8414, OpenID Connect Discovery 1.0; DISC-21).

use serde_json::Value;
use url::Url;

use super::error::IssuerError;
use super::kept::Renewal;
use crate::oauth::{CallError, Fetched, Fetcher, Terms};
use crate::token::object;

/// Metadata that names the right issuer.
#[derive(Debug)]
pub(super) struct Metadata {
    document: std::sync::Arc<Value>,
    source: Url,
}

impl Metadata {
    /// Fetches it from the first address that has it, or learns there that what is kept on the terms `known` has not
    /// changed.
    pub(super) async fn fetch(
        fetcher: &Fetcher,
        (issuer, configured): (&str, Option<&Url>),
        known: Option<&Terms>,
    ) -> Result<Renewal<Self>, IssuerError> {
        let mut last = IssuerError::EndpointMissing { member: "issuer" };
        for url in configured.map_or_else(|| addresses(issuer), |url| vec![url.clone()]) {
            let fetched = fetcher.fetch(&url, known).await.map_err(IssuerError::from);
            let read = fetched.and_then(|fetched| match fetched {
                Fetched::Body(bytes, terms) => {
                    Self::read(&bytes, &url, issuer).map(|metadata| Renewal::New(metadata, terms))
                }
                Fetched::Unchanged(terms) => Ok(Renewal::Same(terms)),
            });
            match read {
                Ok(renewal) => return Ok(renewal),
                // Nobody answers there: the next address has the same host.
                Err(
                    error @ IssuerError::Call(CallError::TimedOut { .. } | CallError::Unreachable { .. }),
                ) => {
                    return Err(error);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn read(bytes: &[u8], url: &Url, issuer: &str) -> Result<Self, IssuerError> {
        let document =
            object(bytes).map_err(|fault| CallError::Unreadable { url: url.to_string(), fault })?;
        let found = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if found != issuer {
            return Err(IssuerError::IssuerDiffers {
                found: crate::token::Quoted::new(found).to_string(),
                expected: issuer.to_owned(),
            });
        }
        Ok(Self { document: std::sync::Arc::new(Value::Object(document)), source: url.clone() })
    }

    /// The document as it was published.
    pub(super) fn document(&self) -> std::sync::Arc<Value> {
        std::sync::Arc::clone(&self.document)
    }

    /// An address it gives, on the issuer's own host or on that of the metadata.
    ///
    /// Trust in keys, and the gateway's credentials, go nowhere else unless the configuration says so (KEYS-013).
    pub(super) fn endpoint(&self, member: &'static str, issuer: &str) -> Result<Url, IssuerError> {
        self.own(self.document.get(member), member, issuer)
    }

    /// The same for a client that presents a certificate: `mtls_endpoint_aliases` first (RFC 8705 §5).
    pub(super) fn endpoint_by_certificate(
        &self,
        member: &'static str,
        issuer: &str,
    ) -> Result<Url, IssuerError> {
        let alias = self.document.get("mtls_endpoint_aliases").and_then(|aliases| aliases.get(member));
        self.own(alias.or_else(|| self.document.get(member)), member, issuer)
    }

    fn own(&self, address: Option<&Value>, member: &'static str, issuer: &str) -> Result<Url, IssuerError> {
        let text = address.and_then(Value::as_str);
        let url = text.and_then(|text| Url::parse(text).ok());
        let url = url.ok_or(IssuerError::EndpointMissing { member })?;
        let own = Url::parse(issuer).ok();
        let hosts = [own.as_ref().and_then(Url::host), self.source.host()];
        if url.host().is_some() && hosts.contains(&url.host()) {
            return Ok(url);
        }
        Err(IssuerError::HostForeign { member, url: url.to_string() })
    }
}

/// Where metadata of this issuer may be: RFC 8414 §3.1 puts the well-known segment before the issuer's path, OpenID
/// Discovery §4 behind it.
#[must_use]
pub fn addresses(issuer: &str) -> Vec<Url> {
    let Ok(base) = Url::parse(issuer) else { return Vec::new() };
    let path = base.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DISC-21: both places, with and without a path.
    #[test]
    fn well_known_addresses() {
        let table = [
            (
                "https://as.test",
                "https://as.test/.well-known/oauth-authorization-server",
                "https://as.test/.well-known/openid-configuration",
            ),
            (
                "https://as.test/realms/a",
                "https://as.test/.well-known/oauth-authorization-server/realms/a",
                "https://as.test/realms/a/.well-known/openid-configuration",
            ),
            (
                "https://as.test:8443/a/",
                "https://as.test:8443/.well-known/oauth-authorization-server/a",
                "https://as.test:8443/a/.well-known/openid-configuration",
            ),
        ];
        for (issuer, first, second) in table {
            let addresses: Vec<_> = addresses(issuer).iter().map(Url::to_string).collect();
            assert_eq!(addresses, [first, second], "{issuer}");
        }
    }

    /// DISC-21, KEYS-012: another issuer's metadata is nobody's, however similar the name.
    #[test]
    fn metadata_names_its_issuer() {
        let url = Url::parse("https://as.test/m").unwrap();
        let table = [
            (r#"{"issuer":"https://as.test"}"#, true),
            (r#"{"issuer":"https://as.test/"}"#, false),
            (r#"{"issuer":"https://evil.test"}"#, false),
            (r#"{"issuer":["https://as.test"]}"#, false),
            (r#"{}"#, false),
            (r#"{"issuer":"https://evil.test","issuer":"https://as.test"}"#, false),
            ("<html>", false),
        ];
        for (body, fine) in table {
            assert_eq!(Metadata::read(body.as_bytes(), &url, "https://as.test").is_ok(), fine, "{body}");
        }
    }

    /// KEYS-013: addresses on other hosts are for the configuration to give.
    #[test]
    fn endpoints_stay_with_the_issuer() {
        let source = Url::parse("https://internal.test/m").unwrap();
        let table = [
            (r#""https://as.test/jwks""#, true),
            (r#""https://as.test:9443/jwks""#, true),
            (r#""https://internal.test/jwks""#, true),
            (r#""https://as.test.evil.test/jwks""#, false),
            (r#""https://evil.test/as.test/jwks""#, false),
            (r#""https://as.test@evil.test/jwks""#, false),
            (r#""/jwks""#, false),
            ("7", false),
            ("null", false),
        ];
        for (address, fine) in table {
            let body = format!(r#"{{"issuer":"https://as.test","jwks_uri":{address}}}"#);
            let metadata = Metadata::read(body.as_bytes(), &source, "https://as.test").unwrap();
            assert_eq!(metadata.endpoint("jwks_uri", "https://as.test").is_ok(), fine, "{address}");
        }
    }
}
