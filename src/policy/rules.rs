//! What decisions rest on besides the token: the configured part, as checked values.

use crate::fhir::{FhirVersion, OperationTable, ResourceType, SearchQuery};
use crate::scope::{Level, Reader};

/// The configured part of every decision.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The served FHIR version, and whether v1 scopes are understood.
    pub scopes: Reader,
    /// What becomes of a request that only a malformed scope would cover.
    pub malformed: Malformed,
    /// How `patient/` scopes are kept to the launch context.
    pub patient: PatientRules,
    /// Limits on top of scopes; all that match hold together.
    pub limits: Vec<Rule>,
    /// The operations that are known.
    pub operations: OperationTable,
    /// The public FHIR base, without a trailing slash.
    pub public_base: String,
    /// The backend's FHIR base, without a trailing slash.
    pub backend_base: String,
    /// Most entries of a batch or transaction.
    pub bundle_entries: usize,
    /// Whether the backend searches by compartment (COMP-15).
    pub compartment_search: CompartmentSearch,
}

impl Rules {
    /// The served FHIR version.
    #[must_use]
    pub fn version(&self) -> FhirVersion {
        self.scopes.version
    }
}

/// What becomes of a request that only a malformed scope would cover (SCOPE-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The usual `insufficient_scope`.
    Ignore,
    /// A refusal that names the scope.
    Refuse,
}

/// How `patient/` scopes are kept to the launch context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientRules {
    /// Whether a launch encounter narrows (CTX-5, CTX-6).
    pub encounter: EncounterContext,
    /// Types outside the compartment that `patient/` scopes may read (COMP-8).
    pub shared_types: Vec<ResourceType>,
    /// Whether a constrained `PUT` to an unknown id may create (REST-25).
    pub update_creates: UpdateCreates,
    /// What a client sees of a resource its grant does not match (REST-7).
    pub unmatched: Unmatched,
    /// Whether other Patient resources that link to the launch patient are shown (COMP-6).
    pub linked: LinkedPatients,
}

/// Whether the backend answers `Patient/x/Observation?…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompartmentSearch {
    /// As its CapabilityStatement says; not while nothing is known.
    Auto,
    /// It does not.
    Off,
    /// It does.
    On,
}

/// Whether other Patient resources whose `link` names the launch patient are shown; their records never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkedPatients {
    /// They are not.
    Hidden,
    /// They are.
    Visible,
}

/// Whether a launch encounter narrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncounterContext {
    /// It is information only, as SMART has it.
    Hint,
    /// It narrows, as gematik tests it.
    Restrict,
}

/// Whether a constrained `PUT` to an unknown id may create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateCreates {
    /// It is refused.
    No,
    /// It may.
    Yes,
}

/// What a client sees of a resource its grant does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// 403.
    Forbidden,
    /// 404, as if it did not exist.
    NotFound,
}

/// One `[[rule]]`: when these claims match, these contexts reach only what the limits leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which claims it speaks of; absent: every token.
    pub when: Option<When>,
    /// Which contexts it limits.
    pub contexts: Vec<Level>,
    /// The limits; a type without one is not limited by this rule.
    pub limit: Vec<Limit>,
}

/// A condition on one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// The claim's name.
    pub claim: String,
    /// What it must be.
    pub test: Test,
}

/// What a claim must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Not there.
    Absent,
    /// An array with this element, or a space-separated string with this word.
    Contains(String),
    /// This string, number or boolean, as text.
    Equals(String),
    /// There, whatever it is.
    Exists,
}

/// One line of `limit`: `Type?search`, values possibly with `{claim}` templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The limited type; absent for `*`.
    pub resource: Option<ResourceType>,
    /// What instances must match.
    pub only: SearchQuery,
}

impl When {
    /// Whether the claims satisfy the condition.
    #[must_use]
    pub fn holds(&self, claims: &serde_json::Map<String, serde_json::Value>) -> bool {
        use serde_json::Value;
        let claim = claims.get(&self.claim);
        match (&self.test, claim) {
            (Test::Absent, claim) => claim.is_none(),
            (Test::Exists, claim) => claim.is_some(),
            (Test::Equals(expected), Some(claim)) => plain(claim).is_some_and(|text| text == *expected),
            (Test::Contains(expected), Some(Value::Array(items))) => {
                items.iter().any(|item| plain(item).is_some_and(|text| text == *expected))
            }
            (Test::Contains(expected), Some(Value::String(words))) => {
                words.split(' ').any(|word| word == expected)
            }
            (Test::Contains(_) | Test::Equals(_), _) => false,
        }
    }
}

fn plain(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract §5: the conditions of a `[[rule]]`.
    #[test]
    fn conditions_on_claims() {
        let claims = serde_json::json!({
            "groups": ["ward-7", "ward-8"], "role": "nurse", "words": "a b", "level": 3, "admin": false, "nothing": null
        });
        let claims = claims.as_object().expect("an object");
        let table = [
            ("groups", Test::Contains("ward-7".into()), true),
            ("groups", Test::Contains("ward".into()), false),
            ("words", Test::Contains("b".into()), true),
            ("words", Test::Contains("a b".into()), false),
            ("role", Test::Equals("nurse".into()), true),
            ("role", Test::Equals("nurs".into()), false),
            ("level", Test::Equals("3".into()), true),
            ("groups", Test::Equals("ward-7".into()), false),
            ("role", Test::Exists, true),
            ("other", Test::Exists, false),
            ("other", Test::Absent, true),
            ("admin", Test::Absent, false),
            ("other", Test::Equals("x".into()), false),
        ];
        for (claim, test, expected) in table {
            let when = When { claim: claim.into(), test: test.clone() };
            assert_eq!(when.holds(claims), expected, "{claim} {test:?}");
        }
    }
}
