//! What the measuring programs share.

pub mod demo_vm;
pub mod process;
pub mod resident;
pub mod summary;

/// Whatever goes wrong in a measurement is for its reader: there is nothing to recover.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
