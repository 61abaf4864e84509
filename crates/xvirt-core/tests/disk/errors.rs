//! Errors for images that cannot be used.

use std::fs;
use std::path::Path;

use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::{Error, ErrorKind};

use crate::need;
use crate::support::*;

#[track_caller]
fn tells(error: Error, kind: ErrorKind, what: &[&str], remedy: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(what.iter().all(|word| text.contains(word)), "{text}");
    assert!(error.remedy().is_some_and(|text| text.contains(remedy)), "{text}");
}

fn refusal(path: &Path) -> Error {
    disk::open(path, None, Access::ReadWrite).unwrap_err()
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let cannot = "cannot open disk image";

    let missing = at("missing.raw");
    let what = [cannot, text(&missing), "No such file or directory"];
    tells(refusal(&missing), ErrorKind::NotFound, &what, "create the image first");

    let what = [cannot, text(folder.path()), "it is a directory"];
    tells(refusal(folder.path()), ErrorKind::InvalidConfig, &what, "an image file or a block device");
    let error = disk::open(folder.path(), None, Access::ReadOnly).unwrap_err();
    tells(error, ErrorKind::InvalidConfig, &what, "an image file or a block device");

    let what = ["/dev/full", "it is a character device"];
    tells(refusal(Path::new("/dev/full")), ErrorKind::InvalidConfig, &what, "an image file or a block device");

    let empty = at("empty.raw");
    fs::write(&empty, "").unwrap();
    tells(refusal(&empty), ErrorKind::CorruptImage, &[text(&empty), "is empty"], "copied completely");
}

#[test]
#[cfg(feature = "qcow2")]
fn a_qcow2_image_of_no_size_is_refused_like_an_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.qcow2");
    disk::create(&path, ImageFormat::Qcow2, MIB).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Less than one sector is rejected like an empty image.
    for size in [0_u64, 511] {
        bytes[24..32].copy_from_slice(&size.to_be_bytes());
        fs::write(&path, &bytes).unwrap();
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = disk::open(&path, Some(ImageFormat::Qcow2), access).unwrap_err();
            tells(error, ErrorKind::CorruptImage, &[text(&path), "is empty"], "copied completely");
        }
    }
}

#[test]
fn sizes_that_are_too_large_are_refused_with_the_largest() {
    let folder = tempfile::tempdir().unwrap();
    for (format, largest) in [(ImageFormat::Raw, (1_u64 << 63) - 512), (ImageFormat::Qcow2, 1 << 51)] {
        if format == ImageFormat::Qcow2 && !cfg!(feature = "qcow2") {
            continue;
        }
        let path = folder.path().join(format.to_string());
        for size in [largest + 512, u64::MAX / 512 * 512] {
            let error = disk::create(&path, format, size).unwrap_err();
            tells(error, ErrorKind::InvalidConfig, &["is too large", text(&path)], &largest.to_string());
            disk::create(&path, format, MIB).unwrap();
            let error = disk::grow(&path, Some(format), size).unwrap_err();
            tells(error, ErrorKind::InvalidConfig, &["is too large", text(&path)], &largest.to_string());
            fs::remove_file(&path).unwrap();
        }
    }
    // The largest size is not rejected.
    let path = folder.path().join("largest");
    match disk::create(&path, ImageFormat::Raw, (1 << 63) - 512) {
        Err(error) => tells(error, ErrorKind::Io, &["File too large"], "use qcow2"),
        Ok(()) => assert!(path.exists()),
    }
}

#[test]
fn a_file_one_may_not_write_to_is_refused() {
    // SAFETY: the call accesses no memory.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIPPED a_file_one_may_not_write_to_is_refused: needs root to become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = std::thread::spawn(move || {
        // SAFETY: the raw call accesses no memory, and changes the user of this thread only.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(changed, 0);
        (refusal(&path), disk::create(path.with_extension("new"), ImageFormat::Raw, MIB).unwrap_err())
    });
    let (open, create) = refused.join().unwrap();
    let what = ["cannot open disk image", "a.raw", "Permission denied"];
    tells(open, ErrorKind::PermissionDenied, &what, "run as a user who may read and write the file");
    let what = ["cannot create disk image", "a.new", "Permission denied"];
    tells(create, ErrorKind::PermissionDenied, &what, "who may write to the directory");
}

#[test]
fn encrypted_images_are_refused() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for (format, fast, name) in [("luks", ",encrypt.iter-time=1", "LUKS"), ("aes", "", "AES")] {
        let path = folder.path().join(format);
        let options = format!("encrypt.format={format},encrypt.key-secret=s{fast}");
        let object = "secret,id=s,data=password";
        let made = ["create", "-q", "--object", object, "-f", "qcow2", "-o", &options, text(&path), "1M"];
        run("qemu-img", &made);
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = disk::open(&path, None, access).unwrap_err();
            let what = [text(&path), "is encrypted with", name];
            tells(error, ErrorKind::EncryptedImage, &what, "qemu-img convert --object secret");
        }
        // Nor as the base of another image.
        let top = qemu_create(folder.path(), "top", &["-u", "-f", "qcow2", "-F", "qcow2", "-b", text(&path)], "1M");
        tells(refusal(&top), ErrorKind::EncryptedImage, &[text(&path)], "decrypt it first");
    }
}

#[test]
fn images_with_unsupported_features_are_refused() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data_file={}", text(&folder.path().join("data")));
    let cases: [(&str, &[&str], &str); 4] = [
        ("zstd", &["-f", "qcow2", "-o", "compression_type=zstd"], "zstd compression"),
        ("extended", &["-f", "qcow2", "-o", "extended_l2=on"], "extended L2 entries"),
        ("external", &["-f", "qcow2", "-o", &data], "an external data file"),
        ("vmdk", &["-f", "vmdk"], "a VMDK image"),
    ];
    for (name, arguments, feature) in cases {
        let path = qemu_create(folder.path(), name, arguments, "1M");
        let what = [text(&path), feature, "not supported"];
        tells(refusal(&path), ErrorKind::UnsupportedImage, &what, "qemu-img convert -O qcow2 OLD NEW");
    }
    for (format, name) in [("vdi", "a VDI image"), ("vhdx", "a VHDX image"), ("vpc", "a VHD image")] {
        let path = qemu_create(folder.path(), format, &["-f", format], "1M");
        tells(refusal(&path), ErrorKind::UnsupportedImage, &[text(&path), name], "set its format to raw");
        drop(open_as(&path, ImageFormat::Raw, Access::ReadWrite));
    }
    let archive = folder.path().join("a.raw.gz");
    fs::write(&archive, b"\x1f\x8b\x08and so on").unwrap();
    tells(refusal(&archive), ErrorKind::UnsupportedImage, &["compressed with gzip"], "decompress it first");

    let old = qemu_create(folder.path(), "old", &["-f", "qcow2", "-o", "compat=0.10"], "1M");
    let what = [text(&old), "version 2", "cannot be written to safely"];
    tells(refusal(&old), ErrorKind::UnsupportedImage, &what, "qemu-img amend -f qcow2 -o compat=1.1");
    drop(disk::open(&old, None, Access::ReadOnly).unwrap());
    run("qemu-img", &["amend", "-f", "qcow2", "-o", "compat=1.1", text(&old)]);
    drop(open(&old));

    let qcow2 = qemu_create(folder.path(), "shared", &["-f", "qcow2"], "1M");
    let error = disk::open(&qcow2, None, Access::Shared).unwrap_err();
    tells(error, ErrorKind::UnsupportedImage, &["cannot be shared"], "convert -O raw");
}

#[test]
fn creating_and_growing_refuse_what_would_destroy() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, 4 * MIB).unwrap();
        let before = fs::read(&path).unwrap();
        let error = disk::create(&path, format, MIB).unwrap_err();
        tells(error, ErrorKind::AlreadyExists, &["cannot create disk image", text(&path)], "choose another name");
        let error = disk::grow(&path, None, MIB).unwrap_err();
        let what = ["cannot shrink disk image", text(&path), "from 4194304 to 1048576 bytes"];
        tells(error, ErrorKind::InvalidConfig, &what, "create a smaller disk");
        for size in [0, 1000] {
            let error = disk::grow(&path, None, size).unwrap_err();
            tells(error, ErrorKind::InvalidConfig, &["is not possible", text(&path)], "a multiple of 512 bytes");
        }
        assert!(fs::read(&path).unwrap() == before);
        let error = disk::create(folder.path().join("no/where"), format, MIB).unwrap_err();
        tells(error, ErrorKind::NotFound, &["cannot create disk image"], "create the directory first");
        let new = folder.path().join("new");
        let error = disk::create(&new, format, 1000).unwrap_err();
        tells(error, ErrorKind::InvalidConfig, &["a disk of 1000 bytes"], "a multiple of 512 bytes");
        assert!(!new.exists());
        disk::create(&new, format, u64::MAX / 512 * 512).unwrap_err();
        assert!(!new.exists(), "a failure must leave nothing behind");
    }
}
