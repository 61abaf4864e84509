//! The interface of the fuzzers in `fuzz/` to virtio, in plain types. Only cargo-fuzz builds it.
//!
//! - [`Driver`] serves a device without a worker thread, so that an input is reproducible, and checks the device's
//!   writes with `requests`.
//! - [`Function`] is a device behind its PCI registers, with its worker.
//!
//! A new kind of device needs a [`Kind`], a constructor in `devices`, and a target in `fuzz/fuzz_targets`.

mod devices;
mod driver;
mod function;
mod programs;
mod requests;

pub use devices::Kind;
pub use driver::{Driver, Piece, Place};
pub use function::Function;
