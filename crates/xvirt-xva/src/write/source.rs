//! The disks to write, and the sources of their contents.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::input::ReadAt;
use crate::ova::{Document, ExpectedDisk};
use crate::{Error, ErrorKind, Result};

/// The longest id that fits into the names of members, in bytes.
const MAX_ID: usize = 80;

/// The source of a disk's contents, such as a raw image.
///
/// Several threads read at once. A disk smaller than its size in `ova.xml` is padded with zeroes.
pub trait DiskSource: ReadAt {
    /// The first range at or after `offset` that may contain data; `None` if the rest reads as zeroes.
    ///
    /// Holes are not read. By default everything is data, for sources that do not know their holes.
    ///
    /// # Errors
    /// The storage cannot report its holes.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.size()?;
        Ok((offset < size).then_some(offset..size))
    }

    /// Called when nothing before `end`, in bytes, will be read any more. By default this does nothing.
    fn release(&self, end: u64) {
        let _ = end;
    }
}

impl DiskSource for File {}

impl DiskSource for Vec<u8> {}

/// A disk to write.
#[derive(Clone, Copy)]
pub struct DiskContents<'a> {
    /// The id of the VDI object in the document.
    pub id: &'a str,
    /// The source of its contents.
    pub source: &'a dyn DiskSource,
}

impl std::fmt::Debug for DiskContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskContents").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A disk that matches the document.
pub(super) struct Source<'a> {
    pub(super) id: String,
    /// The size in `ova.xml` in bytes, to which shorter contents are padded with zeroes.
    pub(super) size: u64,
    /// The size of the contents in bytes.
    pub(super) available: u64,
    pub(super) contents: &'a dyn DiskSource,
}

/// The disks, in the order that an importer expects.
pub(super) fn sources<'a>(document: &Document, disks: &[DiskContents<'a>]) -> Result<Vec<Source<'a>>> {
    let mut sources = Vec::new();
    for expected in document.expected()? {
        let mut given = disks.iter().filter(|disk| disk.id == expected.id);
        match (given.next(), given.next()) {
            (Some(disk), None) => sources.push(source(expected, disk.source)?),
            (Some(_), Some(_)) => return Err(invalid(&expected.id, "is given twice", "give each disk once")),
            (None, _) if expected.required => {
                return Err(invalid(&expected.id, "is not given", "give the contents of every disk of the VM"));
            }
            (None, _) => {}
        }
    }
    match disks.iter().find(|disk| sources.iter().all(|source| source.id != disk.id)) {
        Some(disk) => Err(invalid(disk.id, "is not in ova.xml", "add it to the document")),
        None => Ok(sources),
    }
}

fn source(ExpectedDisk { id, size, .. }: ExpectedDisk, contents: &dyn DiskSource) -> Result<Source<'_>> {
    if id.is_empty() || id.contains(['/', '\0']) || id.len() > MAX_ID {
        let remedy = format!("use an id of at most {MAX_ID} bytes without a slash");
        return Err(invalid(&id, "cannot have this id", &remedy));
    }
    let available = contents.size().map_err(|error| Error::io(format!("cannot query the size of disk {id}"), error))?;
    if available > size {
        let why = format!("has {available} bytes, but {size} in ova.xml");
        return Err(invalid(&id, &why, "set its size in the document"));
    }
    Ok(Source { id, size, available, contents })
}

fn invalid(id: &str, why: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("cannot write the archive: disk {id} {why}")).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ova::{Object, Value};

    #[test]
    fn disks_that_do_not_fit_the_document_are_refused() {
        let mut document = Document::new_vm("vm");
        let disk = document.add_disk("disk", 1).unwrap();
        document.push(Object::new("VDI", "Ref:9", [("virtual_size", Value::text(512))]));
        let (nothing, good, large) = (Vec::new(), vec![0; 1 << 20], vec![0; (1 << 20) + 1]);
        let given = |id, source| DiskContents { id, source };
        let told = |disks: &[DiskContents<'_>]| sources(&document, disks).err().map(|error| error.to_string());
        let root = given(&disk.vdi, &good);
        assert_eq!(told(&[root]), None);
        // A disk that no device uses may be omitted.
        assert_eq!(told(&[given("Ref:9", &nothing), root]), None);
        for (disks, why) in [
            (&[][..], "is not given"),
            (&[root, root], "is given twice"),
            (&[root, given("Ref:77", &good)], "disk Ref:77 is not in ova.xml"),
            (&[given(&disk.vdi, &large)], "has 1048577 bytes, but 1048576 in ova.xml"),
        ] {
            let error = told(disks).unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
