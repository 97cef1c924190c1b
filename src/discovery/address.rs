//! Puts the public address in the place of the backend's, wherever a text names it (RESP-6, INFO-006).
//!
//! A CapabilityStatement names its server in URLs and in prose, and what lies outside the FHIR base is as internal as
//! what lies below it. It holds no health data, so here, unlike in resources, prose is rewritten too.

use url::Url;

/// What is looked for and what takes its place, in the order it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    replacements: Vec<(String, String)>,
}

impl Addresses {
    /// Addresses of a backend and of the gateway, each given by its FHIR base without a trailing slash. Nothing when
    /// one of them is no URL with a host.
    pub(super) fn new(backend_base: &str, public_base: &str) -> Option<Self> {
        let (backend, public) = (Url::parse(backend_base).ok()?, Url::parse(public_base).ok()?);
        let (host, public_host) = (backend.host_str()?.to_owned(), public.host_str()?.to_owned());
        let authority = |url: &Url, host: &str| match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let (theirs, ours) = (authority(&backend, &host), authority(&public, &public_host));
        let mut replacements = vec![
            (backend_base.to_owned(), public_base.to_owned()),
            (backend.origin().ascii_serialization(), public.origin().ascii_serialization()),
            (format!("//{theirs}"), format!("//{ours}")),
        ];
        if backend.port().is_some() {
            replacements.push((theirs, ours));
        }
        if host != public_host {
            replacements.push((format!("//{host}"), format!("//{public_host}")));
            // A name of one label may be any word; one with dots is an address.
            if host.contains(['.', ':']) {
                replacements.push((host, public_host));
            }
        }
        replacements.retain(|(from, to)| from != to);
        Some(Self { replacements })
    }

    /// The text with public addresses; nothing when it names none of the backend's.
    pub(super) fn published(&self, text: &str) -> Option<String> {
        let mut published: Option<String> = None;
        for (from, to) in &self.replacements {
            if let Some(new) = replaced(published.as_deref().unwrap_or(text), from, to) {
                published = Some(new);
            }
        }
        published
    }
}

/// All whole occurrences of `from` replaced, without regard to case, as host names are.
fn replaced(text: &str, from: &str, to: &str) -> Option<String> {
    let (lower, from) = (text.to_ascii_lowercase(), from.to_ascii_lowercase());
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in lower.match_indices(&from) {
        let end = at + from.len();
        let (Some(before), Some(after)) = (text.get(..at), text.get(end..)) else { continue };
        if at < done || (!from.starts_with("//") && goes_on_before(before)) || goes_on_after(after) {
            continue;
        }
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(to);
        done = end;
    }
    if done == 0 {
        return None;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn goes_on_before(before: &str) -> bool {
    before.ends_with(|c| is_part(c) || c == '.')
}

/// A full stop ends a sentence unless a name goes on behind it.
fn goes_on_after(after: &str) -> bool {
    after.strip_prefix('.').unwrap_or(after).starts_with(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backend: &str, public: &str, table: &[(&str, &str)]) {
        let addresses = Addresses::new(backend, public).unwrap();
        for (text, expected) in table {
            let got = addresses.published(text);
            assert_eq!(got.as_deref().unwrap_or(text), *expected, "{text} behind {public}");
            assert_eq!(got.is_none(), text == expected, "{text}");
        }
    }

    /// RESP-6, INFO-006: whole addresses in any spelling, and neighbours that only look like one.
    #[test]
    fn addresses_become_public() {
        check(
            "http://upstream.internal:8080/fhir",
            "https://gw.test/r4",
            &[
                ("http://upstream.internal:8080/fhir", "https://gw.test/r4"),
                ("http://upstream.internal:8080/fhir/Patient/1", "https://gw.test/r4/Patient/1"),
                ("HTTP://Upstream.Internal:8080/fhir/x", "https://gw.test/r4/x"),
                ("http://upstream.internal:8080/fhir2/x", "https://gw.test/fhir2/x"),
                ("http://upstream.internal:8080/swagger", "https://gw.test/swagger"),
                ("ws://upstream.internal:8080/ws", "ws://gw.test/ws"),
                ("https://upstream.internal/x", "https://gw.test/x"),
                ("see [here](http://upstream.internal:8080/fhir/x).", "see [here](https://gw.test/r4/x)."),
                ("runs on upstream.internal:8080, and upstream.internal.", "runs on gw.test, and gw.test."),
                ("not.upstream.internal", "not.upstream.internal"),
                ("upstream.internal.example", "upstream.internal.example"),
                ("upstream.internals", "upstream.internals"),
                ("http://hl7.org/fhir", "http://hl7.org/fhir"),
                ("\u{e4} upstream.internal \u{e4}", "\u{e4} gw.test \u{e4}"),
            ],
        );
        check(
            "http://hapi:8080/fhir",
            "https://gw.test/fhir",
            &[
                ("http://hapi:8080/fhir/x", "https://gw.test/fhir/x"),
                ("http://hapi/x", "http://gw.test/x"),
                ("hapi:8080", "gw.test"),
                ("hapi.fhir.replace-references", "hapi.fhir.replace-references"),
                ("the hapi server", "the hapi server"),
            ],
        );
        check(
            "http://127.0.0.1:8080/fhir",
            "https://127.0.0.1:8443/fhir",
            &[
                ("http://127.0.0.1:8080/fhir/x", "https://127.0.0.1:8443/fhir/x"),
                ("127.0.0.1:8080", "127.0.0.1:8443"),
                ("127.0.0.1:9999", "127.0.0.1:9999"),
                ("127.0.0.1:80801", "127.0.0.1:80801"),
            ],
        );
        assert_eq!(Addresses::new("urn:x", "https://gw.test"), None);
    }
}
