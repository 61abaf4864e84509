//! The state of an image after a process that writes to it is killed.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat};

use crate::support::*;
use crate::{child, need};

#[test]
fn an_image_survives_the_death_of_its_writer() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for (cluster, step) in [("64k", 0), ("64k", 65536), ("4k", 4096), ("512", 16384)] {
        let options = format!("cluster_size={cluster}");
        let path = qemu_create(folder.path(), &format!("{cluster}-{step}"), &["-f", "qcow2", "-o", &options], "2G");
        child::kill(child::start(&format!("write{step}"), &path));

        // A reader must not repair the image.
        let error = disk::open(&path, None, Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptImage);
        assert!(error.to_string().contains("was not closed properly"), "{error}");
        assert!(error.remedy().unwrap().contains("open it for writing once"), "{error}");

        let disk = open(&path);
        for place in 7..50 {
            assert!(read(&*disk, place * 40 * MIB, 4096).unwrap() == pattern(place, 4096), "{cluster} {step} {place}");
        }
        // New clusters must not overlap used ones.
        for place in 0..50 {
            write(&*disk, place * 40 * MIB + 20 * MIB, &pattern(place + 1000, 300_032)).unwrap();
        }
        for place in 7..50 {
            assert!(read(&*disk, place * 40 * MIB, 4096).unwrap() == pattern(place, 4096));
            assert!(read(&*disk, place * 40 * MIB + 20 * MIB, 300_032).unwrap() == pattern(place + 1000, 300_032));
        }
        drop(disk);
        check(&path);
    }
}

#[test]
fn qemu_also_repairs_what_a_killed_writer_left() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let path = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2"], "2G");
    child::kill(child::start("write65536", &path));
    assert!(run("qemu-img", &["info", text(&path)]).contains("2 GiB"));
    run("qemu-img", &["check", "-q", "-r", "all", text(&path)]);
    let disk = open(&path);
    assert!(read(&*disk, 480 * MIB, 4096).unwrap() == pattern(12, 4096));
}

#[test]
fn compressed_clusters_survive_a_repair() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("a.raw");
    let bytes = pattern(5, 70_000).repeat(60);
    std::fs::write(&raw, &bytes[..4 * MIB as usize]).unwrap();
    let path = folder.path().join("a.qcow2");
    run("qemu-img", &["convert", "-c", "-O", "qcow2", text(&raw), text(&path)]);
    disk::grow(&path, None, 2048 * MIB).unwrap();
    child::kill(child::start("write65536", &path));
    let disk = disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap();
    let end = 4 * MIB as usize;
    assert!(read(&*disk, 3 * MIB, MIB as usize).unwrap()[..] == bytes[end - MIB as usize..end]);
    drop(disk);
    check(&path);
}

#[test]
fn a_kill_at_any_moment_leaves_only_what_was_written() {
    need!("qemu-img");
    let rounds = std::env::var("XVIRT_TEST_ROUNDS").map_or(8, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for (cluster, size) in [("512", 3 * MIB), ("4k", 16 * MIB), ("64k", 64 * MIB)] {
        let options = format!("cluster_size={cluster}");
        let path = qemu_create(folder.path(), cluster, &["-f", "qcow2", "-o", &options], &size.to_string());
        for round in 0..rounds {
            let writer = child::start(&format!("storm{round}"), &path);
            std::thread::sleep(std::time::Duration::from_micros(Random::new(round + 1).below_u64(1000) * 150));
            child::kill(writer);
            let disk = open(&path);
            for block in 0..size / child::BLOCK {
                let bytes = read(&*disk, block * child::BLOCK, child::BLOCK as usize).unwrap();
                let expected = pattern(block + 1, child::BLOCK as usize);
                for (found, expected) in bytes.chunks(512).zip(expected.chunks(512)) {
                    let right = found == expected || found.iter().all(|byte| *byte == 0);
                    assert!(right, "cluster size {cluster}, round {round}, block {block}");
                }
            }
            drop(disk);
            check(&path);
        }
    }
}

#[test]
fn what_does_not_write_to_a_dirty_image_leaves_every_byte_as_it_is() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.qcow2");
    disk::create(&path, ImageFormat::Qcow2, 64 * MIB).unwrap();
    write(&*open(&path), 0, &pattern(1, 300_000)).unwrap();
    let above = qemu_above(&path, "above.qcow2");
    mark_dirty(&path);
    let before = std::fs::read(&path).unwrap();
    let (qcow2, copy) = (Some(ImageFormat::Qcow2), folder.path().join("copy"));

    let refused = |error: xvirt_core::Error| {
        assert_eq!(error.kind(), ErrorKind::CorruptImage, "{error}");
        assert!(error.to_string().contains("was not closed properly"), "{error}");
        assert!(std::fs::read(&path).unwrap() == before, "{error}");
    };
    refused(disk::open(&path, qcow2, Access::ReadOnly).unwrap_err());
    refused(disk::open(&path, qcow2, Access::Shared).unwrap_err());
    refused(disk::overlay(&path, qcow2, &copy).unwrap_err());
    // A writer of an image only reads its backing files.
    refused(disk::open(&above, qcow2, Access::ReadWrite).unwrap_err());
    assert_eq!(disk::inspect(&path, qcow2).unwrap().virtual_size, 64 * MIB);
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn an_image_is_not_repaired_before_all_it_is_based_on_was_found() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.qcow2");
    disk::create(&base, ImageFormat::Qcow2, 64 * MIB).unwrap();
    let path = qemu_above(&base, "a.qcow2");
    mark_dirty(&path);
    let before = std::fs::read(&path).unwrap();
    std::fs::remove_file(&base).unwrap();
    let error = disk::open(&path, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
}

/// Makes an image based on another one, next to it.
fn qemu_above(base: &Path, name: &str) -> PathBuf {
    qemu_create(base.parent().unwrap(), name, &["-f", "qcow2", "-F", "qcow2", "-b", text(base)], "64M")
}

/// Sets the lowest bit of the incompatible features (qcow2 specification, "Header", bytes 72 to 79).
fn mark_dirty(path: &Path) {
    let image = OpenOptions::new().write(true).open(path).unwrap();
    image.write_all_at(&1_u64.to_be_bytes(), 72).unwrap();
}
