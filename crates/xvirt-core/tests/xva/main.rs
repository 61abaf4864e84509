//! Virtual appliances: extracted, imported, run directly, and exported. Reading and writing archives is tested in the
//! crate xvirt-xva.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bounds;
mod damaged;
mod export;
mod extract;
mod import;
mod memory;
#[path = "../disk/mount.rs"]
mod mount;
mod streaming;
mod support;
