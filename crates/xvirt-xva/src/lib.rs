//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.
//!
//! This crate reads, writes and verifies such archives, and needs neither a hypervisor nor XenServer for that. To run what
//! is in them, import them with [`xvirt-core`](https://docs.rs/xvirt-core).
//!
//! An archive is a tar file: `ova.xml` describes the VM as the objects of XenServer's database, and then come the disks
//! in chunks of 1 MiB, each with its checksum; all of it may be compressed with gzip or zstd. There is no public
//! specification: what is read and written here is what XenServer's toolstack (xapi) reads and writes.
//!
//! | To | use |
//! |---|---|
//! | see what an archive is, from its first few MiB | [`inspect`] |
//! | check all of an archive | [`verify`] |
//! | take its disks out | [`read`](read()) with a [`DiskSink`] |
//! | read its disks in any order | [`Archive`] |
//! | write an archive | [`write`](write()) with an [`ova::Document`] and [`DiskContents`] |
//!
//! Reading and writing go through an archive in one pass, so that it may come from a pipe or a socket, and use all
//! processors. The calls block, and take a [`Progress`] that can cancel them; `&()` is nobody. The threads of this crate
//! block all signals.
//!
//! # Memory
//!
//! However large an archive is, reading or writing it takes some ten MiB on a few processors. What a damaged or hostile
//! archive can bring that to is at most 300 MiB, and the window of a zstd stream besides, which is at most 128 MiB unless
//! [`ReadOptions::max_window`] allows more. Only an [`Archive`], which is read in any order, takes 64 bytes for each MiB of
//! data.
//!
//! # Examples
//!
//! ```
//! use xvirt_xva::ova::Document;
//! use xvirt_xva::{DiskContents, ReadOptions, WriteOptions};
//!
//! // Write an archive, here into memory.
//! let root = vec![7; 3 << 20];
//! let mut document = Document::new_vm("web");
//! let disk = document.add_disk("root", root.len() as u64)?;
//! document.complete()?;
//! let disks = [DiskContents { id: &disk.vdi, source: &root }];
//! let mut archive = Vec::new();
//! xvirt_xva::write(&mut archive, &document, &disks, &WriteOptions::zstd(), &())?;
//!
//! // See what it is.
//! let inspected = xvirt_xva::inspect(&archive[..], &ReadOptions::default(), &())?;
//! assert_eq!(inspected.appliance.name, "web");
//! assert_eq!(inspected.appliance.disks[0].size, 3 << 20);
//!
//! // Check all of it.
//! let report = xvirt_xva::verify(&archive[..], &ReadOptions::default(), &())?;
//! assert!(report.good, "{:?}", report.problems);
//! # Ok::<(), xvirt_xva::Error>(())
//! ```
//!
//! Inside: `codec`, `tar`, `ova` and `chunk` are the layers of the format, from the outside in; `read` and `write` go
//! through all of them with all processors; `archive` reads one in any order, with the `index` that `write` leaves.
//! `appliance` says what a document means. `stream`, `pool` and `parallel` are what the layers are made of.

mod appliance;
mod archive;
mod chunk;
mod codec;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod input;
mod inspect;
mod options;
pub mod ova;
mod parallel;
mod pool;
mod progress;
mod read;
mod stream;
mod tar;
mod thread;
mod verify;
mod write;
mod zeroes;

pub use appliance::{Appliance, ApplianceDisk, ApplianceNic, Firmware, Producer, Setting};
pub use archive::{Archive, ArchiveDisk};
pub use chunk::Checksum;
pub use codec::Compression;
pub use error::{Error, ErrorKind, Result};
pub use input::ReadAt;
pub use inspect::{Inspected, inspect};
pub use options::{ReadOptions, WriteOptions};
pub use ova::{AfterCrash, ExpectedDisk};
pub use progress::{Done, Progress};
pub use read::{Defect, DiskSink, Severity, Summary, read};
pub use verify::{ArchiveProblem, DiskReport, Report, verify};
pub use write::{DiskContents, DiskSource, write};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
