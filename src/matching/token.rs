//! Tokens: codes, identifiers and flags (FHIR R4 §3.1.1, "token").
//!
//! | written | matches |
//! | --- | --- |
//! | `code` | the code in any system or none |
//! | `system\|code` | the code in exactly that system |
//! | `system\|` | any code in that system |
//! | `\|code` | the code where no system is said |
//!
//! Systems are compared exactly. Codes are compared exactly too: whether a code system ignores case is not known
//! here. A code that differs in case only, or in white space around it, is therefore in doubt, and so is a system
//! asked of a plain `code`, whose system is in its binding and not in the resource. What is in doubt matches neither
//! the parameter nor its `:not`, so that an unknown never widens a grant (SCOPE-46, SCOPE-48).

use crate::fhir::element::Element;
use crate::fhir::split_unescaped;

use super::path::Item;
use super::value::{Match, unescape};

/// A token as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    system: System,
    /// None for any.
    code: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum System {
    Absent,
    Any,
    Is(String),
}

/// A token as a resource has it.
struct Pair<'d> {
    system: Said<'d>,
    code: Said<'d>,
}

/// What an element that FHIR allows once says.
#[derive(Clone, Copy)]
enum Said<'d> {
    Nothing,
    /// The element is there more than once, or without a value; or it is not in the resource at all but in its
    /// definition.
    Unclear,
    Value(&'d str),
}

impl Token {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let mut parts = split_unescaped(raw, '|');
        let (first, second) = (parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let some = |text: &str| (!text.is_empty()).then(|| unescape(text));
        let Some(code) = second else {
            return Some(Self { system: System::Any, code: Some(some(first)?) });
        };
        let system = some(first).map_or(System::Absent, System::Is);
        let code = some(code);
        let empty = system == System::Absent && code.is_none();
        (!empty).then_some(Self { system, code })
    }

    pub(super) fn matches(&self, item: &Item<'_>) -> Match {
        if let Some(truth) = item.truth {
            let code = Said::Value(if truth { "true" } else { "false" });
            return self.is(&Pair { system: Said::Unclear, code });
        }
        if !item.may_be(TOKENS) {
            return Match::Doubtful;
        }
        pairs(item.element).iter().map(|pair| self.is(pair)).max().unwrap_or(Match::No)
    }

    /// `:identifier` (FHIR R4 §3.1.1, "reference").
    pub(super) fn matches_identifier_of(&self, element: Element<'_>) -> Match {
        element.children("identifier").map(|it| self.is(&coded(it))).max().unwrap_or(Match::No)
    }

    fn is(&self, pair: &Pair<'_>) -> Match {
        let system = match (&self.system, pair.system) {
            (System::Any, _) | (System::Absent, Said::Nothing) => Match::Yes,
            (System::Absent, Said::Value(_)) | (System::Is(_), Said::Nothing) => Match::No,
            (System::Absent | System::Is(_), Said::Unclear) => Match::Doubtful,
            (System::Is(wanted), Said::Value(found)) => (wanted == found).into(),
        };
        let code = match (&self.code, pair.code) {
            (None, Said::Value(_) | Said::Nothing | Said::Unclear) => Match::Yes,
            (Some(_), Said::Nothing) => Match::No,
            (Some(_), Said::Unclear) => Match::Doubtful,
            (Some(wanted), Said::Value(found)) if wanted == found => Match::Yes,
            (Some(wanted), Said::Value(found)) if is_nearly(wanted, found) => Match::Doubtful,
            (Some(_), Said::Value(_)) => Match::No,
        };
        system.min(code)
    }
}

/// Whether two codes differ in nothing but case and the white space around them.
fn is_nearly(left: &str, right: &str) -> bool {
    let [left, right] = [left, right].map(|text| text.trim().chars().flat_map(char::to_lowercase));
    left.eq(right)
}

/// The types of choice element that a token can be read from.
const TOKENS: &[&str] = &[
    "boolean",
    "canonical",
    "code",
    "CodeableConcept",
    "CodeableReference",
    "Coding",
    "ContactPoint",
    "id",
    "Identifier",
    "string",
    "uri",
];

/// The tokens of an element: a primitive, a CodeableConcept's codings (or those a CodeableReference has), a Coding, an
/// Identifier or a ContactPoint.
fn pairs(element: Element<'_>) -> Vec<Pair<'_>> {
    if element.value().is_some() {
        return vec![Pair { system: Said::Unclear, code: Said::of(element, "") }];
    }
    let concepts = element.children("concept").flat_map(|concept| concept.children("coding"));
    let codings: Vec<_> = element.children("coding").chain(concepts).map(coded).collect();
    if codings.is_empty() { vec![coded(element)] } else { codings }
}

/// A Coding, whose code is `code`, or an Identifier or ContactPoint, whose code is `value`. What has both is a Quantity
/// and no token.
fn coded(element: Element<'_>) -> Pair<'_> {
    let code = match (Said::of(element, "code"), Said::of(element, "value")) {
        (code, Said::Nothing) => code,
        (Said::Nothing, value) => value,
        (Said::Unclear | Said::Value(_), Said::Unclear | Said::Value(_)) => Said::Unclear,
    };
    Pair { system: Said::of(element, "system"), code }
}

/// Whether a token can be read from the item at all.
pub(super) fn is_indexed(item: &Item<'_>) -> bool {
    let says = |said| matches!(said, Said::Value(_));
    item.truth.is_some()
        || item.may_be(TOKENS) && pairs(item.element).iter().any(|pair| says(pair.code) || says(pair.system))
}

impl<'d> Said<'d> {
    /// What the child of this name says; the element itself for no name.
    fn of(element: Element<'d>, name: &str) -> Self {
        if name.is_empty() {
            return element.value().map_or(Self::Nothing, Self::Value);
        }
        let mut children = element.children(name);
        match (children.next(), children.next()) {
            (None, _) => Self::Nothing,
            (Some(only), None) => only.value().map_or(Self::Unclear, Self::Value),
            (Some(_), Some(_)) => Self::Unclear,
        }
    }
}

/// `:of-type`: `system|code|value`, an Identifier of that type with that value (FHIR R4 §3.1.1, "token").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfType {
    system: String,
    code: String,
    value: String,
}

impl OfType {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let mut parts = split_unescaped(raw, '|').map(unescape);
        let found = Self { system: parts.next()?, code: parts.next()?, value: parts.next()? };
        let whole = [&found.system, &found.code, &found.value].iter().all(|part| !part.is_empty());
        (whole && parts.next().is_none()).then_some(found)
    }

    pub(super) fn matches(&self, element: Element<'_>) -> bool {
        let is_type = element.children("type").flat_map(|it| it.children("coding")).any(|coding| {
            coding.text("system") == Some(&self.system) && coding.text("code") == Some(&self.code)
        });
        is_type && element.text("value") == Some(&self.value)
    }
}
