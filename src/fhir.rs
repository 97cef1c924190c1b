//! The vocabulary: FHIR's versions, types, interactions, queries and bodies, read strictly.
//!
//! Nothing here decides anything. What cannot be read unambiguously is an error, never a guess, because the server
//! behind us may guess differently.

pub mod definitions;
mod interaction;
mod operation;
mod query;
mod target;

pub use definitions::{CompartmentKind, FhirVersion, ResourceType, SearchParameter, SearchParameterKind};
pub use interaction::{
    Classified, Confine, Criteria, INTERACTIONS, Kind, Letter, NoInteraction, Permission, Segment, Shape,
    classify, is_id,
};
pub use operation::{Answer, Level, NeedOf, OnTypes, OperationNeed, OperationTable, Reserved, Row};
pub use query::{Parameter, QueryError, SearchQuery, decode, split_unescaped};
pub use target::{Target, TargetError};
