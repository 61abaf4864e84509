//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.
//!
//! An archive is a tar file: `ova.xml` describes the VM as the objects of XenServer's database, and then come the disks
//! in chunks of 1 MiB, each with its checksum; all of it may be compressed. There is no public specification: what is
//! read and written here is what XenServer's toolstack (xapi) reads and writes.
//!
//! [`inspect`], [`verify`] and [`extract`] look at archives, [`import`] makes a VM of a
//! [`Repository`](crate::repository::Repository) out of one, [`export`], [`export_stored`] and [`export_running`] write
//! one. They take any reader or writer, a pipe or a socket too, in one pass and in bounded memory.
//! [`import_streaming`] lets a VM start from an archive at once.
//!
//! # Memory
//!
//! Reading or writing an archive of any size takes tens of MiB on a few processors. A damaged or hostile archive can raise
//! that to at most 300 MiB, plus the window of a zstd stream, which is at most 128 MiB unless [`ReadOptions::max_window`]
//! allows more. Reading in any order, by an [`Archive`] or [`import_streaming`], takes 64 bytes per MiB of data on top.
//!
//! # Examples
//!
//! ```no_run
//! use std::fs::File;
//! use xvirt_core::repository::Repository;
//! use xvirt_core::xva::{self, Export, Import};
//!
//! let repository = Repository::open("/var/lib/xvirt")?;
//! let imported = xva::import(File::open("web.xva")?, &repository, &Import::default().name("web-2"), &())?;
//! for remark in &imported.remarks {
//!     eprintln!("{remark}");
//! }
//! xva::export_stored(&imported.vm, File::create("backup.xva")?, &Export::zstd(), &())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate [`xvirt_xva`] reads and writes the format and can be used alone.
//!
//! Inside: `compose` describes a configuration as an appliance, and `export` writes it. `import`, `streaming` and `extract`
//! write into a `target`; the first two `configure` a VM from the appliance. `root_device` helps kernels that come from Xen.
//! `archive` and `reading` adapt the crate's disks and errors to this one's.

mod archive;
mod compose;
mod configure;
mod export;
mod extract;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod reading;
mod root_device;
mod streaming;
mod target;

pub use xvirt_xva::{
    AfterCrash, Appliance, ApplianceDisk, ApplianceNic, ArchiveProblem, Checksum, Compression, DiskReport, Firmware,
    Inspected, Producer, ReadOptions, Report, Setting, WriteOptions as Export,
};

pub use archive::Archive;
pub use export::{Exported, export, export_running, export_stored};
pub use extract::{Extract, Extracted, extract};
pub use import::{Import, Imported, import};
pub use reading::{inspect, verify};
pub use streaming::{StreamingImport, import_streaming};
