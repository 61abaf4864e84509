//! One image file of a chain: the file, and what its format tells about it.

use std::sync::Arc;

use super::file::ImageFile;
use super::format::ImageFormat;
use super::header::Header;
use crate::{Error, ErrorKind, Result};

/// What the page cache counts in, in bytes.
const PAGE: u64 = 4096;

/// One image file of a chain.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) file: Arc<ImageFile>,
    pub(super) kind: LayerKind,
}

/// What a layer's format tells about it.
#[derive(Debug)]
pub(super) enum LayerKind {
    Raw,
    Qcow2(Header),
}

impl Layer {
    /// Lets the data of the layer go past the page cache.
    pub(super) fn go_direct(&self) -> Result<()> {
        if let LayerKind::Qcow2(header) = &self.kind
            && header.cluster_size < PAGE
        {
            let what = format!("disk image {} has clusters smaller than a page", self.file.path().display());
            return Err(Error::new(ErrorKind::UnsupportedImage, format!("{what}, which cannot be used directly"))
                .with_remedy(
                    "turn direct off for this disk, or convert the image: qemu-img convert -O qcow2 OLD NEW",
                ));
        }
        self.file.go_direct()
    }

    pub(super) fn format(&self) -> ImageFormat {
        match self.kind {
            LayerKind::Raw => ImageFormat::Raw,
            LayerKind::Qcow2(_) => ImageFormat::Qcow2,
        }
    }
}
