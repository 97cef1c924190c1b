//! Which claims carry what: authorization servers name them differently (CTX-3, SCOPE-1).

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
