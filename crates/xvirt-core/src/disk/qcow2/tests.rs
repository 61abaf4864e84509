//! Even without the check, an image with inconsistent tables does not get its tables overwritten.

use std::fs;
use std::io;
use std::path::Path;

use super::check::check;
use super::disk::Qcow2Disk;
use super::layout::Layout;
use super::metadata::Metadata;
use super::*;
use crate::disk::lock::Hold;
use crate::disk::{ImageFormat, create, probe};
use crate::memory::GuestSlice;

/// The bytes that one L2 table covers.
const TABLE: u64 = CLUSTER / 8 * CLUSTER;
const COPIED: u64 = 1 << 63;

/// An image with data in its first cluster, and its tables where `create` puts them.
fn image(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("image");
    create(&path, ImageFormat::Qcow2, 4 * TABLE).unwrap();
    write(&open(&path, true), 0, 1).unwrap();
    path
}

/// Opens it for writing, with or without the check.
fn open(path: &Path, checked: bool) -> Qcow2Disk {
    let file = Arc::new(ImageFile::open(path, true).unwrap());
    file.lock(Hold::Exclusive).unwrap();
    let header = probe::header(&file).unwrap();
    let layout = if checked { check(&file, &header) } else { Layout::read(&file, &header) };
    let metadata = Arc::new(Metadata::new(&layout.unwrap(), &header));
    Qcow2Disk::with(file, &header, Vec::new(), Some(metadata)).unwrap()
}

fn write(disk: &Qcow2Disk, offset: u64, fill: u8) -> io::Result<()> {
    let mut bytes = vec![fill; CLUSTER as usize];
    disk.write(&[GuestSlice::from(&mut bytes[..])], offset)
}

fn number(path: &Path, at: u64) -> u64 {
    u64::from_be_bytes(fs::read(path).unwrap()[at as usize..][..8].try_into().unwrap())
}

fn set(path: &Path, at: u64, bytes: &[u8]) {
    let mut image = fs::read(path).unwrap();
    image[at as usize..][..bytes.len()].copy_from_slice(bytes);
    fs::write(path, image).unwrap();
}

/// The offsets of the L1 table, the first L2 table, and the first refcount block.
fn tables(path: &Path) -> [u64; 3] {
    let l1 = number(path, 40);
    [l1, number(path, l1) & !COPIED, number(path, number(path, 48))]
}

#[test]
fn metadata_that_is_called_free_does_not_become_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path());
    let [l1, l2, block] = tables(&path);
    for offset in [0, l1, l2, block, number(&path, 48)] {
        set(&path, block + offset / CLUSTER * 2, &[0, 0]);
        let header = fs::read(&path).unwrap()[..72].to_vec();
        let disk = open(&path, false);
        let refused = (1..20).filter(|number| write(&disk, number * CLUSTER, 0xaa).is_err()).count();
        assert!(refused > 0, "{offset:#x}");
        let after = fs::read(&path).unwrap();
        let mut words = after[offset as usize..][..CLUSTER as usize].chunks(8);
        assert!(words.all(|word| word != [0xaa; 8]), "{offset:#x}");
        assert!(after[..72] == header, "{offset:#x}");
        drop(disk);
        fs::remove_file(&path).unwrap();
        image(folder.path());
    }
}

#[test]
fn entries_that_point_to_metadata_are_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path());
    let [l1, l2, _] = tables(&path);
    set(&path, l2, &(COPIED | l1).to_be_bytes());
    let before = fs::read(&path).unwrap();
    let disk = open(&path, false);
    assert!(disk.place(0, 4096, true).is_none());
    for done in [write(&disk, 0, 0xaa), disk.discard(0, CLUSTER), disk.write_zeroes(0, CLUSTER, true)] {
        assert!(done.unwrap_err().to_string().contains("data would overwrite metadata, at 0x30000"));
    }
    // Reading is harmless.
    assert!(disk.place(0, 4096, false).is_some());
    drop(disk);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn an_entry_does_not_lead_to_a_table_that_was_made_since() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path());
    let [_, l2, _] = tables(&path);
    let next = fs::metadata(&path).unwrap().len().next_multiple_of(CLUSTER);
    for entry in [COPIED | next, COPIED | next | 1] {
        set(&path, l2 + 8, &entry.to_be_bytes());
        let disk = open(&path, false);
        write(&disk, TABLE, 1).unwrap();
        assert_eq!(number(&path, tables(&path)[0] + 8), COPIED | next, "the table is elsewhere");
        let error = write(&disk, CLUSTER, 0xaa).unwrap_err();
        assert!(error.to_string().contains("data would overwrite metadata"), "{error}");
        drop(disk);
        fs::remove_file(&path).unwrap();
        image(folder.path());
    }
}

#[test]
fn the_space_of_a_table_that_was_replaced_becomes_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path());
    let [l1, _, _] = tables(&path);
    let disk = open(&path, true);
    disk.grow(CLUSTER / 8 * TABLE * 2).unwrap();
    assert_ne!(number(&path, 40), l1);
    for number in 1..8 {
        write(&disk, number * CLUSTER, number as u8).unwrap();
    }
    let place = disk.place(CLUSTER, 512, true).unwrap();
    assert_eq!(place.offset(), l1);
    drop((place, disk));
    drop(open(&path, true));
}

#[test]
fn a_table_does_not_take_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path());
    let ([l1, l2, block], refcounts) = (tables(&path), number(&path, 48));
    let file = ImageFile::open(&path, true).unwrap();
    let header = probe::header(&file).unwrap();
    let metadata = Metadata::new(&check(&file, &header).unwrap(), &header);
    let refused = |offset: u64, length: u64, entry: Option<&[u8]>| {
        let error = metadata.write(&file, offset, length, entry, || panic!("it is written")).unwrap_err();
        assert!(error.to_string().contains("contradict each other"), "{error}");
    };
    refused(l1 + 8, 8, Some(&(COPIED | l2).to_be_bytes()));
    refused(l1 + 8, 8, Some(&(COPIED | block).to_be_bytes()));
    refused(l1 + 8, 8, Some(&(COPIED | 0x10_0000).to_be_bytes()));
    refused(refcounts + 8, 8, Some(&l2.to_be_bytes()));
    refused(l2 + 8, 8, Some(&(COPIED | 0x10_0000).to_be_bytes()));
    refused(0, CLUSTER, None);
    for pointer in [40, 48] {
        let mut bytes = fs::read(&path).unwrap()[..72].to_vec();
        bytes[pointer..pointer + 8].copy_from_slice(&block.to_be_bytes());
        refused(0, 72, Some(&bytes));
    }
    // A new table is written before an entry points to it.
    metadata.write(&file, 0x10_0000, CLUSTER, None, || Ok(())).unwrap();
    metadata.refuse_data(0x10_0000, 512).unwrap();
    metadata.write(&file, l1 + 8, 8, Some(&(COPIED | 0x10_0000).to_be_bytes()), || Ok(())).unwrap();
    metadata.refuse_data(0x10_0000, 512).unwrap_err();
    metadata.refuse_data(0xf_0000, CLUSTER + 1).unwrap_err();
    metadata.refuse_data(0xf_0000, CLUSTER).unwrap();
    metadata.refuse_data(0, 512).unwrap_err();
}
