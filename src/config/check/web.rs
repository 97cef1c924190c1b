//! URLs, origins, addresses and header names.

use std::net::SocketAddr;

use http::HeaderName;
use url::{Host, Url};

use super::Check;
use crate::config::file::{Cors, IdentityHeaders};
use crate::config::settings;

/// Where a URL may be plain http.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainHttp {
    /// Everywhere, by the operator's word.
    Allowed,
    /// Only where nobody else listens.
    Loopback,
    /// Nowhere.
    Refused,
    /// Everywhere, with a warning beyond loopback.
    Warned,
}

/// Whether a URL may carry a query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// It may.
    Allowed,
    /// It must not: paths are appended to it, or it is compared.
    Refused,
}

/// Header names that are not the operator's to set: they steer HTTP, authentication, FHIR, or this gateway.
const RESERVED: [&str; 38] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "origin",
    "prefer",
    "range",
    "referer",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-intermediary",
    "x-provenance",
    "x-request-id",
];

const RESERVED_STARTS: [&str; 6] =
    ["if-", "proxy-", "sec-", "access-control-", "x-http-method", "x-security-context"];

/// `localhost`, 127.0.0.0/8 or ::1.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Check<'_> {
    /// An absolute http(s) URL without user, password and fragment.
    pub(super) fn url(&mut self, key: &str, text: &str, (plain, query): (PlainHttp, Query)) -> Option<Url> {
        let expected = match plain {
            PlainHttp::Allowed | PlainHttp::Warned => "an absolute http or https URL",
            PlainHttp::Refused => "an https URL",
            PlainHttp::Loopback => "an https URL (http only on loopback hosts)",
        };
        let parsed =
            Url::parse(text).ok().filter(|url| url.has_host() && !text.contains(char::is_whitespace));
        let Some(url) = parsed else {
            self.wrong(key, expected, "write `https://…`");
            return None;
        };
        let sound = match url.scheme() {
            "https" => true,
            "http" => match plain {
                PlainHttp::Allowed | PlainHttp::Warned => true,
                PlainHttp::Loopback => is_loopback(&url),
                PlainHttp::Refused => false,
            },
            _ => false,
        };
        if !sound {
            self.wrong(key, expected, "write `https://…`");
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.wrong(key, "a URL without user and password", "keep credentials in files, not in URLs");
            return None;
        }
        if url.fragment().is_some() || (query == Query::Refused && url.query().is_some()) {
            self.wrong(key, "a URL without query and fragment", "remove what follows `?` or `#`");
            return None;
        }
        if plain == PlainHttp::Warned && url.scheme() == "http" && !is_loopback(&url) {
            self.warn(
                key,
                "https beyond loopback",
                "use https, or keep this network to the gateway and that server",
            );
        }
        Some(url)
    }

    /// A FHIR base: its path is a plain prefix, and a trailing slash means nothing.
    pub(super) fn base(&mut self, key: &str, text: &str, plain: PlainHttp) -> Option<Url> {
        let mut url = self.url(key, text, (plain, Query::Refused))?;
        let path =
            text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        let plain_path = path.trim_end_matches('/').split('/').all(|segment| {
            let letters = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            letters
                && !matches!(segment, "." | "..")
                && (!segment.is_empty() || path.is_empty() || path == "/")
        });
        if !plain_path {
            self.wrong(
                key,
                "a path of plain segments (letters, digits, `-`, `.`, `_`, `~`)",
                "choose a path that needs no percent-encoding and has no empty, `.` or `..` segment",
            );
            return None;
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
        }
        Some(url)
    }

    /// An IP address and port.
    pub(super) fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let mend = match text.strip_prefix("localhost:") {
                Some(port) => format!("write `127.0.0.1:{port}`"),
                None => "write `0.0.0.0:8443` or `[::]:8443` to listen on every interface".to_owned(),
            };
            self.wrong(key, "an IP address and a port", mend);
        }
        address
    }

    /// Origins that browsers may call from: exact, never a wildcard.
    pub(super) fn origins(&mut self, cors: Cors) -> Vec<String> {
        let origins = cors.origins.unwrap_or_default();
        for (i, origin) in origins.iter().enumerate() {
            let key = format!("cors.origins[{}]", i + 1);
            let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            match url {
                // Browsers send the serialised origin, and it is compared as text (RFC 6454 §6.2).
                Some(url) if url.origin().ascii_serialization() == *origin => {
                    if url.scheme() == "http" && !is_loopback(&url) {
                        self.warn(
                            &key,
                            "an https origin",
                            "serve the app by https: its tokens travel in the clear",
                        );
                    }
                }
                Some(url) => {
                    let mend = format!("write `{}`", url.origin().ascii_serialization());
                    self.wrong(&key, "an origin: scheme, host and port only, lower case", mend);
                }
                None => self.wrong(
                    &key,
                    "an exact origin, never `*` or `null`",
                    "list each app's origin, such as `https://app.example`",
                ),
            }
        }
        origins
    }

    /// Identity headers: real header names, each once, none that means something else.
    pub(super) fn identity_headers(&mut self, written: IdentityHeaders) -> settings::IdentityHeaders {
        let mut taken: Vec<HeaderName> = Vec::new();
        let mut name = |part: &str, written: Option<String>| {
            let key = format!("backend.identity_headers.{part}");
            let name = self.header_name(&key, &written?, "X-Forwarded-User")?;
            if taken.contains(&name) {
                self.wrong(&key, "a header of its own", "use another name for one of the two");
                return None;
            }
            taken.push(name.clone());
            Some(name)
        };
        settings::IdentityHeaders {
            user: name("user", written.user),
            patient: name("patient", written.patient),
            client: name("client", written.client),
            scopes: name("scopes", written.scopes),
        }
    }

    /// The name of a field that the operator may choose.
    pub(super) fn header_name(&mut self, key: &str, text: &str, example: &str) -> Option<HeaderName> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            let mend = format!("write a name such as `{example}`");
            self.wrong(key, "a header name: letters, digits and `-`", mend);
            return None;
        };
        // Some servers read `X_User` as `X-User`: a client could then send what the gateway removes.
        let reserved = RESERVED.contains(&name.as_str())
            || RESERVED_STARTS.iter().any(|start| name.as_str().starts_with(start))
            || name.as_str().contains('_');
        if reserved {
            let expected = "a header that HTTP, FHIR and this gateway do not use, without `_`";
            self.wrong(key, expected, format!("write a name of your own such as `{example}`"));
            return None;
        }
        Some(name)
    }
}
