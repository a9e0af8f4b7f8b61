//! The `streamdb` command.

use std::process::ExitCode;

/// Stream buffers come and go by the million; this allocator gives them back sooner and costs less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    streamdb::main()
}
