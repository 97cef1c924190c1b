//! What an admitted token grants: the one thing the later rooms see of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::attributes::UserAttributes;
use super::claims::date;
use super::context::{FhirUser, LaunchContext, UserContext};
use super::error::{Quoted, TokenError};
use super::names::{ClaimNames, claim, first_claim};
use crate::scope::{Reader, ScopeSet};

/// What claims are read with, the same for all issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// How scope strings are read.
    pub scopes: Reader,
    /// The public FHIR base, without a trailing slash; makes an absolute `fhirUser` local.
    pub base: String,
}

#[cfg(test)]
impl Reading {
    /// What tests read claims with, here and in the `issuer` room.
    pub(crate) fn sample() -> Self {
        let scopes = Reader { version: crate::fhir::FhirVersion::R4, v1: true };
        Self { scopes, base: "https://gw.test/fhir".to_owned() }
    }
}

/// Who holds the token and what it grants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Grant(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    issuer: Option<String>,
    client: Option<String>,
    subject: Option<String>,
    jti: Option<String>,
    scopes: ScopeSet,
    patient: LaunchContext,
    encounter: LaunchContext,
    user: UserContext,
    expires: Option<Timestamp>,
    attributes: Option<UserAttributes>,
    digest: Option<[u8; 32]>,
    claims: Map<String, Value>,
}

impl Grant {
    /// Reads a grant from claims that somebody else vouches for: a verified token, or a case given to `explain`.
    ///
    /// Only the claims named in `names` and the registered ones (`iss`, `sub`, `jti`, `exp`) are looked at, and IUA's
    /// extension for the audit;
    /// `fhirContext`, `intent`, `tenant` and the like never widen anything (CTX-9).
    ///
    /// # Errors
    /// A claim of a type that has no reading, such as a number for `scope`.
    pub fn from_claims(
        claims: &Map<String, Value>,
        names: &ClaimNames,
        reading: &Reading,
    ) -> Result<Self, TokenError> {
        let scopes = scope_strings(claims, names)?;
        Ok(Self(Arc::new(Parts {
            issuer: text(claims, "iss")?,
            client: client(claims, names)?,
            subject: text(claims, "sub")?,
            jti: text(claims, "jti")?,
            scopes: ScopeSet::parse(scopes.iter().copied(), reading.scopes),
            patient: LaunchContext::read(claims, &names.patient, "Patient"),
            encounter: LaunchContext::read(claims, &names.encounter, "Encounter"),
            user: UserContext::read(claims, &names.fhir_user, &reading.base),
            expires: date(claims, "exp")?,
            attributes: UserAttributes::read(claims),
            digest: None,
            claims: claims.clone(),
        })))
    }

    /// The authorization server, by its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// The OAuth client.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.0.client.as_deref()
    }

    /// The subject; for a client of its own account usually the client.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The token's own id.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.0.jti.as_deref()
    }

    /// The granted scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.0.scopes
    }

    /// The launch patient's id. `None` also when the token names something unusable: see
    /// [`Grant::patient_context`].
    #[must_use]
    pub fn patient(&self) -> Option<&str> {
        self.0.patient.id()
    }

    /// The launch patient as the token has it.
    #[must_use]
    pub fn patient_context(&self) -> &LaunchContext {
        &self.0.patient
    }

    /// The launch encounter's id. `None` also when the token names something unusable: see
    /// [`Grant::encounter_context`].
    #[must_use]
    pub fn encounter(&self) -> Option<&str> {
        self.0.encounter.id()
    }

    /// The launch encounter as the token has it.
    #[must_use]
    pub fn encounter_context(&self) -> &LaunchContext {
        &self.0.encounter
    }

    /// The user, when a resource of this server. A foreign or unusable `fhirUser` shows in [`Grant::user`] only.
    #[must_use]
    pub fn fhir_user(&self) -> Option<&FhirUser> {
        self.0.user.local()
    }

    /// The user as the token has it.
    #[must_use]
    pub fn user(&self) -> &UserContext {
        &self.0.user
    }

    /// When the token stops being valid; introspected tokens may not say.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.expires
    }

    /// What the token says of its user for the audit; nobody decides by it (AUD-5).
    #[must_use]
    pub fn attributes(&self) -> Option<&UserAttributes> {
        self.0.attributes.as_ref()
    }

    /// A name for a token that has no `jti`: the first half of its SHA-256, in hex. No part of the token is in it.
    #[must_use]
    pub fn token_name(&self) -> Option<String> {
        let digest = self.0.digest.as_ref().filter(|_| self.0.jti.is_none())?;
        let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 0x0f]);
        digits.map(|digit| char::from_digit(digit.into(), 16)).collect()
    }

    /// Remembers the digest of the token; before anybody else holds the grant.
    pub(super) fn of_token(mut self, digest: [u8; 32]) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            parts.digest = Some(digest);
        }
        self
    }

    /// All claims, for the rules of the configuration.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// The claim of that name; a name that begins with `/` reaches into nested objects.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        claim(&self.0.claims, name)
    }
}

/// The scopes one by one: a string split at spaces, or an array with one scope an element (SCOPE-1).
fn scope_strings<'c>(claims: &'c Map<String, Value>, names: &ClaimNames) -> Result<Vec<&'c str>, TokenError> {
    let Some((name, value)) = first_claim(claims, &names.scope) else { return Ok(Vec::new()) };
    let unusable = || TokenError::ClaimUnusable {
        claim: Quoted::new(name),
        expected: "a string or an array of strings",
    };
    match value {
        Value::String(text) => Ok(text.split(' ').filter(|scope| !scope.is_empty()).collect()),
        Value::Array(items) => items.iter().map(|item| item.as_str().ok_or_else(unusable)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(unusable()),
    }
}

/// The OAuth client, if the claims name one.
pub(super) fn client(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Option<String>, TokenError> {
    match first_claim(claims, &names.client) {
        Some((_, Value::String(client))) if !client.is_empty() => Ok(Some(client.clone())),
        Some((name, _)) => Err(TokenError::ClaimUnusable {
            claim: Quoted::new(name),
            expected: "a string that is not empty",
        }),
        None => Ok(None),
    }
}

/// A claim that must be text when it is there.
pub(super) fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::ClaimUnusable {
            claim: Quoted::new(name),
            expected: "a string that is not empty",
        }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strings(claims: &Value, names: &ClaimNames) -> Result<Vec<String>, &'static str> {
        scope_strings(claims.as_object().unwrap(), names)
            .map(|scopes| scopes.into_iter().map(str::to_owned).collect())
            .map_err(|refusal| refusal.reason_id())
    }

    /// SCOPE-1; SCOP-016, SCOP-043: only spaces separate, and only the first name present is read.
    #[test]
    fn scope_claims() {
        let table: [(Value, Result<Vec<&str>, &str>); 12] = [
            (json!({"scope": "a b"}), Ok(vec!["a", "b"])),
            (json!({"scope": "  a   b "}), Ok(vec!["a", "b"])),
            (json!({"scope": "a\tb\n"}), Ok(vec!["a\tb\n"])),
            (json!({"scope": ""}), Ok(vec![])),
            (json!({"scope": ["a", "b c"]}), Ok(vec!["a", "b c"])),
            (json!({"scp": ["a"]}), Ok(vec!["a"])),
            (json!({"scp": "a b"}), Ok(vec!["a", "b"])),
            (json!({"scope": "a", "scp": "b"}), Ok(vec!["a"])),
            (json!({"scopes": "a"}), Ok(vec![])),
            (json!({"scope": 1}), Err("token_claim_unusable")),
            (json!({"scope": null, "scp": "a"}), Err("token_claim_unusable")),
            (json!({"scope": ["a", 1]}), Err("token_claim_unusable")),
        ];
        for (claims, means) in table {
            let means = means.map(|scopes| scopes.into_iter().map(str::to_owned).collect());
            assert_eq!(strings(&claims, &ClaimNames::default()), means, "{claims}");
        }
        let only_scope = ClaimNames { scope: vec!["scope".to_owned()], ..ClaimNames::default() };
        assert_eq!(strings(&json!({"scp": "a"}), &only_scope), Ok(vec![]));
    }

    /// CTX-2, CTX-9, contract §9: a case for `explain` has neither issuer nor times, and nothing else counts.
    #[test]
    fn a_grant_from_bare_claims() {
        let claims = json!({
            "scope": "patient/*.rs", "patient": "p1", "encounter": "Encounter/e1", "client_id": "app",
            "fhirUser": "Practitioner/pr1", "groups": ["ward-7"],
            "fhirContext": [{"reference": "Patient/p2"}], "intent": "x", "tenant": "t", "need_patient_banner": true
        });
        let grant =
            Grant::from_claims(claims.as_object().unwrap(), &ClaimNames::default(), &Reading::sample())
                .unwrap();
        assert_eq!((grant.issuer(), grant.subject(), grant.expires()), (None, None, None));
        assert_eq!((grant.client(), grant.jti()), (Some("app"), None));
        assert_eq!((grant.patient(), grant.encounter()), (Some("p1"), Some("e1")));
        assert_eq!(grant.fhir_user().map(ToString::to_string).as_deref(), Some("Practitioner/pr1"));
        assert_eq!(grant.claim("groups"), Some(&json!(["ward-7"])));
    }

    /// CTX-3: an unusable context is not an absent one.
    #[test]
    fn unusable_contexts_stay_visible() {
        let claims =
            json!({"patient": "*", "encounter": ["e1"], "fhirUser": "https://else.test/fhir/Patient/p1"});
        let grant =
            Grant::from_claims(claims.as_object().unwrap(), &ClaimNames::default(), &Reading::sample())
                .unwrap();
        assert_eq!((grant.patient(), grant.patient_context()), (None, &LaunchContext::Invalid));
        assert_eq!((grant.encounter(), grant.encounter_context()), (None, &LaunchContext::Invalid));
        assert!(grant.fhir_user().is_none() && *grant.user() != UserContext::Absent);
    }

    /// AUD-5: only a token without an id of its own is named by its digest, and by half of that.
    #[test]
    fn names_of_tokens() {
        let digest = std::array::from_fn(|place| u8::try_from(place).unwrap());
        let table = [
            (json!({}), Some(digest), Some("000102030405060708090a0b0c0d0e0f")),
            (json!({"jti": "t-1"}), Some(digest), None),
            (json!({}), None, None),
        ];
        for (claims, digest, means) in table {
            let claims = claims.as_object().unwrap();
            let grant = Grant::from_claims(claims, &ClaimNames::default(), &Reading::sample()).unwrap();
            let grant = match digest {
                Some(digest) => grant.of_token(digest),
                None => grant,
            };
            assert_eq!(grant.token_name().as_deref(), means, "{claims:?}");
        }
    }
}
