//! The `pforte` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    pforte::cli::main()
}
