//! Virtual machines over KVM, as a library.
//!
//! A program that links this crate can do what an administrator does on a XenServer host: describe a VM, start it
//! from its own disk, talk to its console, and stop it, without a daemon and without a process per VM.
//!
//! [`config::VmConfig`] describes a VM, [`host::Host`] says what the machine can do, and
//! [`build`](config::VmConfig::build) makes of both a [`vm::Vm`], which has the verbs. [`disk`] makes and inspects
//! images, [`boot`] reads the boot menu of a disk, [`net`] has the host's side of a network and [`console`] that of a
//! console. A [`repository`] keeps VMs, and the [`template`]s that new ones are made of; [`xva`] has the virtual appliances
//! of XenServer; [`seed`] gives a guest its host name, users and keys at its first boot. Everything blocks, nothing needs
//! a runtime, and every type may be shared between threads.
//!
//! # Features
//!
//! - `qcow2` (on by default): qcow2 images with backing files, and overlays on file systems without reflinks.
//! - `seccomp` (on by default): system call filters for the threads that serve guests.
//! - `demo`: module `demo`, a small guest to try VMs with. Compiled by gcc, or the compiler that `CC` names.
//! - `metrics`: `vm::MetricsPublisher`, which publishes a VM's statistics through the [`metrics`] crate.
//!
//! [`metrics`]: https://docs.rs/metrics

pub mod boot;
pub mod config;
pub mod console;
pub mod disk;
pub mod error;
pub mod host;
pub mod net;
pub mod progress;
pub mod repository;
pub mod seed;
pub mod template;
pub mod vm;
pub mod xva;

#[cfg(feature = "demo")]
pub mod demo;

mod arch;
mod bus;
mod cgroup;
mod device;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod kvm;
mod latency;
mod limit;
mod machine;
mod memory;
mod named_file;
mod pci;
mod process;
mod sandbox;
mod size;
mod socket;
mod sync;
mod thread;
mod virtio;

pub use error::{Error, ErrorKind, Result};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
