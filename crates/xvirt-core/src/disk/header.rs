//! Parses and validates the qcow2 header before anything else uses it.
//!
//! The header is untrusted, so every field is checked, and unsupported features are rejected by name. The limits on
//! table sizes are QEMU's.

use std::ops::Range;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The cluster size of new qcow2 images in bytes.
pub(super) const CLUSTER: u64 = 64 << 10;
/// The largest cluster, and so the largest header with all its extensions.
pub(super) const MAX_CLUSTER: u64 = 1 << MAX_CLUSTER_BITS;

const MIN_CLUSTER_BITS: u32 = 9;
const MAX_CLUSTER_BITS: u32 = 21;
const V2_LENGTH: u32 = 72;
const V3_LENGTH: u32 = 104;
pub(super) const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_REFCOUNT_ORDER: u32 = 6;
const V2_REFCOUNT_ORDER: u32 = 4;
const MAX_BITMAP_DIRECTORY_BYTES: u64 = 64 << 20;
const MAX_BACKING_NAME: u32 = 1023;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// The autoclear feature of consistent bitmaps.
const BITMAPS: u64 = 1 << 0;

const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
const EXTENSION_LUKS: u32 = 0x0537_be77;

/// The header fields that matter for opening the image.
#[derive(Debug)]
#[cfg_attr(not(feature = "qcow2"), expect(dead_code, reason = "without the format only the validation matters"))]
pub(super) struct Header {
    pub(super) version: u32,
    /// Whether the last writer did not close the image, so that refcounts may be wrong.
    pub(super) dirty: bool,
    /// Size of the disk in bytes.
    pub(super) size: u64,
    pub(super) cluster_size: u64,
    pub(super) l1_offset: u64,
    pub(super) l1_entries: u64,
    pub(super) refcount_offset: u64,
    pub(super) refcount_bytes: u64,
    /// Log2 of the refcount width in bits.
    pub(super) refcount_order: u32,
    pub(super) snapshots: u64,
    pub(super) snapshots_offset: u64,
    /// Whether there are bitmaps, consistent or not.
    pub(super) has_bitmaps: bool,
    /// The range of the bitmap directory, if the bitmaps are consistent.
    pub(super) bitmap_directory: Option<Range<u64>>,
    /// The name of the backing file, as stored in the image.
    pub(super) backing: Option<String>,
    /// The format of the backing file, if the image states it.
    pub(super) backing_format: Option<String>,
}

#[cfg(feature = "qcow2")]
impl Header {
    /// The range of the L1 table in bytes.
    pub(super) fn l1_table(&self) -> Range<u64> {
        self.l1_offset..self.l1_offset + self.l1_entries * 8
    }

    /// The range of the refcount table in bytes.
    pub(super) fn refcount_table(&self) -> Range<u64> {
        self.refcount_offset..self.refcount_offset + self.refcount_bytes
    }
}

/// Parses the header of an image file of `file_length` bytes.
///
/// `start` must be the first cluster, or the whole file if that is shorter.
pub(super) fn parse(start: &[u8], file_length: u64, path: &Path) -> Result<Header> {
    Parser { start, file_length, path }.header()
}

/// The error for an invalid image.
pub(super) fn corrupt(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::CorruptImage, format!("disk image {} is damaged: {why}", path.display()))
        .with_remedy(format!("repair it with qemu-img check -r all {}, or restore a copy", path.display()))
}

struct Extensions {
    backing_format: Option<String>,
    bitmap_directory: Option<Range<u64>>,
}

struct Parser<'a> {
    start: &'a [u8],
    file_length: u64,
    path: &'a Path,
}

impl Parser<'_> {
    fn header(&self) -> Result<Header> {
        if self.bytes(0, 4)? != MAGIC {
            return Err(self.corrupt("it does not start with the qcow2 magic"));
        }
        let version = self.u32(4)?;
        if !(2..=3).contains(&version) {
            return Err(self.unsupported(&format!("qcow2 version {version}"), CONVERT));
        }
        self.encryption()?;
        let dirty = version >= 3 && self.features()?;
        let cluster_bits = self.u32(20)?;
        if !(MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS).contains(&cluster_bits) {
            return Err(self.corrupt(&format!("a cluster size of 2^{cluster_bits} bytes is impossible")));
        }
        let cluster_size = 1u64 << cluster_bits;
        let header_length = if version >= 3 { self.header_length(cluster_size)? } else { V2_LENGTH };
        let size = self.u64(24)?;
        self.l1_table(size, cluster_bits)?;
        let refcount_order = self.refcounts(version, cluster_bits)?;
        let extensions = self.extensions(version, header_length, cluster_size)?;
        let current_bitmaps = version >= 3 && self.u64(88)? & BITMAPS != 0;
        Ok(Header {
            version,
            dirty,
            size,
            cluster_size,
            l1_offset: self.u64(40)?,
            l1_entries: u64::from(self.u32(36)?),
            refcount_offset: self.u64(48)?,
            refcount_bytes: u64::from(self.u32(56)?) << cluster_bits,
            refcount_order,
            snapshots: u64::from(self.u32(60)?),
            snapshots_offset: self.u64(64)?,
            has_bitmaps: extensions.bitmap_directory.is_some(),
            bitmap_directory: extensions.bitmap_directory.filter(|_| current_bitmaps),
            backing: self.backing(cluster_size)?,
            backing_format: extensions.backing_format,
        })
    }

    fn encryption(&self) -> Result<()> {
        let method = match self.u32(32)? {
            0 => return Ok(()),
            1 => "AES",
            2 => "LUKS",
            _ => "an unknown method",
        };
        let path = self.path.display();
        Err(Error::new(ErrorKind::EncryptedImage, format!("disk image {path} is encrypted with {method}"))
            .with_remedy("decrypt it first: qemu-img convert --object secret,id=s,file=PASSWORD --image-opts driver=qcow2,encrypt.key-secret=s,file.filename=IMAGE -O qcow2 NEW"))
    }

    /// Whether the image is dirty; rejects all other features.
    fn features(&self) -> Result<bool> {
        let features = self.u64(72)?;
        if features & CORRUPT != 0 {
            return Err(self.corrupt("it is marked as corrupt"));
        }
        if features & EXTERNAL_DATA != 0 {
            return Err(self.unsupported("an external data file", CONVERT));
        }
        if features & COMPRESSION_TYPE != 0 {
            return Err(self.unsupported("zstd compression", CONVERT));
        }
        if features & EXTENDED_L2 != 0 {
            return Err(self.unsupported("extended L2 entries", CONVERT));
        }
        if features & !DIRTY != 0 {
            return Err(self.unsupported(&format!("the unknown features {features:#x}"), CONVERT));
        }
        Ok(features & DIRTY != 0)
    }

    fn header_length(&self, cluster_size: u64) -> Result<u32> {
        let length = self.u32(100)?;
        if length < V3_LENGTH || u64::from(length) > cluster_size || !length.is_multiple_of(8) {
            return Err(self.corrupt(&format!("a header of {length} bytes is impossible")));
        }
        // The compression type, which must be zlib (0) if the feature bit is not set.
        if length > V3_LENGTH && self.bytes(u64::from(V3_LENGTH), 1)? != [0] {
            return Err(self.corrupt("its compression type contradicts its features"));
        }
        Ok(length)
    }

    fn l1_table(&self, size: u64, cluster_bits: u32) -> Result<()> {
        let (entries, offset) = (u64::from(self.u32(36)?), self.u64(40)?);
        if size > i64::MAX as u64 {
            return Err(self.corrupt(&format!("a disk of {size} bytes is impossible")));
        }
        if entries * 8 > MAX_L1_BYTES {
            return Err(self.corrupt(&format!("an L1 table of {entries} entries is too big")));
        }
        let mapped_by_entry = 1u64 << (2 * cluster_bits - 3);
        if entries < size.div_ceil(mapped_by_entry) {
            return Err(self.corrupt("its L1 table is too small for its size"));
        }
        self.table("L1", offset, entries * 8, cluster_bits)
    }

    /// Log2 of the refcount width.
    fn refcounts(&self, version: u32, cluster_bits: u32) -> Result<u32> {
        let (offset, clusters) = (self.u64(48)?, u64::from(self.u32(56)?));
        if clusters == 0 || clusters << cluster_bits > MAX_REFCOUNT_TABLE_BYTES {
            return Err(self.corrupt(&format!("a refcount table of {clusters} clusters is impossible")));
        }
        let order = if version >= 3 { self.u32(96)? } else { V2_REFCOUNT_ORDER };
        if order > MAX_REFCOUNT_ORDER {
            return Err(self.corrupt("its refcounts are too wide"));
        }
        // Only its start must be in the file: bytes beyond the end of the file are zeroes.
        self.table("refcount", offset, 8, cluster_bits)?;
        Ok(order)
    }

    fn table(&self, name: &str, offset: u64, length: u64, cluster_bits: u32) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(1 << cluster_bits) || offset == 0 {
            return Err(self.corrupt(&format!("its {name} table is not where a table can be")));
        }
        match offset.checked_add(length) {
            Some(end) if end <= self.file_length => Ok(()),
            _ => Err(self.corrupt(&format!("its {name} table is beyond the end of the file"))),
        }
    }

    fn extensions(&self, version: u32, header_length: u32, cluster_size: u64) -> Result<Extensions> {
        let mut found = Extensions { backing_format: None, bitmap_directory: None };
        let mut at = u64::from(header_length);
        // In version 2, the name of the backing file may follow directly, without extensions.
        let name_at = self.u64(8)?;
        let end = if version == 2 && name_at > 0 { name_at.min(cluster_size) } else { cluster_size };
        // Bytes beyond the end of the file are zeroes, which end the extensions.
        while at + 8 <= end.min(self.start.len() as u64) {
            let (kind, length) = (self.u32(at)?, u64::from(self.u32(at + 4)?));
            at += 8;
            if kind == 0 {
                return Ok(found);
            }
            if at + length > cluster_size {
                return Err(self.corrupt("a header extension is too long"));
            }
            match kind {
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(self.text(at, length)?),
                EXTENSION_BITMAPS => found.bitmap_directory = Some(self.bitmap_directory(at, length)?),
                EXTENSION_FEATURE_NAMES if !length.is_multiple_of(48) => {
                    return Err(self.corrupt("its table of feature names is broken"));
                }
                EXTENSION_LUKS => return Err(self.corrupt("it has a LUKS header but does not use encryption")),
                _ => {}
            }
            at += length.next_multiple_of(8);
        }
        if version >= 3 && at + 8 > cluster_size {
            return Err(self.corrupt("its header extensions do not end"));
        }
        Ok(found)
    }

    fn bitmap_directory(&self, at: u64, length: u64) -> Result<Range<u64>> {
        let (size, offset) = (self.u64(at + 8)?, self.u64(at + 16)?);
        match offset.checked_add(size) {
            Some(end) if length >= 24 && size <= MAX_BITMAP_DIRECTORY_BYTES && end <= self.file_length => {
                Ok(offset..end)
            }
            _ => Err(self.corrupt("its bitmap directory is not where a directory can be")),
        }
    }

    fn backing(&self, cluster_size: u64) -> Result<Option<String>> {
        let (offset, length) = (self.u64(8)?, self.u32(16)?);
        if offset == 0 {
            return Ok(None);
        }
        if length == 0 || length > MAX_BACKING_NAME {
            return Err(self.corrupt(&format!("a backing file name of {length} bytes is impossible")));
        }
        match offset.checked_add(u64::from(length)) {
            Some(end) if end <= cluster_size => self.text(offset, u64::from(length)).map(Some),
            _ => Err(self.corrupt("its backing file name is not in its header")),
        }
    }

    fn text(&self, at: u64, length: u64) -> Result<String> {
        let text = std::str::from_utf8(self.bytes(at, length)?);
        match text {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(self.corrupt("a name in its header is not UTF-8 text")),
        }
    }

    fn u32(&self, at: u64) -> Result<u32> {
        let bytes = self.bytes(at, 4)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn u64(&self, at: u64) -> Result<u64> {
        Ok(u64::from(self.u32(at)?) << 32 | u64::from(self.u32(at + 4)?))
    }

    fn bytes(&self, at: u64, length: u64) -> Result<&[u8]> {
        let range = at as usize..at.saturating_add(length) as usize;
        self.start.get(range).ok_or_else(|| self.corrupt("it ends within its header"))
    }

    fn corrupt(&self, why: &str) -> Error {
        corrupt(self.path, why)
    }

    fn unsupported(&self, what: &str, remedy: &str) -> Error {
        let path = self.path.display();
        Error::new(ErrorKind::UnsupportedImage, format!("disk image {path} uses {what}, which is not supported"))
            .with_remedy(remedy)
    }
}

const CONVERT: &str = "convert it: qemu-img convert -O qcow2 OLD NEW";
