//! By what resources are sorted (FHIR R4 §3.1.1.5.1), where pages that a backend has sorted must be merged.
//!
//! The backend's own order is the one that counts, and no specification tells it to the letter: accents, time zones
//! and elements with several values are its own business. What is here agrees with it on what all servers agree on.

use crate::fhir::element::Element;
use crate::fhir::{ResourceType, SearchParameterKind};

use super::Site;
use super::criterion::evaluated;
use super::path::Scene;

/// What one sort key says of a resource. Only keys of one parameter can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// A number, in a form that sorts like it.
    Number(i128),
    /// Text, without regard to case.
    Text(String),
    /// Nanoseconds since 1970, where a date or time begins.
    Time(i128),
}

/// The key of a resource by a `_sort` key, `-` before it or not; nothing when the resource does not have it, or it
/// cannot be told.
#[must_use]
pub fn sort_key(key: &str, resource: Element<'_>, site: &Site<'_>) -> Option<SortKey> {
    let (descending, code) = key.strip_prefix('-').map_or((false, key), |code| (true, code));
    let own: ResourceType = site.version.resource_type(resource.resource_type()?)?;
    let parameter = site.version.search_parameter(own, code)?;
    let items = evaluated(site.version, own, parameter)?.select(resource, Scene { root: resource, site });
    let keys = items.iter().filter_map(|item| of(item.element, parameter.kind));
    if descending { keys.max() } else { keys.min() }
}

fn of(element: Element<'_>, kind: SearchParameterKind) -> Option<SortKey> {
    let first =
        |names: &[&str]| names.iter().find_map(|name| element.children(name).find_map(Element::value));
    match kind {
        SearchParameterKind::Date => {
            let text = element.value().or_else(|| first(&["start", "end"]))?;
            time(text).map(SortKey::Time)
        }
        SearchParameterKind::Number => number(element.value()?).map(SortKey::Number),
        SearchParameterKind::Quantity => number(first(&["value"])?).map(SortKey::Number),
        SearchParameterKind::Reference => text(first(&["reference"]).or_else(|| element.value())?),
        SearchParameterKind::String | SearchParameterKind::Token | SearchParameterKind::Uri => {
            let coding = || element.children("coding").find_map(|coding| coding.text("code"));
            let named = || first(&["family", "code", "value", "text", "line", "city"]);
            text(element.value().or_else(coding).or_else(named)?)
        }
        SearchParameterKind::Composite | SearchParameterKind::Special => None,
    }
}

fn text(text: &str) -> Option<SortKey> {
    Some(SortKey::Text(text.to_lowercase()))
}

/// A decimal as millionths: enough to sort by.
fn number(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let shift = exponent.checked_add(6)?.checked_sub(places)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift < 0 { digits.checked_div(power) } else { digits.checked_mul(power) }
}

/// Where a date or time begins, UTC where it says no zone.
fn time(text: &str) -> Option<i128> {
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    whole.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::element::Document;
    use crate::fhir::{FhirVersion, Format};

    /// FHIR R4 §3.1.1.5.1: keys sort as their values do, and a missing one is none.
    #[test]
    fn keys_sort_like_their_values() {
        let site = Site {
            version: FhirVersion::R4,
            public_base: "https://gw.test/fhir",
            backend_base: "http://upstream.internal/fhir",
            urns: None,
        };
        let key = |key: &str, text: &str| {
            let document = Document::read(text.as_bytes(), Format::Json).expect(text);
            sort_key(key, document.root(), &site)
        };
        let observation = |member: &str| format!(r#"{{"resourceType":"Observation",{member}}}"#);
        let smaller = [
            (
                "date",
                r#""effectiveDateTime":"2024-01-01""#,
                r#""effectiveDateTime":"2024-01-01T10:00:00+01:00""#,
            ),
            ("date", r#""effectivePeriod":{"start":"2023"}"#, r#""effectiveDateTime":"2023-02""#),
            ("value-quantity", r#""valueQuantity":{"value":9.5}"#, r#""valueQuantity":{"value":1.0e1}"#),
            ("status", r#""status":"amended""#, r#""status":"final""#),
            ("code", r#""code":{"coding":[{"code":"a"}]}"#, r#""code":{"coding":[{"code":"B"}]}"#),
        ];
        for (by, small, large) in smaller {
            let (small, large) = (key(by, &observation(small)), key(by, &observation(large)));
            assert!(small.is_some() && small < large, "{by}: {small:?} {large:?}");
        }
        assert_eq!(key("date", &observation(r#""status":"final""#)), None);
        assert_eq!(key("nothing", &observation(r#""status":"final""#)), None);
        let both = r#"{"resourceType":"Patient","name":[{"family":"A"},{"family":"Z"}]}"#;
        assert!(key("family", both) < key("-family", both));
    }
}
