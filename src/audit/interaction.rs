//! What was asked for, and which of BALP's patterns that is.

use crate::fhir::Kind;

/// What was asked for, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// One row of the interaction table; a `Kind::Batch` here is a batch.
    Known(Kind),
    /// A Bundle that succeeds or fails as one.
    Transaction,
    /// The request could not be read as any interaction.
    Unread,
}

impl From<Kind> for Interaction {
    fn from(kind: Kind) -> Self {
        Self::Known(kind)
    }
}

/// What the roles of the agents and the shape of the entities depend on (AUD-3, AUD-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Create,
    Delete,
    Other,
    Query,
    Read,
    Update,
}

impl Interaction {
    /// The interaction's own name, which no other has; as it is kept.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Known(kind) => kind.code(),
            Self::Transaction => "transaction",
            Self::Unread => "unread",
        }
    }

    /// The interaction of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "transaction" => Some(Self::Transaction),
            "unread" => Some(Self::Unread),
            _ => Kind::ALL.into_iter().find(|kind| kind.code() == name).map(Self::Known),
        }
    }

    /// The code of FHIR's `restful-interaction` that is closest (AUD-2, AUD-3); absent when unread.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        let Self::Known(kind) = self else {
            return (self == Self::Transaction).then_some("transaction");
        };
        Some(match kind {
            Kind::DeleteConditional => "delete",
            Kind::PatchConditional => "patch",
            Kind::UpdateConditional => "update",
            Kind::SearchCompartment => "search",
            Kind::Batch
            | Kind::Capabilities
            | Kind::Create
            | Kind::Delete
            | Kind::HistoryInstance
            | Kind::HistorySystem
            | Kind::HistoryType
            | Kind::Operation
            | Kind::Patch
            | Kind::Read
            | Kind::SearchSystem
            | Kind::SearchType
            | Kind::Update
            | Kind::Vread => kind.code(),
        })
    }

    pub(super) fn pattern(self) -> Pattern {
        let Self::Known(kind) = self else { return Pattern::Other };
        match kind {
            Kind::Create => Pattern::Create,
            Kind::Delete | Kind::DeleteConditional => Pattern::Delete,
            Kind::Read | Kind::Vread | Kind::Capabilities => Pattern::Read,
            Kind::SearchCompartment | Kind::SearchSystem | Kind::SearchType => Pattern::Query,
            Kind::Update | Kind::UpdateConditional | Kind::Patch | Kind::PatchConditional => Pattern::Update,
            Kind::Batch
            | Kind::HistoryInstance
            | Kind::HistorySystem
            | Kind::HistoryType
            | Kind::Operation => Pattern::Other,
        }
    }
}

impl Pattern {
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Delete => "D",
            Self::Other | Self::Query => "E",
            Self::Read => "R",
            Self::Update => "U",
        }
    }

    pub(super) fn profile(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("Create"),
            Self::Delete => Some("Delete"),
            Self::Other => None,
            Self::Query => Some("Query"),
            Self::Read => Some("Read"),
            Self::Update => Some("Update"),
        }
    }
}
