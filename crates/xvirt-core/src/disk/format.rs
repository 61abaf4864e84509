//! The image formats this crate reads and writes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a disk is laid out in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageFormat {
    /// The bytes of the disk, one to one: a plain file or a block device.
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3. Needs the feature `qcow2` of this crate.
    Qcow2,
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        })
    }
}
