//! Malicious and corrupt images: errors are fine, but panics, hangs and excessive memory are not.

use std::fs;
use std::path::{Path, PathBuf};

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat};

use crate::need;
use crate::support::*;

const SIZE: u64 = 8 * MIB;

/// An image with normal, compressed, zero and missing clusters, and optionally an internal snapshot.
fn rich(folder: &Path, cluster: &str, snapshot: bool) -> PathBuf {
    let raw = folder.join("rich.raw");
    let mut bytes = pattern(4, 3000).repeat(SIZE as usize / 3000 + 1);
    bytes.truncate(SIZE as usize);
    bytes[MIB as usize..3 * MIB as usize].fill(0);
    fs::write(&raw, bytes).unwrap();
    let path = folder.join("rich.qcow2");
    let options = format!("cluster_size={cluster}");
    run("qemu-img", &["convert", "-c", "-O", "qcow2", "-o", &options, text(&raw), text(&path)]);
    if snapshot {
        run("qemu-img", &["snapshot", "-c", "one", text(&path)]);
    }
    let disk = open(&path);
    write(&*disk, 5 * MIB, &pattern(9, MIB as usize)).unwrap();
    disk.write_zeroes(7 * MIB, MIB / 2, false).unwrap();
    disk.write_zeroes(7 * MIB + MIB / 2, MIB / 4, true).unwrap();
    drop(disk);
    path
}

/// Performs all operations on an image; whether they succeed does not matter.
fn use_it(path: &Path) {
    let _ = disk::inspect(path, Some(ImageFormat::Qcow2));
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let Ok(disk) = disk::open(path, Some(ImageFormat::Qcow2), access) else { continue };
        let size = disk.capacity();
        let places = (0..size.min(SIZE)).step_by(MIB as usize / 2).chain([size.saturating_sub(65536)]);
        for place in places.filter(|place| place + 65536 <= size) {
            let _ = read(&*disk, place, 65536);
            if access == Access::ReadWrite {
                let _ = write(&*disk, place + 512, &[1; 4096]);
                let _ = disk.discard(place + 8192, 16384);
                let _ = disk.write_zeroes(place + 32768, 5000, true);
            }
        }
        let _ = disk.flush();
    }
}

#[test]
fn broken_headers_are_refused_by_name() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let path = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2"], "1M");
    let good = fs::read(&path).unwrap();
    let corrupt = |field: usize, bytes: &[u8], why: &str| {
        let mut image = good.clone();
        image[field..field + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, image).unwrap();
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = disk::open(&path, Some(ImageFormat::Qcow2), access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptImage, "{why}: {error}");
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.remedy().unwrap().contains("qemu-img check -r all"), "{error}");
        }
    };
    let huge = 0x7fff_ffff_ffff_0000u64.to_be_bytes();
    corrupt(0, b"ABCD", "does not start with the qcow2 magic");
    corrupt(8, &huge, "backing file name of 0 bytes");
    corrupt(8, &[0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], "not in its header");
    corrupt(8, &[0, 0, 0, 0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff], "backing file name of 4294967295 bytes");
    corrupt(20, &8u32.to_be_bytes(), "cluster size of 2^8 bytes");
    corrupt(20, &22u32.to_be_bytes(), "cluster size of 2^22 bytes");
    corrupt(20, &u32::MAX.to_be_bytes(), "cluster size");
    corrupt(24, &u64::MAX.to_be_bytes(), "bytes is impossible");
    corrupt(24, &huge, "L1 table is too small");
    corrupt(36, &0u32.to_be_bytes(), "L1 table is too small");
    corrupt(36, &u32::MAX.to_be_bytes(), "L1 table of 4294967295 entries is too big");
    corrupt(36, &4_000_000u32.to_be_bytes(), "L1 table is beyond the end");
    corrupt(40, &123u64.to_be_bytes(), "L1 table is not where");
    corrupt(40, &0u64.to_be_bytes(), "L1 table is not where");
    corrupt(40, &huge, "L1 table is beyond the end");
    corrupt(48, &123u64.to_be_bytes(), "refcount table is not where");
    corrupt(48, &huge, "refcount table is beyond the end");
    corrupt(56, &u32::MAX.to_be_bytes(), "refcount table of 4294967295 clusters");
    corrupt(56, &0u32.to_be_bytes(), "refcount table of 0 clusters");
    corrupt(72, &2u64.to_be_bytes(), "marked as corrupt");
    corrupt(96, &7u32.to_be_bytes(), "refcounts are too wide");
    corrupt(100, &103u32.to_be_bytes(), "header of 103 bytes");
    corrupt(100, &0u32.to_be_bytes(), "header of 0 bytes");
    corrupt(100, &0x00ff_fff8u32.to_be_bytes(), "header of 16777208 bytes");
    corrupt(104, &[1], "compression type contradicts");
    corrupt(116, &u32::MAX.to_be_bytes(), "extension is too long");
    corrupt(116, &49u32.to_be_bytes(), "table of feature names");
    corrupt(112, &0x0537_be77u32.to_be_bytes(), "a LUKS header but does not use encryption");
    for length in [0, 3, 4, 20, 71, 72, 100, 103, 65536, 3 * 65536] {
        fs::write(&path, &good[..length]).unwrap();
        let error = disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptImage, "{length}: {error}");
    }
    // Unknown versions and features are not damage.
    for (field, bytes, why) in [(4, &[0, 0, 0, 4][..], "qcow2 version 4"), (72, &[1; 8][..], "features")] {
        let mut image = good.clone();
        image[field..field + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, image).unwrap();
        let error = disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnsupportedImage), "{why}: {error}");
    }
}

#[test]
fn random_damage_never_panics() {
    need!("qemu-img");
    let rounds = std::env::var("XVIRT_TEST_ROUNDS").map_or(150, |rounds| rounds.parse().unwrap());
    // In memory, to avoid waiting for a disk.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for (kind, (cluster, snapshot)) in [("64k", false), ("4k", true), ("512", false)].into_iter().enumerate() {
        let good = fs::read(rich(folder.path(), cluster, snapshot)).unwrap();
        let path = folder.path().join("damaged.qcow2");
        for round in 0..rounds {
            let mut random = Random::new(0x1234_5678_9abc + round * 7919 + kind as u64);
            let mut image = good.clone();
            for _ in 0..1 + random.below_u64(6) {
                // Mostly the header and table entries, on which everything depends.
                let at = match random.below_u64(3) {
                    0 => random.below_u64(200),
                    1 => (random.below_u64(good.len() as u64 / 512) * 512) + random.below_u64(16),
                    _ => random.below_u64(good.len() as u64),
                };
                let values = [0, 0xff, 0x80, 0x40, 1, random.below_u64(256) as u8];
                image[at as usize] = values[random.below_u64(6) as usize];
            }
            if random.below_u64(10) == 0 {
                image.truncate(random.below_u64(good.len() as u64) as usize);
            }
            fs::write(&path, image).unwrap();
            if let Err(panic) = std::panic::catch_unwind(|| use_it(&path)) {
                panic!("cluster size {cluster}, round {round}: {panic:?}");
            }
        }
    }
}

#[test]
fn an_image_cannot_seem_endlessly_full() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let path = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2"], "1M");
    let mut image = fs::read(&path).unwrap();
    // All entries of the refcount table (in cluster 1) refer to the same block (in cluster 2), which is full.
    let block = image[65536..65544].to_vec();
    image[65536..131_072].copy_from_slice(&block.repeat(8192));
    image[131_072..196_608].fill(1);
    fs::write(&path, image).unwrap();
    let error = disk::open(&path, None, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptImage);
    assert!(error.to_string().contains("its refcount table points to 0x20000"), "{error}");
}

#[test]
fn an_image_whose_header_has_no_refcount_is_not_written_to() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let path = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2"], "1M");
    let mut image = fs::read(&path).unwrap();
    // The refcount block moves to the next entry of the table.
    let block = image[65536..65544].to_vec();
    image[65536..65544].fill(0);
    image[65544..65552].copy_from_slice(&block);
    fs::write(&path, image).unwrap();
    let error = disk::open(&path, None, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptImage);
    assert!(error.to_string().contains("its header has no refcount"), "{error}");
    disk::open(&path, None, Access::ReadOnly).unwrap();
}

#[test]
fn a_chain_cannot_take_endless_memory() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for depth in 0..8 {
        let base = (depth - 1).to_string();
        let arguments = ["-u", "-f", "qcow2", "-o", "cluster_size=2M", "-F", "qcow2", "-b", &base];
        qemu_create(folder.path(), &depth.to_string(), &arguments[..if depth == 0 { 5 } else { 9 }], "4M");
    }
    drop(open(&folder.path().join("5")));
    let error = disk::open(folder.path().join("7"), None, Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    assert!(error.to_string().contains("too many images with large clusters"), "{error}");
}
