//! Who may do what: request × caller × rules → decision.
//!
//! The decision is a total function of values: no clock, no lock, no wait, no error. What it cannot evaluate it
//! refuses. A [`Permit`] is the only thing that lets `rewrite` make a request that may leave, and it carries the
//! [`Duties`] that `release` holds the answer against.

mod admission;
mod binary;
mod decide;
mod denial;
mod facts;
mod needs;
mod operations;
mod permit;
mod plan;
mod reach;
mod rules;
mod seal;
mod search;
mod searches;
mod template;
mod term;
mod urns;
mod writes;

#[cfg(test)]
mod tests;

pub use admission::{Admission, Admit, By};
pub use decide::{Decision, before_body, decide, decide_link};
pub use denial::{Denial, EntryRefusal, Extent, Need, Refused};
pub use facts::{Complete, Facts, Found, Question, Stored, Version};
pub use permit::{Content, Counting, Duties, EntryDuty, Expects, Join, Permit, SearchDuty, Total, WriteDuty};
pub use plan::{Part, State};
pub use reach::{Barred, Holder, Reach};
pub use rules::{
    CompartmentSearch, EncounterContext, Limit, LinkedPatients, Malformed, PatientRules, Rule, Rules, Test,
    Unmatched, UpdateCreates, When,
};
pub use seal::{Binding, LINK_PARAMETER, Leads, Link, SealKey, Terms};
pub use search::Reached;
pub use term::{Access, Alternative, Purpose, Scene, Term};
