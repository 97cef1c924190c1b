//! A yes, and what it costs: how the request must be sent and what may come back.

use crate::fhir::{ResourceType, SearchQuery};
use crate::policy::denial::{EntryRefusal, Need};
use crate::policy::seal::Binding;

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
}

impl Duties {
    pub(super) fn sending(query: SearchQuery, admit: Admit) -> Self {
        Self {
            query,
            if_none_exist: None,
            admit,
            expects: Expects::Anything,
            content: Content::Shown,
            total: Total::Kept,
            entries: Vec::new(),
            binding: None,
            needs: Vec::new(),
        }
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

/// What may be shown of what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Everything.
    All,
    /// Resources of these types.
    Types(Vec<ResourceType>),
}

impl Admit {
    /// Whether a resource of this type may be shown.
    #[must_use]
    pub fn shows(&self, resource_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Types(types) => types.iter().any(|t| t.as_str() == resource_type),
        }
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
