//! What an image file is, judged by its first bytes.

use super::file::ImageFile;
use super::format::ImageFormat;
use super::header::{self, Header};
use super::segments::Segments;
use crate::{Error, ErrorKind, Result};

/// Formats we know by sight and cannot open; taking them for raw would show the guest garbage and let it destroy them.
const FOREIGN: [(&[u8], usize, &str); 11] = [
    (b"KDMV", 0, "a VMDK image"),
    (b"# Disk DescriptorFile", 0, "a VMDK descriptor"),
    (b"vhdxfile", 0, "a VHDX image"),
    (b"conectix", 0, "a VHD image"),
    (b"\x7f\x10\xda\xbe", 64, "a VDI image"),
    (b"QED\0", 0, "a QED image"),
    (b"LUKS\xba\xbe", 0, "a LUKS volume"),
    (b"\x1f\x8b\x08", 0, "compressed with gzip"),
    (b"\xfd7zXZ\0", 0, "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", 0, "compressed with zstd"),
    (b"BZh", 0, "compressed with bzip2"),
];

/// Says which format the image seems to have.
///
/// A guest decides what a raw image begins with, so a raw image that is probed can pose as anything. That is bearable
/// for the image the user names, never for one that another image names.
pub(super) fn format(file: &ImageFile) -> Result<ImageFormat> {
    let start = first_bytes(file, 512)?;
    if start.starts_with(&header::MAGIC) {
        return Ok(ImageFormat::Qcow2);
    }
    let known = |(magic, at, _): &&(&[u8], usize, &str)| start.get(*at..).is_some_and(|bytes| bytes.starts_with(magic));
    let Some((_, _, name)) = FOREIGN.iter().find(known) else { return Ok(ImageFormat::Raw) };
    let (path, compressed) = (file.path().display(), name.starts_with("compressed"));
    let remedy = match (compressed, *name) {
        (true, _) => "decompress it first; if these are the bytes of a raw disk, say that its format is raw",
        (_, "a LUKS volume") => {
            return Err(Error::new(ErrorKind::EncryptedImage, format!("disk image {path} is {name}"))
                .with_remedy("open it with cryptsetup and use the device that gives"));
        }
        _ => {
            "convert it: qemu-img convert -O qcow2 OLD NEW; if these are the bytes of a raw disk, say that its format is raw"
        }
    };
    Err(Error::new(ErrorKind::UnsupportedImage, format!("disk image {path} is {name}, which is not supported"))
        .with_remedy(remedy))
}

/// Reads the header of a qcow2 image and refuses what cannot be opened.
pub(super) fn header(file: &ImageFile) -> Result<Header> {
    let length = file.len().map_err(|error| cannot_read(file, error))?;
    header::parse(&first_bytes(file, header::MAX_CLUSTER)?, length, file.path())
}

fn first_bytes(file: &ImageFile, most: u64) -> Result<Vec<u8>> {
    let length = file.len().map_err(|error| cannot_read(file, error))?.min(most);
    let mut bytes = vec![0; length as usize];
    let mut segments = Segments::of_bytes(&mut bytes);
    file.read(&mut segments, 0).map_err(|error| cannot_read(file, error))?;
    let missing = segments.len() as usize;
    bytes.truncate(length as usize - missing);
    Ok(bytes)
}

fn cannot_read(file: &ImageFile, error: std::io::Error) -> Error {
    Error::io(format!("cannot read disk image {}", file.path().display()), error)
}
