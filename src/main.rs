//! The `pforte` program: reads arguments and runs them.
fn main() {}
