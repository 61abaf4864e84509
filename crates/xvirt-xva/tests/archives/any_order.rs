//! Archives that are read in any order.

use std::sync::Arc;

use xvirt_testing::archives;
use xvirt_testing::files::pattern;
use xvirt_testing::samples::{SAMPLES, sample};
use xvirt_xva::{Archive, ArchiveDisk, ErrorKind, WriteOptions};

const MIB: usize = 1 << 20;

/// A disk of 20 MiB with data in some places, and an archive with it.
fn archive(options: &WriteOptions) -> (Vec<u8>, Vec<u8>) {
    let mut disk = vec![0; 20 * MIB];
    for (at, length) in [(0, 5000), (3 * MIB + 100, 2 * MIB), (9 * MIB, MIB), (20 * MIB - 512, 512)] {
        disk[at..at + length].copy_from_slice(&pattern(at as u64 + 1, length));
    }
    // More to say than fits into the space that a small file gives back.
    let archive = archives::archive(&"long ".repeat(5000), std::slice::from_ref(&disk), options);
    (disk, archive)
}

fn read(disk: &ArchiveDisk, offset: usize, length: usize) -> xvirt_xva::Result<Vec<u8>> {
    let mut bytes = vec![0xee; length];
    disk.read_at(&mut bytes, offset as u64).map(|()| bytes)
}

/// All of a disk, read in pieces that fit nothing.
fn all(disk: &ArchiveDisk) -> Vec<u8> {
    let (size, piece) = (disk.size() as usize, 700 * 512);
    (0..size).step_by(piece).flat_map(|at| read(disk, at, piece.min(size - at)).unwrap()).collect()
}

#[test]
fn disks_are_read_in_any_order() {
    for options in [WriteOptions::zstd(), WriteOptions::none()] {
        let (expected, archive) = archive(&options);
        let archive = Archive::open(archive, "a.xva").unwrap();
        assert_eq!(archive.appliance().disks[0].id, archive.disks()[0].id());
        let disk = &archive.disks()[0];
        assert!(disk.size() == expected.len() as u64 && all(disk) == expected, "{options:?}");
        assert!(read(disk, 9 * MIB - 1000, 3000).unwrap() == expected[9 * MIB - 1000..9 * MIB + 2000]);
        // Beyond the end there are zeroes.
        let end = [&expected[20 * MIB - 512..], &[0; 512]].concat();
        assert!(read(disk, 20 * MIB - 512, 1024).unwrap() == end);
        assert_eq!(disk.next_data(10 * MIB as u64), Some(19 * MIB as u64..20 * MIB as u64));
        assert_eq!(disk.next_data(20 * MIB as u64), None);
    }
}

#[test]
fn samples_without_compression_are_read_in_any_order() {
    let compressed = ["xapi-gzip.xva", "xapi-zstd.xva"];
    // The last one's disk has 30 GiB.
    for name in SAMPLES.iter().filter(|name| !compressed.contains(name) && !name.starts_with("xs70")) {
        let (_, disks) = archives::disks(&sample(name)).unwrap();
        for disk in Archive::open(sample(name), *name).unwrap().disks() {
            assert!(all(disk) == disks[disk.id()], "{name}");
        }
    }
}

#[test]
fn archives_without_an_index_are_refused_with_a_way_out() {
    for name in ["xapi-gzip.xva", "xapi-zstd.xva"] {
        let error = Archive::open(sample(name), name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = format!("the archive {name} is compressed with");
        assert!(error.to_string().starts_with(&text), "{error}");
        assert!(error.to_string().contains("can only be read sequentially; import it"), "{error}");
    }
}

#[test]
fn a_damaged_chunk_is_an_error_of_who_needs_it() {
    let (expected, mut bytes) = archive(&WriteOptions::none());
    // In the chunk of random bytes at 9 MiB, of which no other part of the archive has a copy.
    let place = bytes.windows(64).position(|window| *window == expected[9 * MIB + 64..9 * MIB + 128]).unwrap();
    bytes[place] ^= 1;
    let disk = Arc::clone(&Archive::open(bytes, "a.xva").unwrap().disks()[0]);
    assert!(read(&disk, 0, MIB).unwrap() == expected[..MIB]);
    let error = read(&disk, 9 * MIB, 512).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("/00000009 is damaged: its xxhash checksum is"), "{error}");
}
