//! Which FHIR interaction a request is: one table, one row per interaction. What has no row is refused (REST-0).
//!
//! Follows FHIR R4 §3.1.0 (and R4B, R5, whose differences here are additions) and SMART App Launch 2.2, "Scopes for
//! requesting FHIR Resources", for the letters.

use std::fmt;

use http::Method;

use crate::fhir::{CompartmentKind, FhirVersion, ResourceType, Target};

/// A permission letter of SMART v2, in the order the grammar demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    /// Type-level create.
    Create,
    /// Instance read, vread, instance history.
    Read,
    /// Instance update and patch.
    Update,
    /// Instance delete.
    Delete,
    /// Search and history over instances.
    Search,
}

impl Letter {
    /// All letters, in the grammar's order.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// The letter as it stands in a scope.
    #[must_use]
    pub const fn as_char(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }

    /// The letter that `written` stands for.
    #[must_use]
    pub fn from_char(written: char) -> Option<Self> {
        Self::ALL.into_iter().find(|letter| letter.as_char() == written)
    }
}

/// The interactions a request can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `POST` base; the Bundle's type tells batch from transaction.
    Batch,
    /// `GET metadata`.
    Capabilities,
    /// `POST T`.
    Create,
    /// `DELETE T/id`.
    Delete,
    /// `DELETE T?…`.
    DeleteConditional,
    /// `GET T/id/_history`.
    HistoryInstance,
    /// `GET _history`.
    HistorySystem,
    /// `GET T/_history`.
    HistoryType,
    /// `$name` at any level.
    Operation,
    /// `PATCH T/id`.
    Patch,
    /// `PATCH T?…`.
    PatchConditional,
    /// `GET T/id`.
    Read,
    /// `GET C/id/T?…`, `C/id/*?…`.
    SearchCompartment,
    /// `GET ?…`.
    SearchSystem,
    /// `GET T?…`.
    SearchType,
    /// `PUT T/id`.
    Update,
    /// `PUT T?…`.
    UpdateConditional,
    /// `GET T/id/_history/v`.
    Vread,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::Batch,
        Self::Capabilities,
        Self::Create,
        Self::Delete,
        Self::DeleteConditional,
        Self::HistoryInstance,
        Self::HistorySystem,
        Self::HistoryType,
        Self::Operation,
        Self::Patch,
        Self::PatchConditional,
        Self::Read,
        Self::SearchCompartment,
        Self::SearchSystem,
        Self::SearchType,
        Self::Update,
        Self::UpdateConditional,
        Self::Vread,
    ];

    /// The name, after FHIR's `restful-interaction` codes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Capabilities => "capabilities",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteConditional => "conditional-delete",
            Self::HistoryInstance => "history-instance",
            Self::HistorySystem => "history-system",
            Self::HistoryType => "history-type",
            Self::Operation => "operation",
            Self::Patch => "patch",
            Self::PatchConditional => "conditional-patch",
            Self::Read => "read",
            Self::SearchCompartment => "search-compartment",
            Self::SearchSystem => "search-system",
            Self::SearchType => "search-type",
            Self::Update => "update",
            Self::UpdateConditional => "conditional-update",
            Self::Vread => "vread",
        }
    }

    /// Whether the answer is a searchset.
    #[must_use]
    pub const fn searches(self) -> bool {
        matches!(self, Self::SearchCompartment | Self::SearchSystem | Self::SearchType)
    }

    /// Whether the answer is a history Bundle.
    #[must_use]
    pub const fn is_history(self) -> bool {
        matches!(self, Self::HistoryInstance | Self::HistorySystem | Self::HistoryType)
    }

    /// Whether the query selects what a write acts on.
    #[must_use]
    pub const fn is_conditional_write(self) -> bool {
        matches!(self, Self::DeleteConditional | Self::PatchConditional | Self::UpdateConditional)
    }

    /// Whether the request changes what is stored.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Delete
                | Self::DeleteConditional
                | Self::Patch
                | Self::PatchConditional
                | Self::Update
                | Self::UpdateConditional
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What stands at one place of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// A concrete resource type of the served version.
    Type,
    /// One of the five compartments' types.
    Compartment,
    /// A logical id, `[A-Za-z0-9\-.]{1,64}`.
    Id,
    /// A version id, of the same form.
    Version,
    /// Exactly this word.
    Word(&'static str),
    /// `$name`.
    Operation,
}

/// Whether a query must stand in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criteria {
    /// At least one parameter that selects.
    Demanded,
    /// As the client likes.
    Free,
}

/// What a request needs, before its parameters are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Every entry by itself.
    EachEntry,
    /// This letter on the type.
    Letter(Letter),
    /// Both letters on the type.
    Letters(Letter, Letter),
    /// The operation's own row.
    OperationRow,
    /// Nothing.
    Public,
}

/// How a grant that reaches only part of a type is kept to that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confine {
    /// Entry by entry.
    EachEntry,
    /// Nothing to keep.
    Free,
    /// The query is narrowed and every returned resource is checked.
    Narrowed,
    /// The operation's row tells.
    OperationRow,
    /// Every returned resource is checked.
    Returned,
    /// The stored resource is checked.
    Stored,
    /// The submitted content is checked.
    Submitted,
    /// Stored, submitted and resulting content are checked.
    SubmittedAndStored,
}

/// One row: how an interaction looks and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The interaction.
    pub kind: Kind,
    /// The method; HEAD is GET.
    pub method: &'static Method,
    /// The path below the base.
    pub path: &'static [Segment],
    /// Whether the query selects.
    pub criteria: Criteria,
    /// What it needs.
    pub permission: Permission,
    /// How a constrained grant is kept.
    pub confine: Confine,
}

const GET: &Method = &Method::GET;
const POST: &Method = &Method::POST;
const PUT: &Method = &Method::PUT;
const PATCH: &Method = &Method::PATCH;
const DELETE: &Method = &Method::DELETE;

const HISTORY: Segment = Segment::Word("_history");
const SEARCH: Segment = Segment::Word("_search");

macro_rules! rows {
    ($($kind:ident $method:ident [$($segment:expr),*] $criteria:ident $permission:expr, $confine:ident;)*) => {
        &[$(Shape {
            kind: Kind::$kind,
            method: $method,
            path: &[$($segment),*],
            criteria: Criteria::$criteria,
            permission: $permission,
            confine: Confine::$confine,
        }),*]
    };
}

use Letter::{Create, Delete, Read, Search, Update};
use Permission::{EachEntry, Letter as Need, Letters, OperationRow, Public};
use Segment::{Compartment, Id, Operation, Type, Version, Word};

/// The table (requirements §5.1). Rows of equal method and path are tried in order.
pub static INTERACTIONS: &[Shape] = rows! {
    Capabilities      GET    [Word("metadata")]                  Free     Public, Free;
    Read              GET    [Type, Id]                          Free     Need(Read), Returned;
    Vread             GET    [Type, Id, HISTORY, Version]        Free     Need(Read), Returned;
    HistoryInstance   GET    [Type, Id, HISTORY]                 Free     Need(Read), Returned;
    HistoryType       GET    [Type, HISTORY]                     Free     Need(Search), Returned;
    HistorySystem     GET    [HISTORY]                           Free     Need(Search), Returned;
    SearchType        GET    [Type]                              Free     Need(Search), Narrowed;
    SearchType        POST   [Type, SEARCH]                      Free     Need(Search), Narrowed;
    SearchCompartment GET    [Compartment, Id, Type]             Free     Need(Search), Narrowed;
    SearchCompartment POST   [Compartment, Id, Type, SEARCH]     Free     Need(Search), Narrowed;
    SearchCompartment GET    [Compartment, Id, Word("*")]        Free     Need(Search), Narrowed;
    SearchCompartment POST   [Compartment, Id, SEARCH]           Free     Need(Search), Narrowed;
    SearchSystem      GET    []                                  Free     Need(Search), Narrowed;
    SearchSystem      POST   [SEARCH]                            Free     Need(Search), Narrowed;
    Create            POST   [Type]                              Free     Need(Create), Submitted;
    Update            PUT    [Type, Id]                          Free     Need(Update), SubmittedAndStored;
    UpdateConditional PUT    [Type]                              Demanded Letters(Update, Search), SubmittedAndStored;
    Patch             PATCH  [Type, Id]                          Free     Need(Update), SubmittedAndStored;
    PatchConditional  PATCH  [Type]                              Demanded Letters(Update, Search), SubmittedAndStored;
    Delete            DELETE [Type, Id]                          Free     Need(Delete), Stored;
    DeleteConditional DELETE [Type]                              Demanded Letters(Delete, Search), Stored;
    Batch             POST   []                                  Free     EachEntry, EachEntry;
    Operation         GET    [Operation]                         Free     OperationRow, OperationRow;
    Operation         POST   [Operation]                         Free     OperationRow, OperationRow;
    Operation         GET    [Type, Operation]                   Free     OperationRow, OperationRow;
    Operation         POST   [Type, Operation]                   Free     OperationRow, OperationRow;
    Operation         GET    [Type, Id, Operation]               Free     OperationRow, OperationRow;
    Operation         POST   [Type, Id, Operation]               Free     OperationRow, OperationRow;
};

/// A request whose method and path have a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The row.
    pub shape: &'static Shape,
    /// The type that is read, searched or written; absent at system level and for `C/id/*`.
    pub resource_type: Option<ResourceType>,
    /// The logical id.
    pub id: Option<String>,
    /// The version id.
    pub version: Option<String>,
    /// The compartment searched, and the id of its anchor.
    pub compartment: Option<(CompartmentKind, String)>,
    /// The operation's name, with its `$`.
    pub operation: Option<String>,
}

/// Why method and path have no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoInteraction {
    /// The method is none that FHIR uses.
    #[error("the method `{0}` is not used by FHIR")]
    UnknownMethod(String),
    /// The path exists, for other methods.
    #[error("the method is not allowed here")]
    MethodNotAllowed {
        /// The methods that have a row.
        allow: Vec<&'static Method>,
    },
    /// The path is no FHIR path of this version.
    #[error("there is no such FHIR path")]
    UnknownPath,
    /// The first segment is no resource type of this version.
    #[error("`{0}` is no resource type of this FHIR version")]
    UnknownType(String),
    /// An id that is not of FHIR's form.
    #[error("an id is up to 64 letters, digits, `-` and `.`")]
    BadId,
    /// A conditional interaction without criteria.
    #[error("a conditional interaction needs search criteria")]
    NoCriteria,
}

/// Finds the row of a request.
///
/// # Errors
/// When no row fits: nothing unclassified is forwarded.
pub fn classify(version: FhirVersion, method: &Method, target: &Target) -> Result<Classified, NoInteraction> {
    let method = if method == Method::HEAD { GET } else { method };
    if ![GET, POST, PUT, PATCH, DELETE].contains(&method) {
        return Err(NoInteraction::UnknownMethod(method.to_string()));
    }
    let mut own = INTERACTIONS.iter().filter(|shape| shape.method == method);
    let Some(found) = own.find_map(|shape| read(version, shape, target.segments())) else {
        let fitting = INTERACTIONS.iter().filter(|shape| read(version, shape, target.segments()).is_some());
        let mut allow: Vec<_> = fitting.map(|shape| shape.method).collect();
        allow.dedup();
        return Err(if allow.is_empty() {
            misfit(version, target.segments())
        } else {
            NoInteraction::MethodNotAllowed { allow }
        });
    };
    if found.shape.criteria == Criteria::Demanded && !selects(target) {
        return Err(NoInteraction::NoCriteria);
    }
    Ok(found)
}

/// Whether a query has at least one parameter with a value that selects resources (not only shapes the result).
fn selects(target: &Target) -> bool {
    const SHAPING: [&str; 6] = ["_count", "_elements", "_format", "_pretty", "_summary", "_total"];
    target
        .query()
        .iter()
        .any(|parameter| !parameter.value().is_empty() && !SHAPING.contains(&parameter.code()))
}

fn read(version: FhirVersion, shape: &'static Shape, segments: &[String]) -> Option<Classified> {
    if shape.path.len() != segments.len() {
        return None;
    }
    let mut found = Classified {
        shape,
        resource_type: None,
        id: None,
        version: None,
        compartment: None,
        operation: None,
    };
    for (place, written) in shape.path.iter().zip(segments) {
        match place {
            Segment::Type => found.resource_type = Some(version.resource_type(written)?),
            Segment::Compartment => {
                let anchor = version.resource_type(written).and_then(CompartmentKind::of)?;
                found.compartment = Some((anchor, String::new()));
            }
            Segment::Id => {
                let id = is_id(written).then(|| written.clone())?;
                match &mut found.compartment {
                    Some((_, anchor)) => *anchor = id,
                    None => found.id = Some(id),
                }
            }
            Segment::Version => found.version = Some(is_id(written).then(|| written.clone())?),
            Segment::Word(word) => (written == word).then_some(())?,
            Segment::Operation => {
                found.operation = Some(is_operation(written).then(|| written.clone())?);
            }
        }
    }
    Some(found)
}

fn misfit(version: FhirVersion, segments: &[String]) -> NoInteraction {
    match segments {
        [first, ..] if first.starts_with(['_', '$']) || first == "metadata" => NoInteraction::UnknownPath,
        [first, ..] if version.resource_type(first).is_none() => NoInteraction::UnknownType(first.clone()),
        [_, second, ..] if !second.starts_with(['_', '$']) && !is_id(second) => NoInteraction::BadId,
        _ => NoInteraction::UnknownPath,
    }
}

/// FHIR R4 §2.24.0.1: a logical id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn is_operation(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &str, target: &str) -> Result<Kind, NoInteraction> {
        let target = Target::relative(target).expect(target);
        let method = Method::from_bytes(method.as_bytes()).expect(method);
        classify(FhirVersion::R4, &method, &target).map(|found| found.shape.kind)
    }

    /// Contract §6, requirements §5.1: every row, and the neighbours that have none.
    #[test]
    fn every_interaction_has_one_row() {
        let table = [
            ("GET", "metadata", Kind::Capabilities),
            ("HEAD", "metadata", Kind::Capabilities),
            ("GET", "Patient/p1", Kind::Read),
            ("HEAD", "Patient/p1", Kind::Read),
            ("GET", "Patient/_history", Kind::HistoryType),
            ("GET", "Patient/p1/_history", Kind::HistoryInstance),
            ("GET", "Patient/p1/_history/2", Kind::Vread),
            ("GET", "_history", Kind::HistorySystem),
            ("GET", "Patient", Kind::SearchType),
            ("GET", "Patient?name=x", Kind::SearchType),
            ("POST", "Patient/_search", Kind::SearchType),
            ("GET", "Patient/p1/Observation", Kind::SearchCompartment),
            ("POST", "Patient/p1/Observation/_search", Kind::SearchCompartment),
            ("GET", "Encounter/e1/*", Kind::SearchCompartment),
            ("POST", "Patient/p1/_search", Kind::SearchCompartment),
            ("GET", "?_type=Patient", Kind::SearchSystem),
            ("POST", "_search", Kind::SearchSystem),
            ("POST", "Patient", Kind::Create),
            ("PUT", "Patient/p1", Kind::Update),
            ("PUT", "Patient?identifier=x", Kind::UpdateConditional),
            ("PATCH", "Patient/p1", Kind::Patch),
            ("PATCH", "Patient?identifier=x", Kind::PatchConditional),
            ("DELETE", "Patient/p1", Kind::Delete),
            ("DELETE", "Patient?identifier=x", Kind::DeleteConditional),
            ("POST", "", Kind::Batch),
            ("GET", "$versions", Kind::Operation),
            ("POST", "Patient/$validate", Kind::Operation),
            ("GET", "Patient/p1/$everything", Kind::Operation),
        ];
        for (method, target, expected) in table {
            assert_eq!(kind(method, target), Ok(expected), "{method} {target}");
        }
    }

    /// REST-0, REST-1, REST-22: what has no row is refused.
    #[test]
    fn the_rest_is_refused() {
        let allow = |methods: &[&'static Method]| NoInteraction::MethodNotAllowed { allow: methods.to_vec() };
        let table = [
            ("GET", "patient/p1", NoInteraction::UnknownType("patient".into())),
            ("GET", "Resource/p1", NoInteraction::UnknownType("Resource".into())),
            ("GET", "Patient/p_1", NoInteraction::BadId),
            ("GET", "Patient/p1/x/y/z", NoInteraction::UnknownPath),
            ("GET", "Patient/p1/unknown", NoInteraction::UnknownPath),
            ("GET", "Observation/o1/Patient", NoInteraction::UnknownPath),
            ("GET", "Patient/_search", allow(&[POST])),
            ("DELETE", "Patient/p1/_history", allow(&[GET])),
            ("DELETE", "", allow(&[GET, POST])),
            ("POST", "Patient/p1", allow(&[GET, PUT, PATCH, DELETE])),
            ("PUT", "Patient", NoInteraction::NoCriteria),
            ("DELETE", "Patient?_format=json", NoInteraction::NoCriteria),
            ("DELETE", "Patient?identifier=", NoInteraction::NoCriteria),
            ("TRACE", "Patient/p1", NoInteraction::UnknownMethod("TRACE".into())),
            ("get", "Patient/p1", NoInteraction::UnknownMethod("get".into())),
            ("GET", "_search", allow(&[POST])),
            ("GET", "_unknown", NoInteraction::UnknownPath),
            ("GET", "$", NoInteraction::UnknownPath),
        ];
        for (method, target, expected) in table {
            assert_eq!(kind(method, target), Err(expected), "{method} {target}");
        }
    }

    #[test]
    fn a_compartment_search_names_its_anchor() {
        let target = Target::relative("Patient/p1/Observation?code=x").expect("target");
        let found = classify(FhirVersion::R4, &Method::GET, &target).expect("classified");
        assert_eq!(found.compartment, Some((CompartmentKind::Patient, "p1".into())));
        assert_eq!(found.resource_type.map(|t| t.to_string()).as_deref(), Some("Observation"));
        assert_eq!(found.id, None);
    }
}
