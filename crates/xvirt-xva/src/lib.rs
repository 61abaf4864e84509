//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.
//!
//! This crate reads, writes and verifies such archives without a hypervisor and without XenServer. To run the VMs in
//! them, import them with [`xvirt-core`](https://docs.rs/xvirt-core).
//!
//! An archive is a tar file: `ova.xml` describes the VM as objects of XenServer's database, followed by the disks in
//! chunks of 1 MiB with checksums; the whole file may be compressed with gzip or zstd. There is no public
//! specification; this crate reads and writes the format of XenServer's toolstack (xapi).
//!
//! | To | use |
//! |---|---|
//! | describe an archive from its first few MiB | [`inspect`] |
//! | check a whole archive | [`verify`] |
//! | extract its disks | [`read`](read()) with a [`DiskSink`] |
//! | save what is whole of a damaged one | [`salvage`] |
//! | read its disks in any order | [`Archive`] |
//! | write an archive | [`write`](write()) with an [`ova::Document`] and [`DiskContents`] |
//!
//! Reading and writing are sequential, so an archive may come from a pipe or a socket, and use all CPUs. The calls
//! block, and take a [`Progress`] that can cancel them; `&()` observes nothing. All signals are blocked on the threads
//! of this crate.
//!
//! # Memory
//!
//! Reading or writing an archive of any size takes some ten MiB on a few processors. A damaged or hostile archive can
//! raise that to at most 300 MiB, plus the window of a zstd stream, which is limited to 128 MiB unless
//! [`ReadOptions::max_window`] allows more. Only an [`Archive`], which allows random access, takes 64 bytes per MiB of
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
//! Inside: `codec`, `tar`, `ova` and `chunk` are the layers of the format, from the outside in; `read` and `write`
//! process all of them in parallel; `archive` gives random access, with the `index` that `write` leaves. `appliance`
//! interprets a document. `stream`, `pool` and `parallel` are building blocks of the layers.

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
mod interrupt;
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
pub use interrupt::{interrupted, interruptible, interruption_due, uninterruptible};
pub use options::{ReadOptions, WriteOptions};
pub use ova::{AfterCrash, ExpectedDisk};
pub use progress::{Done, Progress};
pub use read::{Defect, DefectKind, DiskSink, Salvaged, SalvagedDisk, Severity, Summary, read, salvage};
pub use verify::{ArchiveProblem, DiskReport, Report, verify};
pub use write::{DiskContents, DiskSource, write};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;
