//! One spelling for each http URL without query and fragment, for comparing `htu` (RFC 9449 §4.3 check 9).
//!
//! Syntax-based and scheme-based normalisation of RFC 3986 §6.2.2 and §6.2.3: case of scheme and host, default port,
//! empty path, percent-encoding and dot segments. Not a repair: what RFC 3986 has no reading for has none here.

/// The one spelling; `None` for anything that is no absolute http URL, and for one with user, query or fragment.
pub(super) fn normal(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default: u16 = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let host = sound_host(host)?;
    let port = if port.is_empty() { default } else { port.parse().ok()? };
    let port = if port == default { String::new() } else { format!(":{port}") };
    Some(format!("{scheme}://{host}{port}/{}", without_dots(&decoded(path)?)))
}

/// A name, an address, or an IPv6 address in brackets; in lower case. Encoded names are nobody's public URL.
fn sound_host(host: &str) -> Option<String> {
    let plain = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))),
        None => host.bytes().all(|b| is_unreserved(b) || b"!$&'()*+,;=".contains(&b)),
    };
    (plain && !host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// Decodes what needs no encoding, and writes the rest in upper case.
fn decoded(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            let allowed = is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte);
            out.push(allowed.then_some(char::from(byte))?);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if is_unreserved(value) {
            out.push(char::from(value));
        } else {
            out.push_str(&format!("%{value:02X}"));
        }
    }
    Some(out)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 §5.2.4, for a path whose leading slash is not in it.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => (),
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §6.2.2, §6.2.3 and §5.2.4; POP-004, POP-005.
    #[test]
    fn one_spelling() {
        let plain = Some("https://gw.test/fhir/Observation/o1v");
        let table = [
            ("https://gw.test/fhir/Observation/o1v", plain),
            ("HTTPS://GW.Test/fhir/Observation/o1v", plain),
            ("https://gw.test:443/fhir/Observation/o1v", plain),
            ("https://gw.test:/fhir/Observation/o1v", plain),
            ("https://gw.test:0443/fhir/Observation/o1v", plain),
            ("https://gw.test/fhir/%4fbservation/o1v", plain),
            ("https://gw.test/fhir/Observation/%6F1v", plain),
            ("https://gw.test/fhir/./Observation/x/../o1v", plain),
            ("https://gw.test/fhir/%2e/Observation/x/%2E%2e/o1v", plain),
            ("https://gw.test/../fhir/Observation/o1v", plain),
            ("https://gw.test/fhir/observation/o1v", Some("https://gw.test/fhir/observation/o1v")),
            ("https://gw.test/fhir/Observation/o1v/", Some("https://gw.test/fhir/Observation/o1v/")),
            ("https://gw.test/fhir//Observation/o1v", Some("https://gw.test/fhir//Observation/o1v")),
            ("https://gw.test/fhir/Observation%2fo1v", Some("https://gw.test/fhir/Observation%2Fo1v")),
            ("http://gw.test/fhir", Some("http://gw.test/fhir")),
            ("http://gw.test:80/fhir", Some("http://gw.test/fhir")),
            ("http://gw.test:443/fhir", Some("http://gw.test:443/fhir")),
            ("https://gw.test:8443/fhir", Some("https://gw.test:8443/fhir")),
            ("https://gw.test", Some("https://gw.test/")),
            ("https://gw.test/", Some("https://gw.test/")),
            ("https://gw.test/a/..", Some("https://gw.test/")),
            ("https://gw.test/a/b/.", Some("https://gw.test/a/b/")),
            ("https://[::1]:443/a", Some("https://[::1]/a")),
            ("https://[2001:DB8::1]/a", Some("https://[2001:db8::1]/a")),
        ];
        for (uri, means) in table {
            assert_eq!(normal(uri).as_deref(), means, "{uri}");
        }
    }

    /// POP-004: no reading, no comparison.
    #[test]
    fn no_spelling() {
        for uri in [
            "",
            "/fhir/Patient",
            "//gw.test/fhir",
            "gw.test/fhir",
            "ftp://gw.test/fhir",
            "https:/gw.test/fhir",
            "https:///fhir",
            "https://:443/fhir",
            " https://gw.test/fhir",
            "https://gw.test/fhir ",
            "https://gw.test/fh\tir",
            "https://gw.test/fhir?",
            "https://gw.test/fhir?x=1",
            "https://gw.test?x=1",
            "https://gw.test/fhir#",
            "https://gw.test#x",
            "https://user@gw.test/fhir",
            "https://user:443@gw.test/fhir",
            "https://gw.test:+443/fhir",
            "https://gw.test:65979/fhir",
            "https://gw.test:x/fhir",
            "https://gw%2etest/fhir",
            "https://gw.test\\fhir",
            "https://gw.test/fhir\\x",
            "https://gw.test/fhir/%",
            "https://gw.test/fhir/%4",
            "https://gw.test/fhir/%zz",
            "https://gw.test/fhir/\u{e9}",
            "https://[::1/a",
            "https://[gw.test]/a",
        ] {
            assert_eq!(normal(uri), None, "{uri}");
        }
    }
}
