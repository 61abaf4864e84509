//! Virtual appliances: whole VMs in one `.xva` file, the format of XenServer and XCP-ng.
//!
//! An archive is a tar file: `ova.xml` describes the VM as objects of XenServer's database, followed by the disks in
//! chunks of 1 MiB with checksums; the whole file may be compressed. There is no public specification; this module
//! reads and writes the format of XenServer's toolstack (xapi).
//!
//! [`inspect`], [`verify`] and [`extract`] read archives, [`import`] turns one into a VM of a
//! [`Repository`](crate::repository::Repository), and [`export`], [`export_stored`] and [`export_running`] write one.
//! They accept any reader or writer, including pipes and sockets, and work in one pass and in bounded memory.
//! [`import_streaming`] starts a VM from an archive immediately.
//!
//! # Memory
//!
//! Reading or writing an archive of any size takes tens of MiB on a few processors. A damaged or hostile archive can
//! raise that to at most 300 MiB, plus the window of a zstd stream, which is limited to 128 MiB unless
//! [`ReadOptions::max_window`] allows more. Random access by an [`Archive`] or [`import_streaming`] takes another 64
//! bytes per MiB of data.
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
//! The crate [`xvirt_xva`] implements the format and can be used alone.
//!
//! Inside: `compose` converts a configuration to an appliance, and `export` writes it. `import`, `streaming` and
//! `extract` write into a `target`; the first two `configure` a VM from the appliance. `root_device` fixes the root
//! device of kernels that come from Xen. `damage` lists what is not whole, and `folder` makes files appear together.
//! `archive` and `reading` adapt that crate's disks and errors to this one's.

mod archive;
mod compose;
mod configure;
mod damage;
mod export;
mod extract;
mod folder;
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
