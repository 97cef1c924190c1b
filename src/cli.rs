//! The commands of `pforte`.

pub mod check;
pub mod completions;
pub mod explain;
pub mod schema;
