//! Replaces the qcow2 format if the crate is built without it, with errors that say so.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::backend::BlockBackend;
use super::file::ImageFile;
use super::format::ImageFormat;
use super::header::Header;
use super::layer::Layer;
use crate::{Error, ErrorKind, Result};

pub(super) fn open(file: Arc<ImageFile>, _: &Header, _: Vec<Layer>, _: bool) -> Result<Arc<dyn BlockBackend>> {
    Err(absent(&file))
}

pub(super) fn create(file: &Arc<ImageFile>, _: u64, _: Option<(String, ImageFormat)>) -> Result<()> {
    Err(absent(file))
}

pub(super) fn grow(file: &Arc<ImageFile>, _: &Header, _: Vec<Layer>, _: u64) -> Result<()> {
    Err(absent(file))
}

pub(super) fn has_own_data(file: Arc<ImageFile>, _: &Header, _: Vec<Layer>) -> Result<bool> {
    Err(absent(&file))
}

/// Stands for an image that cannot be opened.
#[derive(Debug)]
pub(super) enum OwnData {}

impl OwnData {
    pub(super) fn new(file: Arc<ImageFile>, _: &Header, _: Vec<Layer>) -> Result<Self> {
        Err(absent(&file))
    }

    pub(super) fn within(&self, _: Range<u64>) -> io::Result<Vec<Range<u64>>> {
        match *self {}
    }
}

pub(super) fn repair(file: &ImageFile, _: &Header) -> Result<()> {
    Err(absent(file))
}

pub(super) fn check(_: &ImageFile, _: &Header) -> Result<()> {
    Ok(())
}

fn absent(file: &ImageFile) -> Error {
    Error::new(ErrorKind::UnsupportedImage, format!("disk image {} is a qcow2 image", file.path().display()))
        .with_remedy("build xvirt-core with the feature qcow2, or use raw images: qemu-img convert -O raw OLD NEW")
}
