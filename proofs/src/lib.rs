//! Every interleaving of the threads of small things that threads share, by loom, which stands in for `std::sync`.
//!
//! The files are those of the crate: they name nothing but its `sync`, which is another one here.
#![cfg(test)]

mod sync;

#[path = "../../crates/xvirt-core/src/virtio/gate.rs"]
mod gate;
#[path = "gate_tests.rs"]
mod gate_tests;
