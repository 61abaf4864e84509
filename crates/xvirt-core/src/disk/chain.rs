//! Follows an image to its backing files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::descriptor::ImageDescriptor;
use super::file::{FileId, ImageFile};
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::probe;
use crate::{Error, ErrorKind, Result};

/// A longer chain is taken for a mistake.
const MAX_DEPTH: usize = 64;

/// An image that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Image<'a> {
    /// A file or block device, whose format is probed if none is given. Backing files are opened by their names in the
    /// images.
    Path(&'a Path, Option<ImageFormat>),
    /// The image, followed by its backing files. No file is opened by its name.
    Descriptors(&'a [ImageDescriptor]),
    /// A qcow2 image whose backing file is not yet where the image says, but at this path.
    Above(&'a Path, (&'a Path, ImageFormat)),
}

/// Opens an image and its backing files; the first layer is the image itself.
///
/// `hold` says how to lock the image; backing files are locked for reading. Without `hold`, nothing is locked. No file
/// is changed: a caller that owns an image which was not closed properly must repair it before use.
pub(super) fn open(image: Image<'_>, hold: Option<Hold>) -> Result<Vec<Layer>> {
    match image {
        Image::Path(path, format) => open_path(path, format, None, hold),
        Image::Above(path, base) => open_path(path, Some(ImageFormat::Qcow2), Some(base), hold),
        Image::Descriptors(images) => open_descriptors(images, hold),
    }
}

fn open_path(
    path: &Path,
    format: Option<ImageFormat>,
    base: Option<(&Path, ImageFormat)>,
    hold: Option<Hold>,
) -> Result<Vec<Layer>> {
    let mut chain = Chain::begin(ImageFile::open(path, writes(hold))?, format, hold)?;
    if let Some((base, format)) = base {
        chain.add(ImageFile::open(base, false)?, Some(format))?;
    }
    while let Some((below, format)) = chain.last().map(backing).transpose()?.flatten() {
        let above = chain.last_path();
        let file = ImageFile::open(&below, false).map_err(|error| explain(error, &above, &below))?;
        chain.add(file, format)?;
    }
    Ok(chain.layers)
}

fn open_descriptors(images: &[ImageDescriptor], hold: Option<Hold>) -> Result<Vec<Layer>> {
    let Some((top, mut below)) = images.split_first() else {
        return Err(Error::new(ErrorKind::InvalidConfig, "a disk needs an image"));
    };
    let mut chain = Chain::begin(ImageFile::of_descriptor(top, writes(hold))?, Some(top.format()), hold)?;
    loop {
        let named = chain.last().map(named).transpose()?.flatten().map(|(name, format)| (name.to_owned(), format));
        let above = chain.last_path();
        match (named, below.split_first()) {
            (None, None) => return Ok(chain.layers),
            (Some((_, named)), Some((image, rest))) => {
                if let Some(named) = named.filter(|format| *format != image.format()) {
                    let what = format!("disk image {} is based on a {named} image", above.display());
                    let what = format!("{what}, but {} was given as {}", image.name(), image.format());
                    return Err(Error::new(ErrorKind::InvalidConfig, what)
                        .with_remedy("give the descriptors from the image down to the last backing file"));
                }
                chain.add(ImageFile::of_descriptor(image, false)?, Some(image.format()))?;
                below = rest;
            }
            (Some((name, _)), None) => {
                let what = format!("disk image {} is based on {name}, which was not given", above.display());
                return Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("give a descriptor of that file too, after that of the image"));
            }
            (None, Some((image, _))) => {
                let what = format!("disk image {} is based on no file", above.display());
                return Err(Error::new(ErrorKind::InvalidConfig, format!("{what}, but {} was given", image.name()))
                    .with_remedy("leave that descriptor out"));
            }
        }
    }
}

fn writes(hold: Option<Hold>) -> bool {
    hold.is_some_and(|hold| hold != Hold::Read)
}

/// The files of an image that are open so far.
struct Chain {
    layers: Vec<Layer>,
    seen: HashSet<FileId>,
    hold: Option<Hold>,
}

impl Chain {
    fn begin(top: ImageFile, format: Option<ImageFormat>, hold: Option<Hold>) -> Result<Self> {
        if let Some(hold) = hold {
            top.lock(hold)?;
        }
        let format = match format {
            Some(format) => format,
            None => probe::format(&top)?,
        };
        let seen = HashSet::from([top.id()]);
        Ok(Self { layers: vec![layer(top, format, hold)?], seen, hold })
    }

    /// Adds what the last image is based on.
    fn add(&mut self, file: ImageFile, format: Option<ImageFormat>) -> Result<()> {
        let above = self.last_path();
        if !self.seen.insert(file.id()) {
            let what = format!("disk image {} is based on itself, through {}", file.path().display(), above.display());
            return Err(Error::new(ErrorKind::CorruptImage, what)
                .with_remedy("give one of the images another backing file: qemu-img rebase -u -b BASE IMAGE"));
        }
        if self.layers.len() >= MAX_DEPTH {
            let top = self.layers.first().map(|layer| layer.file.path().display().to_string()).unwrap_or_default();
            let what = format!("disk image {top} is based on more than {MAX_DEPTH} images");
            return Err(Error::new(ErrorKind::UnsupportedImage, what)
                .with_remedy("flatten it: qemu-img convert -O qcow2 OLD NEW"));
        }
        if self.hold.is_some() {
            file.lock(Hold::Read)?;
        }
        let format = match format {
            Some(format) => format,
            None => safe_format(&file, &above)?,
        };
        self.layers.push(layer(file, format, self.hold.map(|_| Hold::Read))?);
        Ok(())
    }

    fn last(&self) -> Option<&Layer> {
        self.layers.last()
    }

    fn last_path(&self) -> PathBuf {
        self.last().map(|layer| layer.file.path().to_owned()).unwrap_or_default()
    }
}

/// The path of an image's backing file, and its format if the image states it. Takes no locks.
pub(crate) fn below(path: &Path, format: ImageFormat) -> Result<Option<(PathBuf, Option<ImageFormat>)>> {
    backing(&layer(ImageFile::open(path, false)?, format, None)?)
}

fn layer(file: ImageFile, format: ImageFormat, hold: Option<Hold>) -> Result<Layer> {
    if format == ImageFormat::Raw {
        return Ok(Layer { file: Arc::new(file), kind: LayerKind::Raw });
    }
    let header = probe::header(&file)?;
    let path = file.path().display();
    match hold {
        Some(Hold::Exclusive) if header.version < 3 => {
            let what = format!("disk image {path} has qcow2 version 2, which cannot be written to safely");
            return Err(Error::new(ErrorKind::UnsupportedImage, what).with_remedy(format!(
                "upgrade it with qemu-img amend -f qcow2 -o compat=1.1 {path}, or write to an overlay of it"
            )));
        }
        Some(hold) if header.dirty && hold != Hold::Exclusive => {
            let what = format!("disk image {path} was not closed properly by its last writer");
            return Err(Error::new(ErrorKind::CorruptImage, what).with_remedy(format!(
                "open it for writing once, which repairs it, or run qemu-img check -r all {path}"
            )));
        }
        _ => {}
    }
    Ok(Layer { file: Arc::new(file), kind: LayerKind::Qcow2(header) })
}

/// The format of a backing file whose format the image does not state.
///
/// Probing is unsafe: a guest that once wrote to the file as a raw disk could make it look like a qcow2 image with any
/// file of the host as its backing file.
fn safe_format(file: &ImageFile, above: &Path) -> Result<ImageFormat> {
    if probe::format(file).is_ok_and(|format| format == ImageFormat::Raw) {
        return Ok(ImageFormat::Raw);
    }
    let (above, below) = (above.display(), file.path().display());
    let what = format!("disk image {above} does not say the format of its backing file {below}");
    Err(Error::new(ErrorKind::UnsupportedImage, what).with_remedy(format!(
        "record it, if the file can be trusted: qemu-img rebase -u -F qcow2 -b {below} {above} (or -F raw)"
    )))
}

/// The path and format of a layer's backing file.
fn backing(layer: &Layer) -> Result<Option<(PathBuf, Option<ImageFormat>)>> {
    let Some((name, format)) = named(layer)? else { return Ok(None) };
    Ok(Some((resolve(layer.file.path(), name)?, format)))
}

/// The file below a layer as its image names it, and in which format.
fn named(layer: &Layer) -> Result<Option<(&str, Option<ImageFormat>)>> {
    let LayerKind::Qcow2(header) = &layer.kind else { return Ok(None) };
    let Some(name) = &header.backing else { return Ok(None) };
    let format = match header.backing_format.as_deref() {
        None | Some("") => None,
        Some("raw" | "file" | "host_device") => Some(ImageFormat::Raw),
        Some("qcow2") => Some(ImageFormat::Qcow2),
        Some(other) => {
            let above = layer.file.path().display();
            let what = format!("disk image {above} is based on {name} in the format {other}");
            return Err(Error::new(ErrorKind::UnsupportedImage, format!("{what}, which is not supported"))
                .with_remedy("flatten it: qemu-img convert -O qcow2 OLD NEW"));
        }
    };
    Ok(Some((name, format)))
}

/// The path of a backing file, whose name is relative to the directory of its image.
fn resolve(above: &Path, name: &str) -> Result<PathBuf> {
    let plain = name.strip_prefix("file:").unwrap_or(name);
    // As in QEMU, a colon before the first slash means a protocol, such as "nbd:" or "json:".
    if plain.split('/').next().is_some_and(|first| first.contains(':')) {
        let what = format!("disk image {} is based on {name}, which is not a file", above.display());
        return Err(
            Error::new(ErrorKind::UnsupportedImage, what).with_remedy("flatten it: qemu-img convert -O qcow2 OLD NEW")
        );
    }
    Ok(above.parent().unwrap_or(Path::new("")).join(plain))
}

fn explain(error: Error, above: &Path, below: &Path) -> Error {
    let what = format!("cannot open backing file {} of disk image {}", below.display(), above.display());
    let explained = Error::new(error.kind(), what);
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            format!("put the file back, or name its new place: qemu-img rebase -u -F FORMAT -b NEW {}", above.display())
        }
        _ => error.remedy().unwrap_or("check the file").to_owned(),
    };
    match error.cause().and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(source) => explained.because(source.to_string()).with_remedy(remedy),
        None => explained.because(error.to_string()),
    }
}
