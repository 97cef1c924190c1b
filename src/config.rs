//! gateway.toml → settings, or a list of complaints with line numbers.

mod settings;

pub use settings::*;
