//! Which claims carry what: authorization servers name them differently (CTX-3, SCOPE-1).

use serde_json::{Map, Value};

/// Names of the claims, and of the members of an introspection answer, that a grant is read from.
///
/// A name is a member of the top-level object. One that begins with `/` is a JSON Pointer (RFC 6901) into nested
/// objects, such as `/ext/patient`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Granted scopes; the first name that is present counts, the others are not read.
    pub scope: Vec<String>,
    /// The launch patient.
    pub patient: String,
    /// The launch encounter.
    pub encounter: String,
    /// The FHIR resource of the user.
    pub fhir_user: String,
    /// The OAuth client; the first name that is present counts.
    pub client: Vec<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            scope: vec!["scope".to_owned(), "scp".to_owned()],
            patient: "patient".to_owned(),
            encounter: "encounter".to_owned(),
            fhir_user: "fhirUser".to_owned(),
            client: vec!["client_id".to_owned(), "azp".to_owned()],
        }
    }
}

/// The claim of that name, nested when the name is a JSON Pointer.
pub(super) fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut steps = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    // Objects only: a position in an array says nothing about what the element means.
    steps.try_fold(first, |value, step| value.as_object()?.get(&step))
}

/// The first of the names that is present, with its value.
pub(super) fn first_claim<'c, 'n>(
    claims: &'c Map<String, Value>,
    names: &'n [String],
) -> Option<(&'n str, &'c Value)> {
    names.iter().find_map(|name| Some((name.as_str(), claim(claims, name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CTX-3: a configured name is top-level or a path into nested objects, never a guess.
    #[test]
    fn names_reach_what_they_name() {
        let claims = serde_json::json!({
            "patient": "p1", "ext": {"patient": "p2", "a/b": "p3"}, "list": ["p4"],
            "https://as.test/patient": "p5"
        });
        let table = [
            ("patient", Some("p1")),
            ("/ext/patient", Some("p2")),
            ("/ext/a~1b", Some("p3")),
            ("https://as.test/patient", Some("p5")),
            ("ext/patient", None),
            ("/ext/other", None),
            ("/list/0", None),
            ("/", None),
            ("", None),
        ];
        let claims = claims.as_object().unwrap();
        let wrong: Vec<_> = table
            .into_iter()
            .filter(|(name, means)| claim(claims, name).and_then(Value::as_str) != *means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }
}
