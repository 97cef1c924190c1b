//! Which format an answer is wanted in, and which one a body is in (FHIR R4 §3.1.0.1.11).
//!
//! `_format` overrides `Accept` (REST-9). The gateway reads JSON and XML; what asks for neither cannot be checked.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::fhir::{FhirVersion, Format, SearchQuery};

/// What a client wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// FHIR in this format.
    Fhir(Format),
    /// Neither JSON nor XML.
    Other,
}

impl Format {
    /// The media type of a FHIR resource in this format.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/fhir+json",
            Self::Xml => "application/fhir+xml",
        }
    }

    /// The format a media type names, parameters aside; FHIR's types, the plain ones and the short names of `_format`.
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        // In a query a `+` that was not encoded reads as a space; clients do that.
        let name = media_type.split(';').next().unwrap_or("").trim().replace(' ', "+").to_ascii_lowercase();
        match name.as_str() {
            "json" | "application/json" | "application/fhir+json" | "application/json+fhir" | "text/json" => {
                Some(Self::Json)
            }
            "xml" | "application/xml" | "application/fhir+xml" | "application/xml+fhir" | "text/xml" => {
                Some(Self::Xml)
            }
            _ => None,
        }
    }
}

/// Whether a media type names no character set, or UTF-8, which FHIR and forms are written in. A body that says
/// otherwise could be read in two ways.
#[must_use]
pub fn is_utf8(media_type: &str) -> bool {
    media_type.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    })
}

impl Wanted {
    /// What the client of a request wants to read.
    #[must_use]
    pub fn by(headers: &HeaderMap, query: &SearchQuery, version: FhirVersion) -> Self {
        if let Some(asked) = query.all("_format").map(|p| p.value()).find(|value| !value.is_empty()) {
            return Format::of(asked).map_or(Self::Other, Self::Fhir);
        }
        let mut best: Option<(Self, u32)> = None;
        let mut any = false;
        for range in headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','))
        {
            if range.trim().is_empty() {
                continue;
            }
            any = true;
            let Some((wanted, quality)) = media_range(range, version) else { continue };
            if quality > 0 && best.is_none_or(|(_, before)| quality > before) {
                best = Some((wanted, quality));
            }
        }
        match best {
            Some((wanted, _)) => wanted,
            None if any => Self::Other,
            None => Self::Fhir(Format::Json),
        }
    }

    /// The format a refusal is written in.
    #[must_use]
    pub fn for_outcome(self) -> Format {
        match self {
            Self::Fhir(format) => format,
            Self::Other => Format::Json,
        }
    }
}

/// One range of `Accept`: what it admits, and its quality in thousandths (RFC 9110 §12.5.1).
fn media_range(range: &str, version: FhirVersion) -> Option<(Wanted, u32)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    let mut quality = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        if key.trim().eq_ignore_ascii_case("q") {
            quality = thousandths(value)?;
        } else if key.trim().eq_ignore_ascii_case("fhirVersion") && value != version.label() {
            return None;
        }
    }
    let wanted = match name {
        "*/*" | "application/*" => Wanted::Fhir(Format::Json),
        "text/*" => Wanted::Other,
        name => Format::of(name).map_or(Wanted::Other, Wanted::Fhir),
    };
    // Something that is neither must not win over a format that can be checked, whatever its quality.
    Some((wanted, if wanted == Wanted::Other { quality.min(1) } else { quality }))
}

fn thousandths(text: &str) -> Option<u32> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some(())?;
    // INVARIANT: 0 ≤ value ≤ 1, so the product fits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is between 0 and 1000"
    )]
    Some((value * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{Fhir, Other};

    /// R4 §3.1.0.1.11, REST-9: `_format` wins, then the best range of `Accept`.
    #[test]
    fn what_is_wanted() {
        let json = Fhir(Format::Json);
        let xml = Fhir(Format::Xml);
        let table = [
            ("", "", json),
            ("*/*", "", json),
            ("application/fhir+xml", "", xml),
            ("application/fhir+json", "_format=xml", xml),
            ("application/fhir+xml", "_format=json", json),
            ("", "_format=application/fhir+xml", xml),
            ("", "_format=application%2Ffhir%2Bxml", xml),
            ("", "_format=", json),
            ("", "_format=html", Other),
            ("", "_format=ttl", Other),
            ("text/turtle", "", Other),
            ("application/pdf", "", Other),
            ("text/html,application/fhir+json;q=0.5", "", json),
            ("application/xml;q=1, application/json;q=0", "", xml),
            ("application/json;q=0.2, application/xml;q=0.9", "", xml),
            ("application/json;q=0", "", Other),
            ("application/fhir+json; fhirVersion=4.0", "", json),
            ("application/fhir+json; fhirVersion=5.0", "", Other),
            ("application/fhir+json;q=nonsense", "", Other),
        ];
        for (accept, query, expected) in table {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, accept.parse().expect("a header value"));
            }
            let query = SearchQuery::parse(query).expect("a query");
            assert_eq!(Wanted::by(&headers, &query, FhirVersion::R4), expected, "{accept:?} {query:?}");
        }
    }
}
