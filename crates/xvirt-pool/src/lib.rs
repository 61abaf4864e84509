//! The host service and the pool of xvirt. So far it has two rooms: the [`model`], XenAPI's classes, which define every
//! object once; and the [`store`], where the configuration of a host or a pool is kept, and how every part of it learns
//! of changes.

mod error;
#[cfg(all(fuzzing, feature = "simulation"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod model;
pub mod operation;
pub mod store;
mod sync;

pub use error::{Error, ErrorKind, Result};

/// The example of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
