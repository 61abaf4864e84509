//! Every interleaving of the threads of small things that threads share, by loom, which stands in for `std::sync`.
//!
//! The files are those of the crate: they name nothing but its `sync`, which is another one here.
#![cfg(test)]

mod sync;

#[path = "../../crates/xvirt-core/src/virtio/pause.rs"]
mod pause;
#[path = "pause_tests.rs"]
mod pause_tests;
