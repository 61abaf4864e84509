//! Hosts with the demo guest, used as a program uses them. They need `/dev/kvm`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod access;
mod child;
mod clones;
mod devices;
mod ends;
mod events;
mod full;
mod generated;
mod hung;
mod in_use;
mod life;
mod records;
mod storm;
mod stranger;
mod support;
mod suspend;
mod upgrade;
mod upgrade_interrupted;
