//! Code shared by the benchmarks.

pub mod api;
pub mod demo_vm;
pub mod guest;
pub mod monitor;
pub mod process;
pub mod qemu;
pub mod resident;
pub mod summary;

/// Errors are only printed, because a measurement cannot recover.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
