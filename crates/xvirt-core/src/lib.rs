//! Virtual machines over KVM, as a library.
//!
//! A program that links this crate can do what an administrator does on a XenServer host: describe a VM, start it from
//! its own disk, use its console, pause, reboot and stop it, and receive its events. There is no daemon and no process
//! per VM.
//!
//! # Quick start
//!
//! With the feature `demo` the crate contains a small guest kernel, so a first VM needs no disk image. In a new project
//! (`cargo new first-vm`), after `cargo add xvirt-core --features demo`:
//!
#![cfg_attr(feature = "demo", doc = "```")]
#![cfg_attr(not(feature = "demo"), doc = "```ignore")]
//! use std::time::Duration;
//! use xvirt_core::config::{Boot, ByteSize, VmConfig};
//! use xvirt_core::demo::{self, CommandLine, Mode};
//! use xvirt_core::host::Host;
//!
//! fn run() -> xvirt_core::Result<()> {
//!     let host = Host::probe()?;
//!     host.require_kvm()?;
//!     let line = CommandLine::new([Mode::Hello, Mode::PowerOff]).to_string();
//!     let vm = VmConfig::new("first")
//!         .memory(ByteSize::mib(64))
//!         .boot(Boot::kernel(demo::kernel()).command_line(line))
//!         .build(&host)?;
//!     vm.start()?;
//!     println!("{}", vm.console().reader().wait_for("demo: hello", Duration::from_secs(60))?);
//!     vm.wait_halted(Duration::from_secs(60))
//! }
//!
//! fn main() {
//!     // Every error says what failed, why, and what to do about it.
//!     if let Err(error) = run() {
//!         eprintln!("first-vm: {error}");
//!     }
//! }
//! ```
//!
//! A stock Debian boots from its own disk image, here the `nocloud` image that Debian publishes, whose user `root` has
//! no password:
//!
//! ```no_run
//! use std::time::Duration;
//! use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
//! use xvirt_core::host::Host;
//!
//! fn run() -> xvirt_core::Result<()> {
//!     let host = Host::probe()?;
//!     let vm = VmConfig::new("debian")
//!         .vcpus(2)
//!         .memory(ByteSize::gib(1))
//!         .boot(Boot::from_disk()) // the kernel that the disk's own boot menu names
//!         .disk(Disk::open("debian-12-nocloud-amd64.qcow2")?)
//!         .build(&host)?;
//!     vm.start()?;
//!     let mut output = vm.console().reader(); // from the first byte on
//!     output.wait_for("login:", Duration::from_secs(120))?;
//!     vm.console().write_all(b"root\n")?;
//!     output.wait_for("#", Duration::from_secs(30))?;
//!     vm.clean_shutdown(Duration::from_secs(60)) // asks the guest and waits
//! }
//!
//! fn main() {
//!     if let Err(error) = run() {
//!         eprintln!("debian: {error}");
//!     }
//! }
//! ```
//!
//! # Where to find what
//!
//! | Module | What it is for |
//! |---|---|
//! | [`host`] | Probe the host for what VMs need, with a remedy for each problem. |
//! | [`config`] | Describe a VM: processors, memory, disks, network interfaces, limits. |
//! | [`vm`] | The VM itself: its verbs, events, statistics, hot plug, sockets to its guest. |
//! | [`agent`] | Run commands and reach files in a guest through the QEMU guest agent. |
//! | [`console`] | Read and write serial and virtio consoles; attach a pty or a socket. |
//! | [`disk`] | Create, inspect, open and overlay disk images. |
//! | [`boot`] | Read the boot menu of a disk. |
//! | [`net`] | Taps, bridges and sockets: the host's side of a network. |
//! | [`seed`] | Set a guest's host name, users, keys and network at its first boot. |
//! | [`repository`] | Store VMs and their disks in a folder, safely for several processes. |
//! | [`template`] | Seal a VM as a template and create VMs from it in milliseconds. |
//! | [`snapshot`] | Take snapshots and checkpoints of VMs and go back to them. |
//! | [`migrate`] | Move running VMs to other hosts: settings, reports, connections. |
//! | [`xva`] | Import and export the virtual appliances of XenServer and XCP-ng. |
//! | [`progress`] | Observe long operations, and cancel any call. |
//! | [`error`] | The error type: a stable kind, what failed, why, and what to do. |
//!
//! All calls block, none needs an async runtime, and every type can be shared between threads. Any call can be ended
//! early: see [`progress::interruptible`].
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `qcow2` | yes | qcow2 images with backing files, and overlays where the file system has no reflinks |
//! | `seccomp` | yes | system call filters for the threads that serve guests |
//! | `tls` | yes | `migrate::Tls`: live migration over TLS with certificates of both hosts |
//! | `demo` | no | the module `demo`: a small guest to try VMs with; takes gcc, or the compiler that `CC` names |
//! | `metrics` | no | `vm::MetricsPublisher`, which publishes statistics through the crate [`metrics`] |
//!
//! [`metrics`]: https://docs.rs/metrics

pub mod agent;
pub mod boot;
pub mod config;
pub mod console;
pub mod disk;
pub mod error;
pub mod host;
pub mod migrate;
pub mod net;
pub mod progress;
pub mod repository;
pub mod seed;
pub mod snapshot;
pub mod template;
pub mod vm;
pub mod xva;

#[cfg(feature = "demo")]
pub mod demo;

mod arch;
mod bus;
mod cgroup;
mod descriptor;
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
mod port;
mod process;
#[cfg(test)]
mod records_tests;
mod sandbox;
mod size;
mod socket;
mod state;
mod sync;
mod thread;
mod virtio;
mod wait;

pub use error::{Error, ErrorKind, Result};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
