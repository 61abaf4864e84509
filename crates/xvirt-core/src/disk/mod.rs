//! Disk images: raw files, block devices and qcow2 with backing chains, opened under locks, behind one trait.
//!
//! [`open`] gives a [`BlockBackend`], which holds the locks of the image and of every file below it until it is
//! dropped. The other functions make and inspect images: [`create`], [`overlay`], [`grow`], [`inspect`].
//!
//! Inside: `file` is a locked file and its input and output, on which both formats stand; `lock` is who may open what
//! together; `probe` and `header` judge bytes that strangers wrote, before anything else looks at them; `chain` follows
//! backing files; `raw` and `qcow2` are the two formats.

mod backend;
mod bytes;
mod chain;
mod create;
mod file;
mod format;
mod header;
mod holder;
mod info;
mod lock;
mod open;
mod overlay;
mod probe;
#[cfg(feature = "qcow2")]
mod qcow2;
#[cfg(not(feature = "qcow2"))]
#[path = "without_qcow2.rs"]
mod qcow2;
mod raw;
mod segments;

pub use backend::BlockBackend;
pub(crate) use bytes::{read_bytes, write_bytes};
pub use create::{create, grow};
pub use format::ImageFormat;
pub use info::{BackingFile, ImageInfo, inspect};
pub use open::{Access, open};
pub use overlay::{OverlayKind, overlay};
pub use vm_memory::VolatileSlice;
