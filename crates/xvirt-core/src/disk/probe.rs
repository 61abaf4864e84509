//! Detects the format of an image file from its first bytes.

use super::file::ImageFile;
use super::format::ImageFormat;
use super::header::{self, Header};
use super::segments::Segments;
use crate::{Error, ErrorKind, Result};

/// Known formats that are not supported. As raw disks they would be garbage to the guest, which could destroy them.
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

/// Detects the format of an image.
///
/// A guest controls the first bytes of its raw image, so a probed raw image can look like any format. That is
/// acceptable for an image that the user names, but not for one that another image names.
pub(super) fn format(file: &ImageFile) -> Result<ImageFormat> {
    let start = first_bytes(file, 512)?;
    if start.starts_with(&header::MAGIC) {
        return Ok(ImageFormat::Qcow2);
    }
    let known = |(magic, at, _): &&(&[u8], usize, &str)| start.get(*at..).is_some_and(|bytes| bytes.starts_with(magic));
    let Some((_, _, name)) = FOREIGN.iter().find(known) else { return Ok(ImageFormat::Raw) };
    let (path, compressed) = (file.path().display(), name.starts_with("compressed"));
    let remedy = match (compressed, *name) {
        (true, _) => "decompress it first; if it really is a raw disk, set its format to raw",
        (_, "a LUKS volume") => {
            return Err(Error::new(ErrorKind::EncryptedImage, format!("disk image {path} is {name}"))
                .with_remedy("open it with cryptsetup and use the resulting device"));
        }
        _ => "convert it: qemu-img convert -O qcow2 OLD NEW; if it really is a raw disk, set its format to raw",
    };
    Err(Error::new(ErrorKind::UnsupportedImage, format!("disk image {path} is {name}, which is not supported"))
        .with_remedy(remedy))
}

/// Reads the header of a qcow2 image and rejects unsupported ones.
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
