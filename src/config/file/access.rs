//! The keys about access: scopes, patients, rules and operations.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::values::OneOrMany;

/// How SMART scopes are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scopes {
    /// Accept the suffixes `.read`, `.write` and `.*` of SMART v1. Default: true; with `profile = "isik"`: false.
    pub v1: Option<bool>,
    /// What happens to a request that only a malformed scope would cover: a plain refusal, or one that names the scope.
    /// Default: `ignore`; with `profile = "isik"`: `refuse`.
    pub malformed: Option<Malformed>,
}

/// What a malformed scope does beyond granting nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Malformed {
    /// Nothing.
    Ignore,
    /// The refusal names it.
    Refuse,
}

/// What `patient/` scopes reach.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// Whether the launch encounter limits access. Default: `hint`; with `profile = "isik"`: `restrict`.
    pub encounter: Option<Encounter>,
    /// Types outside the patient compartment that `patient/` scopes may read. Default: none.
    pub shared_types: Option<Vec<String>>,
    /// Whether Patient resources whose `link` names the launch patient are shown too; their records are not. Default: false.
    pub linked_patients: Option<bool>,
    /// Whether `PUT` to an unknown id may create under a constrained grant. Default: false.
    pub update_creates: Option<bool>,
    /// How a resource outside the grant is refused: 404 or 403. Default: `not_found`.
    pub unmatched: Option<Unmatched>,
}

/// Whether the launch encounter limits access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encounter {
    /// It is information for the app.
    Hint,
    /// Only its compartment is reached, for the types that are in it.
    Restrict,
}

/// How a resource outside the grant is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// 403.
    Forbidden,
    /// 404, as for a resource that does not exist.
    NotFound,
}

/// A limit on top of scopes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which callers it limits. Default: all.
    pub when: Option<When>,
    /// Which scope contexts it limits. Default: all.
    pub contexts: Option<Vec<Context>>,
    /// What is left: FHIR searches such as `Patient?general-practitioner={fhirUser}` or `*?_security:not=R`. A type without
    /// a line is not limited by the rule.
    #[schemars(required, example = &["*?_security:not=R"])]
    pub limit: Option<Vec<String>>,
}

/// Which callers a rule limits: one claim, and one test of it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The claim.
    #[schemars(required, example = &"groups")]
    pub claim: Option<String>,
    /// The claim is this string.
    pub equals: Option<String>,
    /// The claim is a list, or a space-separated string, with this member.
    pub contains: Option<String>,
    /// The claim is there.
    pub exists: Option<bool>,
    /// The claim is not there.
    pub absent: Option<bool>,
}

/// A SMART scope context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// `patient/`.
    Patient,
    /// `system/`.
    System,
    /// `user/`.
    User,
}

/// A row of the table of operations.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its name, with the `$`.
    #[schemars(required, example = &"$book")]
    pub name: Option<String>,
    /// Where it is called.
    #[schemars(required, example = &"type")]
    pub level: Option<Level>,
    /// The resource type it is called on, or `*` for every type; needed unless `level = "system"`.
    pub r#type: Option<String>,
    /// What the caller must hold, all of it.
    #[schemars(required)]
    pub needs: Option<Vec<Need>>,
    /// How its answer is treated. Default: `check`.
    pub answer: Option<Answer>,
}

/// Where an operation is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `T/id/$name`.
    Instance,
    /// `$name`.
    System,
    /// `T/$name`.
    Type,
}

/// A permission an operation needs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// The resource type. Default: the type it is called on; at system level every type.
    pub r#type: Option<String>,
    /// The letter, one of `c`, `r`, `u`, `d`, `s`, or a list of which one is enough.
    #[schemars(required, example = &"c")]
    pub letter: Option<OneOrMany<String>>,
}

/// How an operation's answer is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Every resource in it is checked.
    Check,
    /// It is passed unread, and only to grants without constraint.
    Pass,
}
