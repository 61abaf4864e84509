//! Disk images: raw files, block devices and qcow2 with backing chains, opened under locks, behind one trait.
//!
//! [`open`] returns a [`BlockBackend`], which holds the locks of the image and of every file below it until it is
//! dropped. The other functions create and inspect images: [`create`], [`overlay`], [`grow`], [`inspect`].
//!
//! Inside:
//!
//! - `file`: a locked file and its I/O, which both formats use; `lock`: who may open what at the same time
//! - `probe` and `header`: validate untrusted headers before anything else reads them
//! - `chain`: follows backing files, each of which is a `layer`; `descriptor`: image files that are open already
//! - `raw` and `qcow2`: the two formats
//! - `scan` and `copy`: read whole disks without their holes; `merge`: makes one image of two that are based on each
//!   other
//! - `snapshot`: a view of a disk at a point in time, while its guest keeps writing
//! - `streaming`: a disk whose data is fetched on demand; `blocks`: tracks the blocks that either of them has processed
//! - `engine`: keeps many requests in flight, directly at the `place` in a file that a backend names
//! - `stamp`: detects that an image was changed
//! - `direct`: I/O that bypasses the page cache

mod backend;
mod bitmap;
mod blocks;
mod bytes;
mod chain;
mod copy;
mod create;
mod descriptor;
mod direct;
mod engine;
mod extent;
mod file;
mod format;
mod header;
mod holder;
mod in_use;
mod info;
mod layer;
mod lock;
mod merge;
mod open;
mod overlay;
mod place;
mod probe;
#[cfg(feature = "qcow2")]
mod qcow2;
#[cfg(not(feature = "qcow2"))]
#[path = "without_qcow2.rs"]
mod qcow2;
mod raw;
mod scan;
mod segments;
mod snapshot;
mod space;
mod stamp;
mod streaming;
mod transfer;

pub use crate::memory::GuestSlice;
pub use backend::BlockBackend;
pub(crate) use backend::read_only;
pub(crate) use bytes::{is_zero, read_bytes, write_bytes};
pub(crate) use chain::{Image, below};
pub(crate) use copy::{copy, copy_file};
pub use create::{create, grow};
pub(crate) use create::{create_with, sync_folder};
pub use descriptor::ImageDescriptor;
pub(crate) use engine::{Engine, Failure, Request};
pub use engine::{IoEngine, IoOperation};
pub use format::ImageFormat;
pub(crate) use in_use::is_written;
pub use info::{BackingFile, ImageInfo, inspect};
pub(crate) use info::{check_tables, has_own_data};
pub(crate) use merge::merge;
pub use open::{Access, open, open_descriptors};
pub(crate) use open::{Claim, Opening, claim};
pub(crate) use overlay::overlay_as;
pub use overlay::{OverlayKind, overlay};
pub use place::Place;
pub(crate) use scan::{BLOCK, scan};
pub use snapshot::SnapshotView;
pub(crate) use snapshot::{CopyBeforeWrite, PreviousDisk, snapshot_views};
pub(crate) use stamp::ImageStamp;
pub use streaming::StreamingDisk;
pub(crate) use transfer::read_slice;
