//! One image file of a chain, with its parsed header.

use std::sync::Arc;

use super::file::ImageFile;
use super::format::ImageFormat;
use super::header::Header;
use crate::{Error, ErrorKind, Result};

/// The page size of the page cache in bytes.
const PAGE: u64 = 4096;

/// One image file of a chain.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) file: Arc<ImageFile>,
    pub(super) kind: LayerKind,
}

/// The format of a layer, with its header.
#[derive(Debug)]
pub(super) enum LayerKind {
    Raw,
    Qcow2(Header),
}

impl Layer {
    /// Enables direct I/O for the layer's data.
    pub(super) fn go_direct(&self) -> Result<()> {
        if let LayerKind::Qcow2(header) = &self.kind
            && header.cluster_size < PAGE
        {
            let what = format!("disk image {} has clusters smaller than a page", self.file.path().display());
            return Err(Error::new(ErrorKind::UnsupportedImage, format!("{what}, which direct I/O does not support"))
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
