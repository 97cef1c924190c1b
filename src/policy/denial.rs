//! Every way a decision says no.

use crate::fhir::{Letter, Level, ResourceType, Unreadable};
use crate::policy::reach::Barred;
use crate::policy::rules::Unmatched;

/// One permission a request needs, and what the grant says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Of which type; absent: of every type.
    pub resource: Option<ResourceType>,
    /// Any one of these is enough.
    pub letters: Vec<Letter>,
    /// The letter that counted, and the scopes that granted it, as written.
    pub granted: Option<(Letter, Vec<String>)>,
    /// Whether they grant every instance.
    pub extent: Extent,
}

/// How much of what was needed is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Every instance.
    All,
    /// Only some instances.
    Limited,
    /// None, and why scopes that named it did not count.
    None(Vec<Barred>),
}

impl Need {
    /// The type as it is shown: `*` for all.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.resource.map_or("*", ResourceType::as_str)
    }

    /// The letter as it is shown: the one that counted, or else the first that would.
    #[must_use]
    pub fn letter(&self) -> Option<Letter> {
        self.granted.as_ref().map(|(letter, _)| *letter).or_else(|| self.letters.first().copied())
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No token, where one is needed.
    Anonymous,
    /// Writing audit events or the like through the gateway (AUD-12).
    AuditProtected,
    /// A parameter reaches into resources the grant does not cover (SRCH-5, SRCH-6).
    Chain {
        /// The parameter's name.
        parameter: String,
    },
    /// It needs all of a type, and the grant reaches a part.
    Constrained,
    /// The launch encounter belongs to another patient (CTX-8).
    ContradictoryContext,
    /// An entry of a transaction was refused, so all of it is (REST-31).
    Entry {
        /// Its place, from 0.
        index: usize,
        /// Why.
        why: EntryRefusal,
    },
    /// A scope that cannot be read would cover it, and the configuration says to name it (SCOPE-3).
    MalformedScope {
        /// The scope as written.
        scope: String,
        /// What is wrong with it.
        error: String,
    },
    /// Type and letter are not granted.
    InsufficientScope,
    /// `patient/` scopes without a launch patient (CTX-1).
    NoLaunchPatient,
    /// Criteria that must find one resource find several.
    MultipleMatches,
    /// What is submitted, or would result, is not within the grant (SCOPE-40, COMP-10, COMP-12).
    OutsideGrant,
    /// The patch cannot be applied to what is stored.
    PatchNotApplicable(String),
    /// The backend's answer about what is stored cannot be used.
    StoredUnclear,
    /// The grant does not reach the resource, or there is none: which of them is not told (REST-7).
    Unmatched(Unmatched),
    /// The client's version is not the stored one.
    VersionConflict,
    /// The operation has no row (OPS-1).
    OperationUnknown {
        /// The name with its `$`.
        name: String,
        /// Where it was invoked.
        level: Level,
    },
    /// The operation's row keeps it from this grant.
    OperationReserved {
        /// The name with its `$`.
        name: String,
    },
    /// A parameter that is never let through, or not here (SRCH-11 … SRCH-13, SRCH-22).
    Parameter {
        /// Its name.
        parameter: String,
    },
    /// A page link that was not made for this client, was altered, or has expired (SRCH-25).
    Link,
    /// A subscription whose criteria cannot be matched with the grant (OPS-30).
    Subscription,
    /// The resource in `X-Provenance` is no Provenance, or may not be created (REST-24).
    Provenance,
}

/// Why an entry of a bundle was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryRefusal {
    /// It was read and refused.
    Denied(Box<Refused>),
    /// It cannot be read.
    Unreadable(Unreadable),
}

/// A refusal, with everything that was asked of the grant up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub denial: Denial,
    /// What the request needed.
    pub needs: Vec<Need>,
}
