//! One request, with what the laws must know of it.

use pforte::fhir::Format;
use serde_json::Value;

use crate::queries::Query;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Batch,
    ConditionalCreate,
    ConditionalDelete,
    ConditionalPatch,
    ConditionalUpdate,
    Create,
    /// A cursor of the backend, as it wrote it.
    Cursor,
    Delete,
    HistoryInstance,
    HistorySystem,
    HistoryType,
    Operation(&'static str),
    Patch,
    Read,
    SearchCompartment,
    SearchSystem,
    SearchType,
    Transaction,
    Update,
    Validate,
    Vread,
}

impl Kind {
    /// Whether it changes what is stored.
    pub fn writes(self) -> bool {
        self.is_conditional()
            || matches!(
                self,
                Self::Create | Self::Delete | Self::Patch | Self::Update | Self::ConditionalCreate
            )
    }

    /// The letter by which it changes what is there; nothing for what does not.
    pub fn changes(self) -> Option<&'static str> {
        if matches!(self, Self::ConditionalDelete | Self::Delete) {
            return Some("d");
        }
        let updates =
            [Self::ConditionalPatch, Self::ConditionalUpdate, Self::Patch, Self::Update].contains(&self);
        updates.then_some("u")
    }

    /// The letter by which it makes something new.
    pub fn creates(self) -> Option<&'static str> {
        matches!(self, Self::ConditionalCreate | Self::Create).then_some("c")
    }

    /// Whether it is carried out on the one match of a search.
    pub fn is_conditional(self) -> bool {
        matches!(self, Self::ConditionalDelete | Self::ConditionalPatch | Self::ConditionalUpdate)
    }

    /// Whether it asks for a list of matches.
    pub fn searches(self) -> bool {
        matches!(self, Self::Cursor | Self::SearchCompartment | Self::SearchSystem | Self::SearchType)
    }

    /// Whether it asks for versions.
    pub fn is_history(self) -> bool {
        matches!(self, Self::HistoryInstance | Self::HistorySystem | Self::HistoryType)
    }

    /// Whether it is a bundle of requests.
    pub fn is_bundle(self) -> bool {
        matches!(self, Self::Batch | Self::Transaction)
    }
}

/// A type, and letters of which one is enough.
pub type Need = (String, &'static str);

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub kind: Kind,
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub format: Format,
    /// The type in the URL, or nothing.
    pub resource: String,
    /// The id in the URL, or nothing.
    pub id: String,
    /// What must be granted, all of it.
    pub needs: Vec<Need>,
    /// What a search says.
    pub query: Query,
    /// What is to be stored, with its `urn:` references resolved as a transaction does.
    pub submitted: Option<Value>,
    /// The same as another reader may read it, when something is said twice.
    pub otherwise: Option<Value>,
    /// What is changed by a patch: a path of members, and the new value.
    pub patch: Option<(&'static [&'static str], Value)>,
    /// The entries of a bundle.
    pub entries: Vec<Ask>,
}

impl Ask {
    pub fn new(kind: Kind, method: &'static str, target: String) -> Self {
        Self {
            kind,
            method,
            target,
            headers: Vec::new(),
            body: String::new(),
            format: Format::Json,
            resource: String::new(),
            id: String::new(),
            needs: Vec::new(),
            query: Query::default(),
            submitted: None,
            otherwise: None,
            patch: None,
            entries: Vec::new(),
        }
    }

    pub fn on(mut self, resource: &str, id: &str) -> Self {
        self.resource = resource.to_owned();
        self.id = id.to_owned();
        self
    }

    pub fn needs(mut self, letters: &'static str) -> Self {
        self.needs.push((self.resource.clone(), letters));
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
