//! What a token says beyond who asks, as the audit keeps it (AUD-5).

use std::sync::Arc;

use crate::audit::{Attributes, Coding, Entry};
use crate::token::{ClaimedCode, Grant};

/// Writes down what the token says of its user, what the access is for, and a name for the token itself.
pub(super) fn of_token(entry: &mut Entry, grant: &Grant) {
    entry.encounter = grant.encounter().map(str::to_owned);
    entry.token = grant.token_name();
    let Some(claimed) = grant.attributes() else { return };
    entry.purpose = codings(&claimed.purposes);
    let attributes = Attributes {
        name: claimed.name.clone(),
        roles: codings(&claimed.roles),
        organization: claimed.organization.clone(),
        organization_id: claimed.organization_id.clone(),
        home_community: claimed.home_community.clone(),
        national_provider: claimed.national_provider.clone(),
        person: claimed.person.clone(),
    };
    entry.attributes = (attributes != Attributes::default()).then(|| Arc::new(attributes));
}

fn codings(claimed: &[ClaimedCode]) -> Vec<Coding> {
    let coding = |claimed: &ClaimedCode| Coding {
        system: claimed.system.clone(),
        code: claimed.code.clone(),
        display: claimed.display.clone(),
    };
    claimed.iter().map(coding).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::token::{ClaimNames, Reading};

    fn written(claims: &Value) -> Entry {
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let mut entry =
            Entry::open(&"https://gw.test/fhir".into(), "r", (now, "192.0.2.7"), ("GET", "Patient"));
        let grant =
            Grant::from_claims(claims.as_object().unwrap(), &ClaimNames::default(), &Reading::sample());
        of_token(&mut entry, &grant.unwrap());
        entry
    }

    /// AUD-5: what IUA names reaches the record whole; a token that names nothing leaves nothing.
    #[test]
    fn aud_5_evidence() {
        let entry = written(&json!({
            "encounter": "e1",
            "extensions": { "ihe_iua": {
                "subject_name": "Dr. Ada", "subject_organization": "Ward", "subject_organization_id": "urn:oid:1",
                "subject_role": { "system": "urn:oid:2", "code": "HCP", "display": "professional" },
                "purpose_of_use": [{ "code": "TREAT" }], "home_community_id": "urn:oid:3",
                "national_provider_identifier": "7", "person_id": "8"
            } }
        }));
        assert_eq!(entry.encounter.as_deref(), Some("e1"));
        assert_eq!(entry.purpose, [Coding { system: None, code: "TREAT".to_owned(), display: None }]);
        let kept = serde_json::to_value(entry.attributes.as_deref()).unwrap();
        let names = json!({
            "n": "Dr. Ada", "r": [{ "s": "urn:oid:2", "c": "HCP", "d": "professional" }], "o": "Ward",
            "oi": "urn:oid:1", "hc": "urn:oid:3", "np": "7", "pi": "8"
        });
        assert_eq!(kept, names);

        let purpose = json!({ "extensions": { "ihe_iua": { "purpose_of_use": "TREAT" } } });
        let entry = written(&purpose);
        assert_eq!((entry.purpose.len(), entry.attributes), (1, None));
        for claims in [json!({}), json!({ "extensions": 1 }), json!({ "extensions": { "ihe_iua": [] } })] {
            let entry = written(&claims);
            assert_eq!((entry.purpose.len(), entry.attributes, entry.token), (0, None, None), "{claims}");
        }
    }
}
