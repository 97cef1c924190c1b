//! The vocabulary: FHIR's versions, types, interactions, queries and bodies, read strictly.
//!
//! Nothing here decides anything. What cannot be read unambiguously is an error, never a guess, because the server
//! behind us may guess differently.

pub mod definitions;
mod document;
pub mod element;
mod interaction;
pub mod json;
pub mod links;
mod negotiation;
mod operation;
pub mod outcome;
pub mod outline;
pub mod patch;
mod query;
mod request;
mod splice;
mod target;
pub mod xml;

pub use definitions::{CompartmentKind, FhirVersion, ResourceType, SearchParameter, SearchParameterKind};
pub use document::Document;
pub use interaction::{
    Classified, Confine, Criteria, INTERACTIONS, Kind, Letter, NoInteraction, Permission, Segment, Shape,
    classify, is_id,
};
pub use negotiation::{Wanted, is_utf8};
pub use operation::{
    Answer, Level, NeedOf, OnTypes, OperationNeed, OperationTable, Reserved, Row, only_reads,
};
pub use outline::Format;
pub use query::{Parameter, QueryError, SearchQuery, decode, split_unescaped};
pub use request::{Asked, Body, BundleAction, BundleRequest, Conditions, FhirRequest, Reading, Unreadable};
pub use splice::with_id;
pub use target::{Target, TargetError};
