//! Copies that share data with their base, on file systems with and without support for that.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat, OverlayKind};

use crate::mount::Mount;
use crate::need;
use crate::support::*;

/// A base with known bytes, whose copies are made, changed and compared.
fn copies(folder: &Path, format: ImageFormat, kind: OverlayKind) {
    let base = folder.join(format!("base.{format}"));
    let mut model = pattern(3, 4 * MIB as usize);
    disk::create(&base, format, 4 * MIB).unwrap();
    write(&*open(&base), 0, &model).unwrap();
    let before = fs::read(&base).unwrap();
    let copy = folder.join(format!("copy.{format}"));
    assert_eq!(disk::overlay(&base, Some(format), &copy).unwrap(), kind);
    let info = disk::inspect(&copy, None).unwrap();
    assert_eq!(info.virtual_size, 4 * MIB);
    assert_eq!(info.backing.len(), usize::from(kind == OverlayKind::Qcow2));
    let disk = open(&copy);
    assert!(all(&*disk) == model);
    write(&*disk, MIB, &[8; 4096]).unwrap();
    model[MIB as usize..][..4096].fill(8);
    assert!(all(&*disk) == model);
    drop(disk);
    assert!(fs::read(&base).unwrap() == before);
    if info.format == ImageFormat::Qcow2 {
        check(&copy);
    }
    assert!(qemu_bytes(&copy, &info.format.to_string()) == model);
}

#[test]
fn where_blocks_cannot_be_shared_a_qcow2_image_is_made() {
    need!("qemu-img");
    // ext4 and tmpfs do not support it; if the temporary folder does, the next test covers the same.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        copies(folder.path(), format, OverlayKind::Qcow2);
    }
    let base = folder.path().join("base.raw");

    // In the same folder, the two can be moved together; otherwise, the full path is recorded.
    let moved = folder.path().join("moved");
    fs::create_dir(&moved).unwrap();
    for name in ["base.raw", "copy.raw"] {
        fs::copy(folder.path().join(name), moved.join(name)).unwrap();
    }
    let info = disk::inspect(moved.join("copy.raw"), None).unwrap();
    assert_eq!((info.format, &info.backing[0].path), (ImageFormat::Qcow2, &moved.join("base.raw")));
    let away = folder.path().join("away");
    fs::create_dir(&away).unwrap();
    disk::overlay(&base, None, away.join("copy")).unwrap();
    assert_eq!(disk::inspect(away.join("copy"), None).unwrap().backing[0].path, base.canonicalize().unwrap());
    let odd = folder.path().join("a:b");
    fs::copy(&base, &odd).unwrap();
    disk::overlay(&odd, None, folder.path().join("odd")).unwrap();
    drop(open(&folder.path().join("odd")));

    // An existing file is kept, and a base in use is refused.
    let error = disk::overlay(&base, None, &odd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let writer = disk::open(&base, None, Access::ReadWrite).unwrap();
    let error = disk::overlay(&base, None, folder.path().join("new")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(!folder.path().join("new").exists());
    drop(writer);
}

#[test]
fn where_blocks_can_be_shared_they_are() {
    need!("qemu-img");
    let name = "where_blocks_can_be_shared_they_are";
    let folder = tempfile::tempdir().unwrap();
    for (kind, maker, arguments) in [("xfs", "mkfs.xfs", &["-q"]), ("btrfs", "mkfs.btrfs", &["-q"])] {
        let device = folder.path().join(kind);
        fs::File::create(&device).unwrap().set_len(320 * MIB).unwrap();
        if !Command::new(maker).args(arguments).arg(&device).status().is_ok_and(|status| status.success()) {
            println!("SKIPPED {name} ({kind}): {maker} is not installed");
            continue;
        }
        let options = ["-o", "loop", text(&device)];
        let Some(mount) = Mount::new(name, &folder.path().join("mounted"), &options) else { continue };
        for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
            copies(&mount.0, format, OverlayKind::Reflink);
        }
        // A clone of an image with a relative backing path must find it.
        disk::create(mount.0.join("deep"), ImageFormat::Raw, MIB).unwrap();
        let middle = qemu_create(&mount.0, "middle", &["-f", "qcow2", "-F", "raw", "-b", "deep"], "");
        fs::create_dir(mount.0.join("sub")).unwrap();
        assert_eq!(disk::overlay(&middle, None, mount.0.join("beside")).unwrap(), OverlayKind::Reflink);
        assert_eq!(disk::overlay(&middle, None, mount.0.join("sub/copy")).unwrap(), OverlayKind::Qcow2);
        drop(open(&mount.0.join("sub/copy")));
        // Reserved space is not given back by copying: the copy takes what it shares only once.
        assert!(fs::metadata(mount.0.join("copy.raw")).unwrap().blocks() > 0);
    }
}

#[test]
fn a_read_only_block_device_is_not_opened_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, pattern(7, MIB as usize)).unwrap();
    let output = Command::new("losetup").args(["-f", "--show", text(&file)]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("SKIPPED a_read_only_block_device_is_not_opened_for_writing: cannot make a loop device");
        return;
    };
    let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let result = std::panic::catch_unwind(|| {
        run("blockdev", &["--setro", &device]);
        let expected = format!(
            "cannot open block device {device} for writing: the host has set it to read-only; \
             open it read-only, or make it writable with `blockdev --setrw`"
        );
        let error = disk::open(&device, Some(ImageFormat::Raw), Access::ReadWrite).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::PermissionDenied, expected));
        let opened = fs::File::options().read(true).write(true).open(&device).unwrap();
        let descriptor = disk::ImageDescriptor::new(opened, ImageFormat::Raw);
        let error = disk::open_descriptors(&[descriptor], Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("the host has set it to read-only"), "{error}");
        let disk = disk::open(&device, Some(ImageFormat::Raw), Access::ReadOnly).unwrap();
        assert!(all(&*disk) == pattern(7, MIB as usize));
        drop(disk);
        run("blockdev", &["--setrw", &device]);
        let disk = disk::open(&device, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
        write(&*disk, 0, &[1; 512]).unwrap();
    });
    // A device keeps the setting for its next file.
    run("blockdev", &["--setrw", &device]);
    run("losetup", &["-d", &device]);
    result.unwrap();
}

#[test]
fn block_devices_are_raw_images() {
    let name = "block_devices_are_raw_images";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, pattern(6, MIB as usize)).unwrap();
    let output = Command::new("losetup").args(["-f", "--show", text(&file)]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("SKIPPED {name}: cannot make a loop device");
        return;
    };
    let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let result = std::panic::catch_unwind(|| {
        let disk = disk::open(&device, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
        assert_eq!(disk.capacity(), MIB);
        assert!(all(&*disk) == pattern(6, MIB as usize));
        write(&*disk, 4096, &[3; 1024]).unwrap();
        disk.write_zeroes(65536, 8192, true).unwrap();
        disk.discard(131_072, 65536).unwrap();
        disk.flush().unwrap();
        assert_eq!(disk::open(&device, None, Access::ReadWrite).unwrap_err().kind(), ErrorKind::Busy);
        drop(disk);
        let error = disk::grow(&device, None, 2 * MIB).unwrap_err();
        assert!(error.to_string().contains("cannot grow block device"), "{error}");
        // An overlay on a device is a qcow2 image.
        let copy = folder.path().join("copy");
        assert_eq!(disk::overlay(&device, Some(ImageFormat::Raw), &copy).unwrap(), OverlayKind::Qcow2);
        let bytes = read(&*open(&copy), 4096, 1024).unwrap();
        assert!(bytes == [3; 1024]);
        // A device that the host has mounted must not be used by guests.
        run("mkfs.ext2", &["-q", &device]);
        let mount = Mount::new(name, &folder.path().join("mounted"), &[&device]);
        if mount.is_some() {
            let error = disk::open(&device, None, Access::ReadWrite).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert!(error.remedy().unwrap().contains("unmount it"), "{error}");
        }
    });
    let _ = Command::new("losetup").args(["-d", &device]).status();
    result.unwrap();
}
