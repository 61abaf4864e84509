//! The host service and the pool of xvirt. So far it has the [`model`], XenAPI's classes, which define every object once; the
//! [`store`], where the configuration of a host or a pool is kept, and how every part of it learns of changes; and, with the
//! feature `host`, the [host](Host) itself: its VMs, whose verbs are in [`operation`].

#[cfg(feature = "host")]
mod clock;
mod error;
#[cfg(feature = "host")]
mod event;
#[cfg(all(fuzzing, feature = "simulation", feature = "xenapi"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "host")]
pub mod host;
pub mod model;
#[cfg(feature = "host")]
mod network;
#[cfg(feature = "host")]
mod objects;
pub mod operation;
pub mod store;
mod sync;
#[cfg(feature = "host")]
mod task;
#[cfg(feature = "host")]
mod worker;
#[cfg(feature = "xenapi")]
pub mod xenapi;

pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "host")]
pub use host::{Host, HostOptions};

/// The example of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
