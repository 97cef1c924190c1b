//! Who may do what: request × caller × facts → decision.

mod rules;

pub use rules::{
    EncounterContext, Limit, Malformed, PatientRules, Rule, Rules, Test, Unmatched, UpdateCreates, When,
};
