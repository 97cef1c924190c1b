//! A yes, and what it costs: how the request must be sent and what may come back.

use std::sync::Arc;

use bytes::Bytes;

use crate::fhir::{ResourceType, SearchQuery};
use crate::matching::Criterion;
use crate::policy::admission::{Admit, By};
use crate::policy::denial::{EntryRefusal, Need};
use crate::policy::plan::Part;
use crate::policy::rules::Unmatched;
use crate::policy::seal::Binding;
use crate::policy::search::Reached;

/// Proof of a yes. Only `policy` makes one; `rewrite` spends it.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    needs: Vec<Need>,
    duties: Duties,
}

impl Permit {
    pub(super) fn new(needs: Vec<Need>, duties: Duties) -> Self {
        Self { needs, duties }.remembering()
    }

    /// Links that leave with the answer say what the request needed.
    fn remembering(mut self) -> Self {
        let written = |need: &Need| {
            (need.type_name().to_owned(), need.letters.iter().map(|letter| letter.as_char()).collect())
        };
        self.duties.needs = self.needs.iter().map(written).collect();
        self
    }

    /// For what anybody may read.
    pub(super) fn public(query: SearchQuery) -> Self {
        Self::new(Vec::new(), Duties::sending(query, Admit::All))
    }

    pub(super) fn with_needs(self, needs: Vec<Need>) -> Self {
        Self { needs, ..self }.remembering()
    }

    /// What the request needed, and what granted it.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// What the yes costs.
    #[must_use]
    pub fn duties(&self) -> &Duties {
        &self.duties
    }

    /// Spends the permit.
    #[must_use]
    pub fn into_duties(self) -> Duties {
        self.duties
    }
}

/// What a yes costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duties {
    /// The query to send in place of the client's, form included.
    pub query: SearchQuery,
    /// The criteria to send as `If-None-Exist`.
    pub if_none_exist: Option<SearchQuery>,
    /// What may be shown of what comes back.
    pub admit: Admit,
    /// By which permission, where nothing more special is said.
    pub by: By,
    /// How much of what the request needs is reached.
    pub extent: Reached,
    /// What must come back.
    pub expects: Expects,
    /// Whether content of what was written may come back.
    pub content: Content,
    /// Whether the backend's count may be shown.
    pub total: Total,
    /// What becomes of each entry of a batch or transaction.
    pub entries: Vec<EntryDuty>,
    /// To whom links that leave with the answer are bound.
    pub binding: Option<Binding>,
    /// What links that leave with the answer will ask for again: type (or `*`) and letters.
    pub needs: Vec<(String, String)>,
    /// How the matches of a search are held against the grant.
    pub search: Option<Arc<SearchDuty>>,
    /// The queries that a narrowed search becomes; none: it is sent as it was asked.
    pub parts: Vec<Part>,
    /// What stands for a resource that the grant does not reach, where one was named; absent where the grant reaches
    /// every instance.
    pub masks: Option<Unmatched>,
    /// What a write is sent with.
    pub write: WriteDuty,
}

/// How the matches of a search are held against the grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchDuty {
    /// The types that were searched: their matches need s.
    pub searched: Vec<ResourceType>,
    /// Types that were asked for by `_revinclude`: what comes along needs s too (SRCH-8).
    pub reversed: Vec<ResourceType>,
    /// References of matches that must stay within the grant, since a chain asked about what they point at (SRCH-5).
    pub joins: Vec<Join>,
    /// The client's own references into a compartment: a match that does not have them was not asked for.
    pub pins: Vec<Criterion>,
    /// Whether only the number is wanted (SRCH-15).
    pub counting: Counting,
    /// The client's `_sort` keys, in order; a `-` before one turns it round.
    pub sort: Vec<String>,
    /// The client's `_count`.
    pub count: Option<usize>,
}

/// A chained parameter: what it was asked about must be within the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The searched type.
    pub from: ResourceType,
    /// The reference parameter.
    pub code: String,
    /// The type that it leads to.
    pub to: ResourceType,
}

/// Whether only the number of matches is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counting {
    /// The matches are.
    #[default]
    No,
    /// Only their number.
    Only,
}

/// What a write is sent with, besides what was submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteDuty {
    /// The version that was checked (REST-13).
    pub if_match: Option<String>,
    /// Nothing may be there yet.
    pub if_absent: bool,
    /// The one instance that the criteria found.
    pub instance: Option<String>,
    /// What is sent in place of the submitted body.
    pub body: Option<Bytes>,
}

impl Duties {
    pub(super) fn sending(query: SearchQuery, admit: Admit) -> Self {
        Self {
            query,
            if_none_exist: None,
            admit,
            by: By::Either,
            extent: Reached::Whole,
            expects: Expects::Anything,
            content: Content::Shown,
            total: Total::Kept,
            entries: Vec::new(),
            binding: None,
            needs: Vec::new(),
            search: None,
            parts: Vec::new(),
            masks: None,
            write: WriteDuty::default(),
        }
    }

    /// Whether the answer's content decides what is shown, so that it must be asked for even where only fields are
    /// wanted (REST-3).
    #[must_use]
    pub fn reads_content(&self) -> bool {
        self.masks.is_some() || (self.search.is_some() && !self.admit.is_by_type())
    }

    /// Whether the answer may be passed on while it comes in.
    #[must_use]
    pub fn streams(&self) -> bool {
        let whole_bundle = self.entries.iter().all(|entry| match entry {
            EntryDuty::Forward(permit) => permit.duties.streams(),
            EntryDuty::Refuse(_) => false,
        });
        self.admit == Admit::All
            && self.content == Content::Shown
            && self.total == Total::Kept
            && self.expects != Expects::Export
            && whole_bundle
    }
}

/// What must come back for an answer to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expects {
    /// Any FHIR resource.
    Anything,
    /// A Bundle of one of these types.
    Bundle(&'static [&'static str]),
    /// The status, manifest or a file of an export.
    Export,
    /// This resource.
    Resource(Option<ResourceType>, Option<String>),
    /// Nothing, the written resource, or an OperationOutcome.
    Written(Option<ResourceType>),
}

/// Whether content of what was written may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It may.
    Shown,
    /// Only an OperationOutcome may.
    Withheld,
}

/// Whether the backend's count may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// It never is.
    Dropped,
    /// It is, unless something was removed.
    Kept,
    /// It is where it counts what is on this page and nothing else: a backend that was not asked well enough counts
    /// what may not be known (SRCH-16).
    Seen,
}

/// What becomes of one entry of a batch or transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryDuty {
    /// It is sent on.
    Forward(Box<Permit>),
    /// It is answered here.
    Refuse(EntryRefusal),
}

impl EntryDuty {
    /// What the entry needed.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        match self {
            Self::Forward(permit) => permit.needs(),
            Self::Refuse(EntryRefusal::Denied(refused)) => &refused.needs,
            Self::Refuse(EntryRefusal::Unreadable(_)) => &[],
        }
    }
}
