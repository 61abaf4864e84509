//! The process that holds one VM, and the protocol by which a host service talks to it.
//!
//! A VM runs in a process of its own, the *worker* (the program `xvirt-worker`), so that nothing that manages VMs is
//! needed for them to run. The service that starts a worker binds its socket in a folder, and hands it over
//! ([`launch`]); afterwards, the service may be stopped, killed or replaced at any moment. It finds its workers by their
//! sockets ([`Connection`]), and learns why one has ended from the record that each leaves ([`ExitRecord`]).
//!
//! A worker gets everything as open descriptors and takes no paths: it can open nothing, because it enters a sandbox
//! ([`Wall`]) before it builds its VM. A wall that the host lacks is named by [`protocol::Request::Describe`].
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `worker` | yes | the process itself; without it, the crate is the protocol alone and does not need `xvirt-core` |
//!
//! All calls block.

mod client;
mod error;
mod exit_record;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod launch;
#[cfg(feature = "worker")]
mod process;
pub mod protocol;
#[cfg(feature = "worker")]
pub mod sandbox;
mod settings;

pub use client::{Connection, EventStream, connect, peer_process};
pub use error::{Error, Result, kind};
pub use exit_record::{Cause, Exit, ExitRecord};
pub use launch::{Descriptors, launch};
#[cfg(feature = "worker")]
pub use process::run;
pub use settings::{Settings, Wall};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
