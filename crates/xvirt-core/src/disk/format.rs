//! The supported image formats.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageFormat {
    /// The bytes of the disk in a plain file or on a block device.
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3. Requires the crate feature `qcow2`.
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
