//! Model-checks the concurrency primitives with loom, which tries every interleaving of threads and replaces
//! `std::sync`.
//!
//! The source files are those of the crate: they use only its `sync` module, which is replaced here.
#![cfg(test)]

mod sync;

#[path = "../../crates/xvirt-core/src/virtio/pause.rs"]
mod pause;
#[path = "pause/tests.rs"]
mod pause_tests;
