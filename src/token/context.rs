//! The launch context and the user, as a token names them (CTX-3, CTX-9, CTX-11).
//!
//! Both end up in comparisons and in search parameters, so only plain ids get through. What is present but unusable
//! stays visible as such: a context that cannot be read must limit to nothing, never to no limit.

use std::fmt;

use serde_json::{Map, Value};

use super::names::claim;

/// The launch patient or encounter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchContext {
    /// The token names none.
    Absent,
    /// The logical id on this server.
    Id(String),
    /// The token names something that is no id; it grants nothing that needs this context.
    Invalid,
}

impl LaunchContext {
    /// Reads a bare id or `Kind/id`.
    pub(super) fn read(claims: &Map<String, Value>, name: &str, kind: &str) -> Self {
        let Some(value) = claim(claims, name) else { return Self::Absent };
        let Value::String(text) = value else { return Self::Invalid };
        let id = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
        if is_id(id) { Self::Id(id.to_owned()) } else { Self::Invalid }
    }

    /// The id, when there is a usable one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// FHIR `id`, without the two that are path steps.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && text != "."
        && text != ".."
}

/// Which kinds of resource a user can be (SMART App Launch, `fhirUser`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserType {
    /// A patient; `user/` scopes then reach that patient's compartment.
    Patient,
    /// A person known by links to others.
    Person,
    /// A practitioner.
    Practitioner,
    /// A practitioner in one role.
    PractitionerRole,
    /// A relative or other contact of a patient.
    RelatedPerson,
}

impl UserType {
    /// The resource type's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
            Self::Person => "Person",
            Self::Practitioner => "Practitioner",
            Self::PractitionerRole => "PractitionerRole",
            Self::RelatedPerson => "RelatedPerson",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Patient, Self::Person, Self::Practitioner, Self::PractitionerRole, Self::RelatedPerson]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// The user as a resource of this server. Displays as `Type/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirUser {
    kind: UserType,
    id: String,
}

impl FhirUser {
    /// The type of the user's resource.
    #[must_use]
    pub fn kind(&self) -> UserType {
        self.kind
    }

    /// The logical id on this server.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads `Type/id` and nothing longer.
    fn relative(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once('/')?;
        Some(Self { kind: UserType::named(kind)?, id: is_id(id).then(|| id.to_owned())? })
    }
}

impl fmt::Display for FhirUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.id)
    }
}

/// Who the user is, as far as this server can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserContext {
    /// The token names no user.
    Absent,
    /// A resource of another server: nobody here, but its type is known (CTX-11).
    Foreign(UserType),
    /// The token names something that is no user.
    Invalid,
    /// A resource of this server.
    Local(FhirUser),
}

impl UserContext {
    /// Reads a relative or absolute reference; absolute ones are local when they begin with the public base.
    pub(super) fn read(claims: &Map<String, Value>, name: &str, base: &str) -> Self {
        let Some(value) = claim(claims, name) else { return Self::Absent };
        let Value::String(text) = value else { return Self::Invalid };
        if !text.contains("://") {
            return FhirUser::relative(text).map_or(Self::Invalid, Self::Local);
        }
        let base = base.trim_end_matches('/');
        if let Some(rest) = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
            return FhirUser::relative(rest).map_or(Self::Invalid, Self::Local);
        }
        Self::foreign(text).map_or(Self::Invalid, Self::Foreign)
    }

    fn foreign(text: &str) -> Option<UserType> {
        let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let (rest, id) = address.rsplit_once('/')?;
        let (host, kind) = rest.rsplit_once('/')?;
        (is_id(id) && !host.is_empty()).then(|| UserType::named(kind)).flatten()
    }

    /// The user's resource on this server, when there is one.
    #[must_use]
    pub fn local(&self) -> Option<&FhirUser> {
        match self {
            Self::Local(user) => Some(user),
            Self::Absent | Self::Foreign(_) | Self::Invalid => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// CTX-3; SCOP-002 … SCOP-011.
    #[test]
    fn launch_patient() {
        let id = |text: &str| LaunchContext::Id(text.to_owned());
        let longest = "a".repeat(64);
        let table = [
            (json!({"patient": "p1"}), id("p1")),
            (json!({"patient": "Patient/p1"}), id("p1")),
            (json!({"patient": "A-1.b"}), id("A-1.b")),
            (json!({"patient": longest}), id(&longest)),
            (json!({}), LaunchContext::Absent),
            (json!({"Patient": "p1"}), LaunchContext::Absent),
            (json!({"patient": ""}), LaunchContext::Invalid),
            (json!({"patient": null}), LaunchContext::Invalid),
            (json!({"patient": ["p1"]}), LaunchContext::Invalid),
            (json!({"patient": 1}), LaunchContext::Invalid),
            (json!({"patient": {"id": "p1"}}), LaunchContext::Invalid),
            (json!({"patient": "p1,p2"}), LaunchContext::Invalid),
            (json!({"patient": "*"}), LaunchContext::Invalid),
            (json!({"patient": " p1"}), LaunchContext::Invalid),
            (json!({"patient": "p1&x=y"}), LaunchContext::Invalid),
            (json!({"patient": "."}), LaunchContext::Invalid),
            (json!({"patient": ".."}), LaunchContext::Invalid),
            (json!({"patient": "Patient/.."}), LaunchContext::Invalid),
            (json!({"patient": "../Patient/p2"}), LaunchContext::Invalid),
            (json!({"patient": "Patient/"}), LaunchContext::Invalid),
            (json!({"patient": "patient/p1"}), LaunchContext::Invalid),
            (json!({"patient": "Encounter/p1"}), LaunchContext::Invalid),
            (json!({"patient": "Patient/Patient/p1"}), LaunchContext::Invalid),
            (json!({"patient": "Patient/p1/_history/1"}), LaunchContext::Invalid),
            (json!({"patient": "https://other.example/fhir/Patient/p1"}), LaunchContext::Invalid),
            (json!({"patient": "a".repeat(65)}), LaunchContext::Invalid),
            (json!({"patient": "p\u{0456}"}), LaunchContext::Invalid),
        ];
        let wrong: Vec<_> = table
            .iter()
            .filter(|(claims, means)| {
                LaunchContext::read(claims.as_object().unwrap(), "patient", "Patient") != *means
            })
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }

    /// CTX-11: only our own base makes an absolute reference local.
    #[test]
    fn fhir_user() {
        let local = |kind, id: &str| UserContext::Local(FhirUser { kind, id: id.to_owned() });
        let table = [
            (json!("Practitioner/pr1"), local(UserType::Practitioner, "pr1")),
            (json!("PractitionerRole/r1"), local(UserType::PractitionerRole, "r1")),
            (json!("RelatedPerson/x"), local(UserType::RelatedPerson, "x")),
            (json!("Person/x"), local(UserType::Person, "x")),
            (json!("https://gw.test/fhir/Patient/p1"), local(UserType::Patient, "p1")),
            (json!("https://gw.test/fhir2/Patient/p1"), UserContext::Foreign(UserType::Patient)),
            (json!("https://gw.test.evil/fhir/Patient/p1"), UserContext::Foreign(UserType::Patient)),
            (json!("http://gw.test/fhir/Patient/p1"), UserContext::Foreign(UserType::Patient)),
            (json!("https://gw.test/fhir/x/Patient/p1"), UserContext::Invalid),
            (json!("https://gw.test/fhir/Patient/p1/_history/2"), UserContext::Invalid),
            (json!("https://gw.test/fhir/Organization/o"), UserContext::Invalid),
            (json!("https://dir.test/Organization/o"), UserContext::Invalid),
            (json!("urn:uuid:1"), UserContext::Invalid),
            (json!("ftp://dir.test/fhir/Patient/p1"), UserContext::Invalid),
            (json!("Organization/o"), UserContext::Invalid),
            (json!("practitioner/pr1"), UserContext::Invalid),
            (json!("Practitioner/pr1?x"), UserContext::Invalid),
            (json!("Practitioner"), UserContext::Invalid),
            (json!("Practitioner/"), UserContext::Invalid),
            (json!("/Practitioner/pr1"), UserContext::Invalid),
            (json!(["Practitioner/pr1"]), UserContext::Invalid),
            (json!(null), UserContext::Invalid),
        ];
        let wrong: Vec<_> = table
            .iter()
            .filter(|(value, means)| {
                let claims = json!({"fhirUser": value});
                UserContext::read(claims.as_object().unwrap(), "fhirUser", "https://gw.test/fhir") != *means
            })
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
        assert_eq!(UserContext::read(&Map::new(), "fhirUser", "https://gw.test/fhir"), UserContext::Absent);
    }
}
