//! Virtual machines over KVM, as a library.
//!
//! A program that links this crate can do what an administrator does on a XenServer host: describe a VM, start it
//! from its own disk, talk to its console, and stop it, without a daemon and without a process per VM.
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod boot;
pub mod config;
pub mod console;
pub mod disk;
pub mod error;
pub mod host;
pub mod net;
pub mod vm;

#[cfg(feature = "demo")]
pub mod demo;

mod arch;
mod bus;
mod device;
mod kvm;
mod machine;
mod memory;
mod pci;
mod virtio;

pub use error::{Error, ErrorKind, Result};
