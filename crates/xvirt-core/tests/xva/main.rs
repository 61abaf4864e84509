//! Virtual appliances: extracted, imported, used at once, and exported. What only reads and writes archives is tested in
//! the crate xvirt-xva.
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
