//! What the fuzzers in `fuzz/` reach of virtio, in plain types. It is there only when cargo-fuzz builds.
//!
//! - [`Driver`] serves a device without a worker thread, so that an input does the same whenever it is run, and judges
//!   by its `requests` what the device did.
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
