//! Pforte.
