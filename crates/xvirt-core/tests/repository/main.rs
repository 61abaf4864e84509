//! The storage repository and its templates, in real folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![cfg(feature = "qcow2")]

mod support;

mod child;
mod copies;
mod crash;
mod damage;
mod labels;
#[path = "../disk/mount.rs"]
mod mount;
mod references;
mod shortage;
mod snapshots;
mod templates;
mod together;
mod update;
mod vms;
