//! The `pforte` program.

use std::process::ExitCode;

/// The system's allocator costs more time for each request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for pages of 2 MiB, which a small process and its idle connections fill badly: without them it
    // starts with 4 MiB in place of 12. A system that does not know the wish goes on as it is.
    let _as_it_is = rustix::thread::disable_transparent_huge_pages(true);
    pforte::cli::main()
}
