//! Code shared by the benchmarks.

use std::process::ExitCode;

pub mod api;
pub mod demo_vm;
pub mod guest;
pub mod memory;
pub mod monitor;
pub mod peers;
pub mod process;
pub mod programs;
pub mod qemu;
pub mod resident;
pub mod summary;

/// Errors are only printed, because a measurement cannot recover.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The exit status of a program, after its error was printed with its name.
pub fn ended(program: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
