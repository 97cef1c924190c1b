//! What a token says of its user and of the access, beyond their identities: the claims that IUA and BALP name (AUD-5).

use serde::{Deserialize, Serialize};

/// A code of some system, as a token claims it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coding {
    /// The code system, as it was claimed.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The code.
    #[serde(rename = "c")]
    pub code: String,
    /// The words for it.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// The user's attributes by IUA's extension of JWT (ITI TF-2 3.71.4.2.2.1.1). Evidence only: nobody decides by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// `subject_name`.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `subject_role`.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Coding>,
    /// `subject_organization`.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// `subject_organization_id`.
    #[serde(rename = "oi", default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// `home_community_id`.
    #[serde(rename = "hc", default, skip_serializing_if = "Option::is_none")]
    pub home_community: Option<String>,
    /// `national_provider_identifier`.
    #[serde(rename = "np", default, skip_serializing_if = "Option::is_none")]
    pub national_provider: Option<String>,
    /// `person_id`.
    #[serde(rename = "pi", default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}
