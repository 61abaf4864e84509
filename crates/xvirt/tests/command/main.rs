//! The command as people and scripts use it, with a service whose verbs are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod consoles;
mod errors;
mod support;
mod tasks;
mod vms;
