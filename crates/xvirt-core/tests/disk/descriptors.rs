//! Images whose files are all passed as open descriptors.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use xvirt_core::ErrorKind;
use xvirt_core::config::Descriptor;
use xvirt_core::disk::{self, Access, ImageDescriptor, ImageFormat};

use crate::need;
use crate::support::*;

const SIZE: usize = MIB as usize;

fn writable(path: &Path, format: ImageFormat) -> ImageDescriptor {
    ImageDescriptor::new(File::options().read(true).write(true).open(path).unwrap(), format)
}

fn readable(path: &Path, format: ImageFormat) -> ImageDescriptor {
    ImageDescriptor::new(File::open(path).unwrap(), format)
}

/// A raw base, and a chain of two qcow2 images on it; the names in the images are invalid.
fn chain(folder: &Path) -> [PathBuf; 3] {
    let base = folder.join("base.raw");
    fs::write(&base, pattern(1, SIZE)).unwrap();
    let on = |name: &str, base: &str, format: &str| {
        qemu_create(folder, name, &["-f", "qcow2", "-F", format, "-b", base], "")
    };
    let middle = on("middle.qcow2", "base.raw", "raw");
    let top = on("top.qcow2", "middle.qcow2", "qcow2");
    [(base, "a"), (middle, "b"), (top, "c")].map(|(path, name)| {
        let moved = folder.join(name);
        fs::rename(path, &moved).unwrap();
        moved
    })
}

#[test]
fn a_chain_is_read_and_written_without_a_look_at_its_names() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let [base, middle, top] = chain(folder.path());
    assert_eq!(disk::open(&top, None, Access::ReadWrite).unwrap_err().kind(), ErrorKind::NotFound);
    let images =
        [writable(&top, ImageFormat::Qcow2), readable(&middle, ImageFormat::Qcow2), readable(&base, ImageFormat::Raw)];
    let mut model = pattern(1, SIZE);
    for seed in 2..4 {
        let disk = disk::open_descriptors(&images, Access::ReadWrite).unwrap();
        assert!(all(&*disk) == model);
        let bytes = pattern(seed, 4096);
        write(&*disk, seed * 8192, &bytes).unwrap();
        model[seed as usize * 8192..][..4096].copy_from_slice(&bytes);
        disk.flush().unwrap();
    }
    let disk = disk::open_descriptors(&images, Access::ReadOnly).unwrap();
    assert!(all(&*disk) == model);
    assert!(fs::read(&base).unwrap() == pattern(1, SIZE));
}

#[test]
fn every_file_of_a_chain_is_locked_and_clones_exclude_each_other() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let [base, middle, top] = chain(folder.path());
    let images =
        [writable(&top, ImageFormat::Qcow2), readable(&middle, ImageFormat::Qcow2), readable(&base, ImageFormat::Raw)];
    let busy = |result: xvirt_core::Result<_>| {
        let result: Result<std::sync::Arc<dyn disk::BlockBackend>, _> = result;
        result.is_err_and(|error| error.kind() == ErrorKind::Busy)
    };
    let by_path = |access| disk::open(&base, Some(ImageFormat::Raw), access);

    let writer = disk::open_descriptors(&images, Access::ReadWrite).unwrap();
    assert!(busy(disk::open_descriptors(&images.clone(), Access::ReadWrite)));
    assert!(busy(disk::open_descriptors(&images, Access::ReadOnly)));
    assert!(busy(by_path(Access::ReadWrite)));
    drop(by_path(Access::ReadOnly).unwrap());
    drop(writer);

    let readers = [(); 2].map(|()| disk::open_descriptors(&images, Access::ReadOnly).unwrap());
    assert!(busy(disk::open_descriptors(&images, Access::ReadWrite)));
    let [first, second] = readers;
    drop(first);
    assert!(busy(by_path(Access::ReadWrite)), "the lock went with the first of two readers");
    drop(second);
    drop(by_path(Access::ReadWrite).unwrap());
    // Another lock on the file prevents a descriptor from being used.
    let _other = by_path(Access::ReadWrite).unwrap();
    assert!(busy(disk::open_descriptors(&images, Access::ReadOnly)));
}

#[test]
fn images_on_clones_of_one_descriptor_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, pattern(1, SIZE)).unwrap();
    let descriptor = Descriptor::from(File::options().read(true).write(true).open(&path).unwrap());
    let open = |access| {
        let image = ImageDescriptor::new(descriptor.clone(), ImageFormat::Raw);
        disk::open_descriptors(&[image], access).map_err(|error| error.kind())
    };
    let writer = open(Access::ReadWrite).unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly, Access::Shared] {
        assert_eq!(open(access).err(), Some(ErrorKind::Busy), "{access:?}");
    }
    // The refused ones have not taken the lock along.
    let by_path = || disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite).map_err(|error| error.kind());
    assert_eq!(by_path().err(), Some(ErrorKind::Busy));
    drop(writer);
    let reader = open(Access::ReadOnly).unwrap();
    drop(open(Access::ReadOnly).unwrap());
    assert_eq!(by_path().err(), Some(ErrorKind::Busy));
    drop(reader);
    drop(by_path().unwrap());
}

#[test]
fn a_backing_file_is_not_written_through_its_own_descriptor() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let [base, middle, top] = chain(folder.path());
    let base = Descriptor::from(File::options().read(true).write(true).open(&base).unwrap());
    let raw = || ImageDescriptor::new(base.clone(), ImageFormat::Raw);
    let chain = [writable(&top, ImageFormat::Qcow2), readable(&middle, ImageFormat::Qcow2), raw()];
    let busy = |images: &[_]| {
        let opened = disk::open_descriptors(images, Access::ReadWrite);
        assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Busy));
    };
    let overlay = disk::open_descriptors(&chain, Access::ReadWrite).unwrap();
    busy(&[raw()]);
    drop(overlay);
    let _written = disk::open_descriptors(&[raw()], Access::ReadWrite).unwrap();
    busy(&chain);
}

#[test]
fn descriptors_that_make_no_chain_are_refused_with_a_remedy() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let [base, middle, top] = chain(folder.path());
    let (raw, qcow2) = (ImageFormat::Raw, ImageFormat::Qcow2);
    for (images, what, remedy) in [
        (vec![], "a disk needs an image", None),
        (
            vec![writable(&top, qcow2)],
            "is based on middle.qcow2, which was not given",
            Some("give a descriptor of that"),
        ),
        (
            vec![writable(&top, qcow2), readable(&base, raw)],
            "is based on a qcow2 image, but descriptor",
            Some("from the image down to the last backing file"),
        ),
        (
            vec![writable(&top, qcow2), readable(&middle, qcow2), readable(&base, raw), readable(&base, raw)],
            "is based on no file, but descriptor",
            Some("leave that descriptor out"),
        ),
        (vec![readable(&base, raw)], "it is not open for writing", Some("open the file for reading and writing")),
        (vec![readable(folder.path(), raw)], "it is a directory", Some("a regular file or a block device")),
        (
            vec![ImageDescriptor::new(OwnedFd::from(std::io::pipe().unwrap().0), raw)],
            "it is a FIFO",
            Some("a regular file or a block device"),
        ),
    ] {
        let error = disk::open_descriptors(&images, Access::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(remedy.is_none_or(|remedy| error.remedy().is_some_and(|found| found.contains(remedy))), "{error}");
    }
    // A refused chain leaves nothing locked.
    drop(disk::open(&base, Some(raw), Access::ReadWrite).unwrap());
}

#[test]
fn a_file_that_is_in_the_chain_twice_is_refused() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let [_, middle, top] = chain(folder.path());
    let images = [&top, &middle, &middle].map(|path| writable(path, ImageFormat::Qcow2));
    // The image in the middle records that its base is raw.
    fs::copy(&top, &middle).unwrap();
    let error = disk::open_descriptors(&images, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptImage);
    assert!(error.to_string().contains("is based on itself, through descriptor"), "{error}");
}
