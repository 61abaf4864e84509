//! What is left when a process that writes to an image is killed.

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

        // What may only read must not repair.
        let error = disk::open(&path, None, Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptImage);
        assert!(error.to_string().contains("was not closed properly"), "{error}");
        assert!(error.remedy_text().unwrap().contains("open it for writing once"), "{error}");

        let disk = open(&path);
        for place in 7..50 {
            assert!(read(&*disk, place * 40 * MIB, 4096).unwrap() == pattern(place, 4096), "{cluster} {step} {place}");
        }
        // New clusters must not come to lie on used ones.
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
