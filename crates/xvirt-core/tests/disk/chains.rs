//! Images based on other images.

use std::fs;
use std::path::Path;

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat};

use crate::need;
use crate::support::*;

fn on(folder: &Path, name: &str, base: &str, format: &str) -> std::path::PathBuf {
    qemu_create(folder, name, &["-f", "qcow2", "-F", format, "-b", base], "")
}

#[test]
fn a_chain_of_three_reads_through_and_only_the_top_is_written() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.raw");
    let mut model = pattern(1, 3 * MIB as usize);
    fs::write(&base, &model).unwrap();
    let middle = on(folder.path(), "middle.qcow2", "base.raw", "raw");
    {
        let disk = open(&middle);
        let bytes = pattern(2, 100_352);
        write(&*disk, MIB, &bytes).unwrap();
        model[MIB as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    let before = (fs::read(&base).unwrap(), fs::read(&middle).unwrap());
    let top = on(folder.path(), "top.qcow2", "middle.qcow2", "qcow2");
    {
        let disk = open(&top);
        assert!(all(&*disk) == model);
        let mut random = Random::new(99);
        for seed in 0..60 {
            let offset = random.below_u64(3 * MIB / 512 - 100) * 512;
            let bytes = pattern(seed, (random.below_u64(99) as usize + 1) * 512);
            match seed % 5 {
                4 => {
                    disk.write_zeroes(offset, bytes.len() as u64, true).unwrap();
                    model[offset as usize..][..bytes.len()].fill(0);
                }
                _ => {
                    write(&*disk, offset, &bytes).unwrap();
                    model[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        assert!(all(&*disk) == model);
    }
    check(&top);
    assert!(qemu_bytes(&top, "qcow2") == model);
    assert!(before == (fs::read(&base).unwrap(), fs::read(&middle).unwrap()));

    let info = disk::inspect(&top, None).unwrap();
    assert_eq!((info.format, info.virtual_size), (ImageFormat::Qcow2, 3 * MIB));
    assert_eq!(
        info.allocated,
        fs::metadata(&top).map(|file| std::os::unix::fs::MetadataExt::blocks(&file)).unwrap() * 512
    );
    let backing: Vec<_> = info.backing.iter().map(|file| (file.path.clone(), file.format)).collect();
    assert_eq!(backing, [(middle, ImageFormat::Qcow2), (base, ImageFormat::Raw)]);
}

#[test]
fn a_smaller_base_reads_as_zeroes_behind_its_end() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.raw"), pattern(1, 100_000)).unwrap();
    let top = qemu_create(folder.path(), "top.qcow2", &["-f", "qcow2", "-F", "raw", "-b", "base.raw"], "2M");
    let disk = open(&top);
    let mut model = pattern(1, 100_000);
    model.resize(2 * MIB as usize, 0);
    assert!(all(&*disk) == model);
    write(&*disk, 99_840, &[7; 512]).unwrap();
    model[99_840..100_352].fill(7);
    assert!(all(&*disk) == model);
    drop(disk);
    check(&top);
    assert!(qemu_bytes(&top, "qcow2") == model);
}

#[test]
fn a_missing_base_is_named() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.raw"), [0; 4096]).unwrap();
    let top = on(folder.path(), "top.qcow2", "base.raw", "raw");
    fs::remove_file(folder.path().join("base.raw")).unwrap();
    for error in [disk::open(&top, None, Access::ReadWrite).unwrap_err(), disk::inspect(&top, None).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains("base.raw of disk image") && text.contains("top.qcow2: No such file"), "{text}");
        assert!(error.remedy().unwrap().contains("qemu-img rebase -u -F FORMAT -b NEW"), "{text}");
    }
}

#[test]
fn a_loop_is_refused() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.raw"), [0; 4096]).unwrap();
    let one = on(folder.path(), "one.qcow2", "base.raw", "raw");
    let two = on(folder.path(), "two.qcow2", "one.qcow2", "qcow2");
    for (image, base) in [(&one, "two.qcow2"), (&two, "two.qcow2")] {
        run("qemu-img", &["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base, text(image)]);
        let error = disk::open(&two, None, Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptImage);
        assert!(error.to_string().contains("is based on itself, through"), "{error}");
        assert!(error.remedy().unwrap().contains("another backing file"), "{error}");
    }
}

#[test]
fn a_chain_may_be_64_deep_and_not_deeper() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("0"), pattern(1, 65536)).unwrap();
    for depth in 1..65 {
        // Without qemu-img opening the whole chain each time.
        let format = if depth == 1 { "raw" } else { "qcow2" };
        let base = (depth - 1).to_string();
        let arguments = ["-u", "-f", "qcow2", "-F", format, "-b", &base];
        qemu_create(folder.path(), &depth.to_string(), &arguments, "64k");
    }
    let disk = open(&folder.path().join("63"));
    assert!(all(&*disk) == pattern(1, 65536));
    drop(disk);
    let error = disk::open(folder.path().join("64"), None, Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    assert!(error.to_string().contains("more than 64 images"), "{error}");
}

#[test]
fn a_raw_base_that_poses_as_qcow2_is_not_believed() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, b"secret of the host".repeat(100)).unwrap();
    // The header that a guest could write to its raw disk.
    let base = qemu_create(folder.path(), "base", &["-f", "qcow2", "-F", "raw", "-b", "secret"], "1M");
    let header = fs::read(&base).unwrap();

    // The format is recorded as raw, so it is raw.
    let top = qemu_create(folder.path(), "top", &["-u", "-f", "qcow2", "-F", "raw", "-b", "base"], "1M");
    assert!(all(&*open(&top))[..header.len()] == header);

    // The format is not recorded: refused instead of guessed.
    let silent = folder.path().join("silent");
    fs::write(&silent, strip_backing_format(&fs::read(&top).unwrap())).unwrap();
    let error = disk::open(&silent, None, Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    assert!(error.to_string().contains("does not say the format of its backing file"), "{error}");
    assert!(error.remedy().unwrap().contains("qemu-img rebase -u -F"), "{error}");

    // Not recorded, but it looks like no other format.
    fs::write(&base, pattern(8, MIB as usize)).unwrap();
    assert!(all(&*open(&silent)) == pattern(8, MIB as usize));

    // Also the top image, if the user states its format.
    fs::write(&base, &header).unwrap();
    let raw = open_as(&base, ImageFormat::Raw, Access::ReadOnly);
    assert!(all(&*raw)[..header.len()] == header);
}

/// Turns the extension that records the format into one of an unknown type.
fn strip_backing_format(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    let at = image.windows(4).position(|bytes| bytes == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
    image[at] = 0x12;
    image
}

#[test]
fn a_base_that_is_no_file_is_refused() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for base in ["nbd://localhost/x", "json:{\"driver\":\"null-co\"}", "ssh:host"] {
        let top = qemu_create(folder.path(), "top", &["-u", "-f", "qcow2", "-F", "raw", "-b", base], "1M");
        let error = disk::open(&top, None, Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
        assert!(error.to_string().contains(base) && error.to_string().contains("not a file"), "{error}");
    }
    let top = qemu_create(folder.path(), "top", &["-u", "-f", "qcow2", "-F", "vmdk", "-b", "x"], "1M");
    let error = disk::open(&top, None, Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    assert!(error.to_string().contains("format vmdk"), "{error}");
}
