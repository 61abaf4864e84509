//! Virtual appliances: real ones of others, ours in the hands of others, and damaged ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bounds;
mod export;
mod import;
mod memory;
mod missing;
#[path = "../disk/mount.rs"]
mod mount;
mod mutations;
mod on_demand;
mod peers;
mod samples;
mod support;
