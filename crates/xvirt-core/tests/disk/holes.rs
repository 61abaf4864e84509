//! Ranges of a disk that need not be read, because they are zeroes.

use std::ops::Range;

use xvirt_core::disk::{self, BlockBackend, ImageFormat};

use crate::support::*;

/// All ranges with data; adjacent ones are merged.
fn data(disk: &dyn BlockBackend) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while let Some(range) = disk.next_data(at).unwrap() {
        assert!(range.start >= at && !range.is_empty());
        at = range.end;
        match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.push(range),
        }
    }
    found
}

#[test]
fn holes_of_raw_files_and_unallocated_clusters_are_not_data() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, 1 << 40).unwrap();
        let disk = open(&path);
        assert_eq!(data(&*disk), []);
        for place in [0, 64 * MIB, (1 << 40) - 65536] {
            write(&*disk, place, &pattern(place, 65536)).unwrap();
        }
        disk.flush().unwrap();
        let expected = [0..65536, 64 * MIB..64 * MIB + 65536, (1 << 40) - 65536..1 << 40];
        assert_eq!(data(&*disk), expected, "{format}");
    }
}

#[test]
fn an_overlay_shows_the_data_below_and_hides_what_it_zeroed() {
    let folder = tempfile::tempdir().unwrap();
    let (base, top) = (folder.path().join("base"), folder.path().join("top"));
    disk::create(&base, ImageFormat::Raw, 16 * MIB).unwrap();
    write(&*open(&base), 4 * MIB, &pattern(1, 2 * MIB as usize)).unwrap();
    disk::overlay(&base, Some(ImageFormat::Raw), &top).unwrap();
    let disk = open(&top);
    assert_eq!(data(&*disk).as_slice(), std::slice::from_ref(&(4 * MIB..6 * MIB)));
    disk.write_zeroes(5 * MIB, MIB, true).unwrap();
    write(&*disk, 9 * MIB, &pattern(2, 65536)).unwrap();
    disk.flush().unwrap();
    assert_eq!(data(&*disk), [4 * MIB..5 * MIB, 9 * MIB..9 * MIB + 65536]);
}
