//! Whole VMs on this machine's `/dev/kvm`, running the demo guest.
#![cfg(feature = "demo")]

mod devices;
mod failures;
mod lifecycle;
mod support;
