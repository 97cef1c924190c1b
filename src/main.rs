//! The `pforte` program.

use std::process::ExitCode;

/// The system's allocator costs more time for each request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pforte::cli::main()
}
