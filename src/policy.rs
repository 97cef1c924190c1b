//! Who may do what: request × caller × rules → decision.
//!
//! The decision is a total function of values: no clock, no lock, no wait, no error. What it cannot evaluate it
//! refuses. A [`Permit`] is the only thing that lets `rewrite` make a request that may leave, and it carries the
//! [`Duties`] that `release` holds the answer against.

mod decide;
mod denial;
mod needs;
mod permit;
mod reach;
mod rules;
mod seal;
mod search;

#[cfg(test)]
mod tests;

pub use decide::{Decision, before_body, decide, decide_link};
pub use denial::{Denial, EntryRefusal, Extent, Need, Refused};
pub use permit::{Admit, Content, Duties, EntryDuty, Expects, Permit, Total};
pub use reach::{Barred, Holder, Reach};
pub use rules::{
    CompartmentSearch, EncounterContext, Limit, LinkedPatients, Malformed, PatientRules, Rule, Rules, Test,
    Unmatched, UpdateCreates, When,
};
pub use seal::{Binding, LINK_PARAMETER, Leads, Link, SealKey, Terms};
