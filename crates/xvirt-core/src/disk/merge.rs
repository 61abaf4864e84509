//! Merges an image with the one that it is based on.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::backend::BlockBackend;
use super::bytes::is_zero;
use super::chain::{self, Image};
use super::create::make;
use super::file::cannot;
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::open::{Access, Opening, open};
use super::qcow2::{self, OwnData};
use super::scan::BLOCK;
use crate::memory::GuestSlice;
use crate::progress::{self, Progress};
use crate::{Error, ErrorKind, Result};

/// How much of the disk is looked at in one step, in bytes: what a table of an image with usual clusters covers.
const WINDOW: u64 = 512 << 20;
/// The bytes copied at once, a multiple of [`BLOCK`].
const CHUNK: u64 = 16 * BLOCK;

/// Creates at `target` an image with the contents of the qcow2 image at `top` that is based on the file on which the
/// image below `top` is based. `target` must be in a folder from which that file has the same relative name.
///
/// Takes no locks on `top` and below: the caller must ensure that no one writes to them.
pub(crate) fn merge(top: &Path, target: &Path, progress: &dyn Progress) -> Result<()> {
    let layers = chain::open(Image::Path(top, Some(ImageFormat::Qcow2)), None)?;
    let base = layers.get(1).and_then(|below| match &below.kind {
        LayerKind::Qcow2(header) => header.backing.clone(),
        LayerKind::Raw => None,
    });
    let (Some(base), Some(format)) = (base, layers.get(2).map(Layer::format)) else {
        let what = format!("disk image {} cannot be merged with the image below it", top.display());
        return Err(Error::new(ErrorKind::UnsupportedImage, format!("{what}, which is based on nothing"))
            .with_remedy("leave them as they are, or copy the disk: Repository::flatten"));
    };
    let lower =
        chain::below(top, ImageFormat::Qcow2)?.map(|(path, format)| chain::open(Image::Path(&path, format), None));
    let (upper, lower) = (own_data(layers)?, own_data(lower.transpose()?.unwrap_or_default())?);
    let source = Opening::open_unlocked(top, ImageFormat::Qcow2)?;
    make(target, |file| qcow2::create(file, source.capacity(), Some((base, format))))?;
    let copied = copy(&*source, [&upper, &lower], target, progress);
    copied.inspect_err(|_| {
        // The reported error matters more than a leftover file.
        let _ = fs::remove_file(target);
    })
}

/// The top image of a chain, to find its own data.
fn own_data(layers: Vec<Layer>) -> Result<OwnData> {
    let mut layers = layers.into_iter();
    match layers.next() {
        Some(Layer { file, kind: LayerKind::Qcow2(header) }) => OwnData::new(file, &header, layers.collect()),
        _ => Err(Error::new(ErrorKind::UnsupportedImage, "only qcow2 images can be merged")),
    }
}

/// Copies what one of the two images has.
fn copy(source: &dyn BlockBackend, images: [&OwnData; 2], target: &Path, progress: &dyn Progress) -> Result<()> {
    let merged = open(target, Some(ImageFormat::Qcow2), Access::ReadWrite)?;
    let capacity = source.capacity();
    let mut buffer = vec![0; CHUNK as usize];
    for start in (0..capacity).step_by(WINDOW as usize) {
        progress::step(progress, start, Some(capacity), "the merge")?;
        let window = start..(start + WINDOW).min(capacity);
        let failed = |error| cannot("merge", target, error);
        for range in found(images, window).map_err(failed)? {
            for at in (range.start..range.end).step_by(CHUNK as usize) {
                let length = (range.end - at).min(CHUNK);
                let Some(bytes) = buffer.get_mut(..length as usize) else { break };
                source.read(&[GuestSlice::from(&mut *bytes)], at).map_err(failed)?;
                write(&*merged, bytes, at).map_err(failed)?;
                progress::step(progress, at, Some(capacity), "the merge")?;
            }
        }
    }
    merged.flush().map_err(|error| cannot("write", target, error))?;
    progress::step(progress, capacity, Some(capacity), "the merge")
}

/// The parts of a range that one of the images has, in order and without overlaps.
fn found(images: [&OwnData; 2], window: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut all = Vec::new();
    for image in images {
        all.extend(image.within(window.clone())?);
    }
    all.sort_by_key(|range| range.start);
    let mut apart = Vec::<Range<u64>>::new();
    for range in all {
        match apart.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => apart.push(range),
        }
    }
    Ok(apart)
}

/// Writes data, and zeroes as zeroes, which hide what the base has there.
fn write(merged: &dyn BlockBackend, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    for (at, block) in (offset..).step_by(BLOCK as usize).zip(bytes.chunks_mut(BLOCK as usize)) {
        match is_zero(block) {
            true => merged.write_zeroes(at, block.len() as u64, false)?,
            false => merged.write(&[GuestSlice::from(block)], at)?,
        }
    }
    Ok(())
}
