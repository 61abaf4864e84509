//! Workers with the demo guest on this machine's `/dev/kvm`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "worker")]

mod devices;
mod ends;
mod hand_over;
mod hostile;
mod life;
mod services;
mod support;
mod suspend;
mod versions;
