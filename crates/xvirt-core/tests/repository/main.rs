//! The storage repository and its templates, on real folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![cfg(feature = "qcow2")]

mod support;

mod templates;
mod vms;
