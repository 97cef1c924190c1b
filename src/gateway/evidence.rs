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
