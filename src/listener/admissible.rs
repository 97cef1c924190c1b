//! What a request head must look like before anybody reads meaning into it.
//!
//! HTTP libraries forward what RFC 9110 leaves to the server: foreign authorities, two `Host` fields, upgrades, unknown
//! methods. A server behind us may read those differently from us, so each is refused here (HTTP-3, -6, -17, TLS-7).

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, ORIGIN, RANGE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use url::Url;

/// Which protocol a connection speaks; settled by ALPN, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (and 1.0).
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why a request head is refused before it is classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `Host`, `:authority` or the absolute target name another server.
    AuthorityForeign,
    /// `Host` and the target's authority differ, or carry user information.
    AuthorityMismatch,
    /// `Connection` names a field that is not the connection's.
    ConnectionField,
    /// An `Expect` we do not know.
    ExpectationUnknown,
    /// `Content-Length` and `Transfer-Encoding` do not give one body length.
    FramingAmbiguous,
    /// A field name that another server could take for a framing field.
    HeaderNameAmbiguous,
    /// The fields together, one of them, or their number exceed the limit.
    HeadersTooLarge,
    /// Bytes that are no HTTP/1.1 request head.
    HeadMalformed,
    /// No `Host`, an empty one, or no `:authority`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// CONNECT or TRACE.
    MethodForbidden,
    /// A method we do not implement; methods are case-sensitive.
    MethodUnknown,
    /// The target's scheme is not the connection's.
    SchemeMismatch,
    /// The target is in asterisk or authority form.
    TargetForm,
    /// The target exceeds the limit.
    TargetTooLong,
    /// `TE` asks for something other than `trailers`.
    TransferExtension,
    /// A protocol upgrade.
    Upgrade,
    /// Neither HTTP/1.0, HTTP/1.1 nor HTTP/2.
    VersionUnsupported,
}

impl Refusal {
    /// The status that answers it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::AuthorityForeign => StatusCode::MISDIRECTED_REQUEST,
            Self::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::MethodForbidden => StatusCode::METHOD_NOT_ALLOWED,
            Self::MethodUnknown => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::AuthorityMismatch
            | Self::ConnectionField
            | Self::FramingAmbiguous
            | Self::HeaderNameAmbiguous
            | Self::HeadMalformed
            | Self::HostMissing
            | Self::HostRepeated
            | Self::SchemeMismatch
            | Self::TargetForm
            | Self::TransferExtension
            | Self::Upgrade => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable reason id.
    #[must_use]
    pub fn reason_id(self) -> &'static str {
        match self {
            Self::AuthorityForeign => "authority_foreign",
            Self::AuthorityMismatch => "authority_mismatch",
            Self::ConnectionField => "connection_field",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::FramingAmbiguous => "framing_ambiguous",
            Self::HeaderNameAmbiguous => "header_name_ambiguous",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeadMalformed => "head_malformed",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::MethodForbidden => "method_forbidden",
            Self::MethodUnknown => "method_unknown",
            Self::SchemeMismatch => "scheme_mismatch",
            Self::TargetForm => "target_form",
            Self::TargetTooLong => "target_too_long",
            Self::TransferExtension => "transfer_extension",
            Self::Upgrade => "upgrade_refused",
            Self::VersionUnsupported => "version_unsupported",
        }
    }

    /// One sentence for the client.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AuthorityForeign => "The request is addressed to another server.",
            Self::AuthorityMismatch => "Host and request target name different servers.",
            Self::ConnectionField => "The Connection header names a field that is not its own.",
            Self::ExpectationUnknown => "Only the expectation 100-continue is supported.",
            Self::FramingAmbiguous => "The length of the request body is ambiguous.",
            Self::HeaderNameAmbiguous => "A header field name is ambiguous.",
            Self::HeadersTooLarge => "The header fields are too large.",
            Self::HeadMalformed => "The request is not well-formed HTTP.",
            Self::HostMissing => "The request names no host.",
            Self::HostRepeated => "The request names more than one host.",
            Self::MethodForbidden => "This method is not allowed.",
            Self::MethodUnknown => "This method is not implemented.",
            Self::SchemeMismatch => "The scheme of the target is not that of the connection.",
            Self::TargetForm => "The request target must be a path.",
            Self::TargetTooLong => "The request target is too long.",
            Self::TransferExtension => "The TE header may only say trailers.",
            Self::Upgrade => "Protocol upgrades are not supported.",
            Self::VersionUnsupported => "This HTTP version is not supported.",
        }
    }
}

/// What the checks compare with: who we are, and what fits.
#[derive(Debug, Clone)]
pub struct Rules {
    host: String,
    port: u16,
    scheme: Scheme,
    /// Ports on which a loopback name is also ours.
    loopback_ports: Vec<u16>,
    bounds: Bounds,
}

/// How long the parts of a head may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the request target.
    pub target: usize,
    /// Bytes of all header fields; one may take half of them.
    pub fields: usize,
}

impl Bounds {
    /// Fields of one head, as hyper bounds them over HTTP/1.1 too.
    pub(super) const COUNT: usize = 100;
}

impl Rules {
    /// Rules for a public URL; `listen_ports` are those on which loopback names are accepted too, so that health
    /// checks and people on the machine itself reach it.
    #[must_use]
    pub fn new(public_url: &Url, listen_ports: Vec<u16>, bounds: Bounds) -> Self {
        Self {
            host: public_url.host_str().unwrap_or_default().to_ascii_lowercase(),
            port: public_url.port_or_known_default().unwrap_or(443),
            scheme: if public_url.scheme() == "http" { Scheme::HTTP } else { Scheme::HTTPS },
            loopback_ports: listen_ports,
            bounds,
        }
    }

    /// Whether clients may be told to use this host by TLS only (RFC 6797). Not for an address, which the RFC excludes, nor
    /// for `localhost`, which belongs to everything on the client's machine.
    pub(super) fn by_tls_only(&self) -> bool {
        let bare = self.host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(&self.host);
        let local = bare == "localhost" || bare.ends_with(".localhost");
        self.scheme == Scheme::HTTPS && !local && bare.parse::<IpAddr>().is_err()
    }

    fn ours(&self, authority: &Authority) -> bool {
        let default_port = if self.scheme == Scheme::HTTP { 80 } else { 443 };
        let port = authority.port_u16().unwrap_or(default_port);
        let host = authority.host();
        (host.eq_ignore_ascii_case(&self.host) && port == self.port)
            || (loopback(host) && self.loopback_ports.contains(&port))
    }
}

fn loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a request head may be interpreted at all. `sni` is the name asked for in the TLS handshake.
///
/// # Errors
/// The first rule that the head breaks.
pub fn admissible(head: &Parts, rules: &Rules, over: Over<'_>) -> Result<(), Refusal> {
    if head.uri.to_string().len() > rules.bounds.target {
        return Err(Refusal::TargetTooLong);
    }
    if over.protocol == Protocol::Http2 {
        // Over HTTP/1.1 the bytes were counted as they came.
        sizes(&head.headers, rules.bounds)?;
    }
    method(&head.method)?;
    names(&head.headers)?;
    connection(&head.headers)?;
    fields(&head.headers)?;
    let authority = authority(head, over)?;
    if !rules.ours(&authority) {
        return Err(Refusal::AuthorityForeign);
    }
    if over.sni.is_some_and(|sni| !sni.eq_ignore_ascii_case(authority.host())) {
        return Err(Refusal::AuthorityForeign);
    }
    if !head.uri.path().starts_with('/') {
        return Err(Refusal::TargetForm);
    }
    Ok(())
}

/// What the connection below a request is.
#[derive(Debug, Clone, Copy)]
pub struct Over<'a> {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its scheme; absent when TLS ends in front of us and the scheme is unknown.
    pub scheme: Option<&'a Scheme>,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
}

/// HTTP-6: what HPACK made short is long again for everybody behind it.
fn sizes(headers: &HeaderMap, bounds: Bounds) -> Result<(), Refusal> {
    let mut left = bounds.fields;
    for (name, value) in headers {
        // With a colon, a space and a line end, as over HTTP/1.1.
        let size = name.as_str().len().saturating_add(value.len()).saturating_add(4);
        left =
            left.checked_sub(size).filter(|_| size <= bounds.fields / 2).ok_or(Refusal::HeadersTooLarge)?;
    }
    if headers.len() > Bounds::COUNT { Err(Refusal::HeadersTooLarge) } else { Ok(()) }
}

fn method(method: &Method) -> Result<(), Refusal> {
    // HTTP-17: TRACE would echo the Authorization field; CONNECT would make us a tunnel.
    if *method == Method::TRACE || *method == Method::CONNECT {
        return Err(Refusal::MethodForbidden);
    }
    let known = [
        Method::DELETE,
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
        Method::POST,
        Method::PUT,
    ];
    if known.contains(method) { Ok(()) } else { Err(Refusal::MethodUnknown) }
}

/// CGI-style servers fold `_` into `-`: these twins would be framing or identity to them.
fn names(headers: &HeaderMap) -> Result<(), Refusal> {
    let framing = [&CONTENT_LENGTH, &TRANSFER_ENCODING, &HOST, &TE, &UPGRADE, &EXPECT];
    let twin = |name: &HeaderName| {
        name.as_str().contains('_') && framing.iter().any(|f| f.as_str() == name.as_str().replace('_', "-"))
    };
    if headers.keys().any(twin) { Err(Refusal::HeaderNameAmbiguous) } else { Ok(()) }
}

/// `Connection: Authorization` would have one hop see a credential or a precondition and the next not (HTTP-2).
fn connection(headers: &HeaderMap) -> Result<(), Refusal> {
    const END_TO_END: [HeaderName; 6] = [AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, ORIGIN, RANGE];
    let named = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    for name in named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()) {
        let groups = ["accept", "content-", "dpop", "if-", "prefer"];
        if END_TO_END.contains(&name) || groups.iter().any(|group| name.as_str().starts_with(group)) {
            return Err(Refusal::ConnectionField);
        }
    }
    Ok(())
}

fn fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some()
        || (length.is_some() && headers.contains_key(TRANSFER_ENCODING))
        || length.is_some_and(|l| l.is_empty() || !l.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Refusal::FramingAmbiguous);
    }
    if headers.contains_key(UPGRADE) {
        return Err(Refusal::Upgrade);
    }
    if headers.get_all(TE).iter().any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        return Err(Refusal::TransferExtension);
    }
    if headers.get_all(EXPECT).iter().any(|e| !e.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::ExpectationUnknown);
    }
    Ok(())
}

/// The one authority that a request names (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority(head: &Parts, over: Over<'_>) -> Result<Authority, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    let host = match host {
        Some(value) if value.is_empty() => return Err(Refusal::HostMissing),
        Some(value) => {
            Some(Authority::try_from(value.as_bytes()).map_err(|_invalid| Refusal::AuthorityMismatch)?)
        }
        None => None,
    };
    let target = head.uri.authority();
    let one = match (&host, target) {
        (Some(host), Some(target)) if !same(host, target) => return Err(Refusal::AuthorityMismatch),
        (_, Some(target)) if over.protocol == Protocol::Http2 => target.clone(),
        (Some(host), _) => host.clone(),
        // HTTP/1.1 demands Host even when the target is absolute.
        (None, _) => return Err(Refusal::HostMissing),
    };
    if one.as_str().contains('@') || one.as_str().ends_with(':') || head.version < Version::HTTP_10 {
        return Err(Refusal::AuthorityMismatch);
    }
    match (head.uri.scheme(), over.scheme) {
        (Some(named), Some(real)) if named != real => Err(Refusal::SchemeMismatch),
        (Some(named), None) if *named != Scheme::HTTP && *named != Scheme::HTTPS => {
            Err(Refusal::SchemeMismatch)
        }
        (Some(_) | None, _) => Ok(one),
    }
}

fn same(a: &Authority, b: &Authority) -> bool {
    a.as_str().eq_ignore_ascii_case(b.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, version: Version, fields: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(target).version(version);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn rules() -> Rules {
        Rules::new(
            &Url::parse("https://gw.test/fhir").unwrap(),
            vec![8443],
            Bounds { target: 60, fields: 400 },
        )
    }

    const H: (&str, &str) = ("host", "gw.test");

    type Fields<'a> = &'a [(&'a str, &'a str)];
    type Row<'a> = (&'a str, &'a str, Fields<'a>, Option<Refusal>);

    fn check_http1(table: &[Row<'_>]) {
        let over = Over { protocol: Protocol::Http1, scheme: Some(&Scheme::HTTPS), sni: None };
        let wrong: Vec<_> = table
            .iter()
            .map(|row| (row, admissible(&head(row.0, row.1, Version::HTTP_11, row.2), &rules(), over).err()))
            .filter(|(row, found)| row.3 != *found)
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:#?}");
    }

    /// HTTP-6, HTTP-17 over HTTP/1.1: whom a request addresses, and how.
    #[test]
    fn http1_addresses() {
        use Refusal as R;
        let long = format!("/{}", "x".repeat(60));
        let table: &[Row<'_>] = &[
            ("GET", "/fhir/Patient/1", &[H], None),
            ("GET", "/fhir/Patient/1", &[("host", "GW.test:443")], None),
            ("GET", "/fhir/Patient/1", &[("host", "gw.test:8443")], Some(R::AuthorityForeign)),
            ("GET", "/fhir/Patient/1", &[("host", "127.0.0.1:8443")], None),
            ("GET", "/fhir/Patient/1", &[("host", "[::1]:8443")], None),
            ("GET", "/fhir/Patient/1", &[("host", "localhost:8443")], None),
            ("GET", "/fhir/Patient/1", &[("host", "localhost:8444")], Some(R::AuthorityForeign)),
            ("GET", "/fhir/Patient/1", &[("host", "127.0.0.1.evil.test:8443")], Some(R::AuthorityForeign)),
            ("GET", "/fhir/Patient/1", &[("host", "evil.test")], Some(R::AuthorityForeign)),
            ("GET", "/fhir/Patient/1", &[("host", "u@gw.test")], Some(R::AuthorityMismatch)),
            ("GET", "/fhir/Patient/1", &[("host", "gw.test:")], Some(R::AuthorityMismatch)),
            ("GET", "/fhir/Patient/1", &[("host", "gw.test/x")], Some(R::AuthorityMismatch)),
            ("GET", "/fhir/Patient/1", &[("host", "")], Some(R::HostMissing)),
            ("GET", "/fhir/Patient/1", &[], Some(R::HostMissing)),
            ("GET", "/fhir/Patient/1", &[H, H], Some(R::HostRepeated)),
            ("GET", "https://gw.test/fhir", &[H], None),
            ("GET", "http://gw.test/fhir", &[H], Some(R::SchemeMismatch)),
            ("GET", "https://evil.test/fhir", &[H], Some(R::AuthorityMismatch)),
            ("GET", "https://evil.test/fhir", &[("host", "evil.test")], Some(R::AuthorityForeign)),
            ("GET", "https://gw.test/fhir", &[], Some(R::HostMissing)),
            ("OPTIONS", "/fhir", &[H], None),
            ("OPTIONS", "*", &[H], Some(R::TargetForm)),
            ("GET", &long, &[H], Some(R::TargetTooLong)),
            ("get", "/fhir", &[H], Some(R::MethodUnknown)),
            ("PROPFIND", "/fhir", &[H], Some(R::MethodUnknown)),
            ("TRACE", "/fhir", &[H], Some(R::MethodForbidden)),
            ("CONNECT", "gw.test:443", &[H], Some(R::MethodForbidden)),
        ];
        check_http1(table);
    }

    /// HTTP-2, HTTP-3, HTTP-9 and the hostile classes `header` and `h1-framing` over HTTP/1.1.
    #[test]
    fn http1_fields() {
        use Refusal as R;
        let table: &[Row<'_>] = &[
            ("POST", "/fhir", &[H, ("content-length", "5")], None),
            ("POST", "/fhir", &[H, ("content-length", "+5")], Some(R::FramingAmbiguous)),
            ("POST", "/fhir", &[H, ("content-length", "5, 5")], Some(R::FramingAmbiguous)),
            (
                "POST",
                "/fhir",
                &[H, ("content-length", "5"), ("content-length", "6")],
                Some(R::FramingAmbiguous),
            ),
            (
                "POST",
                "/fhir",
                &[H, ("content-length", "5"), ("transfer-encoding", "chunked")],
                Some(R::FramingAmbiguous),
            ),
            ("POST", "/fhir", &[H, ("transfer-encoding", "chunked")], None),
            ("POST", "/fhir", &[H, ("transfer_encoding", "chunked")], Some(R::HeaderNameAmbiguous)),
            ("POST", "/fhir", &[H, ("content_length", "5")], Some(R::HeaderNameAmbiguous)),
            ("POST", "/fhir", &[H, ("x_patient", "p2")], None),
            ("GET", "/fhir", &[H, ("connection", "close, X-Forwarded-For")], None),
            ("GET", "/fhir", &[H, ("connection", "close, Authorization")], Some(R::ConnectionField)),
            ("GET", "/fhir", &[H, ("connection", "If-Match")], Some(R::ConnectionField)),
            ("GET", "/fhir", &[H, ("te", "trailers")], None),
            ("GET", "/fhir", &[H, ("te", "gzip, chunked")], Some(R::TransferExtension)),
            ("GET", "/fhir", &[H, ("expect", "100-Continue")], None),
            ("GET", "/fhir", &[H, ("expect", "200-ok")], Some(R::ExpectationUnknown)),
            ("GET", "/fhir", &[H, ("upgrade", "h2c"), ("connection", "upgrade")], Some(R::Upgrade)),
            ("GET", "/fhir", &[H, ("upgrade", "websocket")], Some(R::Upgrade)),
        ];
        check_http1(table);
    }

    const fn xs(bytes: &'static [u8]) -> &'static str {
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// As much as one field may have where all may have 400 bytes, and too much.
    const HALF: &str = xs(&[b'x'; 190]);
    const MORE: &str = xs(&[b'x'; 200]);

    /// RFC 9113 §8.3.1 and the hostile class `h2-frames`.
    #[test]
    fn http2_heads() {
        use Refusal as R;
        let table: &[(&str, Fields<'_>, Option<Refusal>)] = &[
            ("https://gw.test/fhir", &[], None),
            ("https://gw.test/fhir", &[H], None),
            ("https://gw.test/fhir", &[("host", "evil.test")], Some(R::AuthorityMismatch)),
            ("https://gw.test/fhir", &[("host", "a"), ("host", "b")], Some(R::HostRepeated)),
            ("https://u:p@gw.test/fhir", &[], Some(R::AuthorityMismatch)),
            ("http://gw.test/fhir", &[], Some(R::SchemeMismatch)),
            ("/fhir", &[], Some(R::HostMissing)),
            ("/fhir", &[H], None),
            ("https://evil.test/fhir", &[], Some(R::AuthorityForeign)),
            ("https://gw.test/fhir", &[("te", "gzip")], Some(R::TransferExtension)),
            ("https://gw.test/fhir", &[("x-half", HALF)], None),
            ("https://gw.test/fhir", &[("x-half", MORE)], Some(R::HeadersTooLarge)),
            ("https://gw.test/fhir", &[("x-a", HALF), ("x-b", HALF)], None),
            ("https://gw.test/fhir", &[("x-a", HALF), ("x-b", HALF), ("x-c", "1")], Some(R::HeadersTooLarge)),
        ];
        let over = Over { protocol: Protocol::Http2, scheme: Some(&Scheme::HTTPS), sni: None };
        let wrong: Vec<_> = table
            .iter()
            .map(|row| (row, admissible(&head("GET", row.0, Version::HTTP_2, row.1), &rules(), over).err()))
            .filter(|(row, found)| row.2 != *found)
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:#?}");
    }

    /// TLS-7: the name in the handshake and the authority must agree.
    #[test]
    fn hosts_that_are_kept_to_tls() {
        let table = [
            ("https://gw.example/fhir", true),
            ("https://localhost:8443/fhir", false),
            ("https://gw.localhost/fhir", false),
            ("https://192.0.2.7/fhir", false),
            ("https://[::1]:8443/fhir", false),
            ("http://gw.example/fhir", false),
        ];
        for (url, expected) in table {
            let rules =
                Rules::new(&Url::parse(url).unwrap(), vec![443], Bounds { target: 1000, fields: 1000 });
            assert_eq!(rules.by_tls_only(), expected, "{url}");
        }
    }

    #[test]
    fn server_name() {
        let asked = head("GET", "/fhir", Version::HTTP_11, &[H]);
        let over = |sni| Over { protocol: Protocol::Http1, scheme: Some(&Scheme::HTTPS), sni };
        assert_eq!(admissible(&asked, &rules(), over(Some("gw.test"))), Ok(()));
        assert_eq!(admissible(&asked, &rules(), over(None)), Ok(()));
        assert_eq!(admissible(&asked, &rules(), over(Some("other.test"))), Err(Refusal::AuthorityForeign));
    }

    /// Behind a proxy that ends TLS the target's scheme may be either.
    #[test]
    fn unknown_scheme() {
        let over = Over { protocol: Protocol::Http1, scheme: None, sni: None };
        let judged = |t| admissible(&head("GET", t, Version::HTTP_11, &[H]), &rules(), over);
        assert_eq!(judged("https://gw.test/fhir"), Ok(()));
        assert_eq!(judged("ftp://gw.test/fhir"), Err(Refusal::SchemeMismatch));
    }
}
