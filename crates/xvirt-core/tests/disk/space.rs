//! The space that images allocate and release, and running out of space.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, Access, ImageFormat};

use crate::mount::Mount;
use crate::need;
use crate::support::*;

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn new_images_take_no_space() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, 100 << 30).unwrap();
        let info = disk::inspect(&path, None).unwrap();
        assert_eq!((info.format, info.virtual_size, info.backing.len()), (format, 100 << 30, 0));
        assert!(info.allocated <= MIB && info.allocated == allocated(&path), "{info:?}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let json = run("qemu-img", &["info", "--output=json", text(&path)]);
        assert!(json.contains("107374182400") && json.contains(&format!("\"{format}\"")), "{json}");
        assert!(read(&*open(&path), 50 << 30, 65536).unwrap() == [0; 65536]);
    }
    check(&folder.path().join("qcow2"));
}

#[test]
fn discarding_gives_space_back() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, 16 * MIB).unwrap();
        let disk = open(&path);
        write(&*disk, 0, &pattern(1, 16 * MIB as usize)).unwrap();
        disk.flush().unwrap();
        let full = allocated(&path);
        assert!(full >= 16 * MIB);
        disk.discard(4 * MIB, 6 * MIB).unwrap();
        disk.write_zeroes(12 * MIB, 2 * MIB, true).unwrap();
        disk.flush().unwrap();
        // Some tables of a qcow2 image are only written now.
        assert!(allocated(&path) <= full - 8 * MIB + 256 * 1024, "{format}: {} of {full}", allocated(&path));
        // Without permission to release it, the space stays allocated.
        let before = allocated(&path);
        disk.write_zeroes(0, MIB, false).unwrap();
        disk.flush().unwrap();
        assert!(allocated(&path) + 256 * 1024 >= before, "{format}");
        let mut model = pattern(1, 16 * MIB as usize);
        for (from, to) in [(0, 1), (4, 10), (12, 14)] {
            model[from * MIB as usize..to * MIB as usize].fill(0);
        }
        assert!(all(&*disk) == model, "{format}");
    }
}

#[test]
fn growing_adds_zeroes() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, MIB).unwrap();
        write(&*open(&path), 0, &pattern(1, MIB as usize)).unwrap();
        disk::grow(&path, None, MIB).unwrap();
        disk::grow(&path, Some(format), 3 << 30).unwrap();
        let disk = open(&path);
        assert_eq!(disk.capacity(), 3 << 30);
        write(&*disk, (3 << 30) - 512, &[5; 512]).unwrap();
        assert!(read(&*disk, 0, MIB as usize).unwrap() == pattern(1, MIB as usize));
        assert!(read(&*disk, MIB, MIB as usize).unwrap() == [0; MIB as usize]);
    }
    check(&folder.path().join("qcow2"));
    // Data of a larger base beyond the end of the old size must not appear.
    fs::write(folder.path().join("base"), pattern(1, 2 * MIB as usize)).unwrap();
    let top = qemu_create(folder.path(), "top", &["-f", "qcow2", "-F", "raw", "-b", "base"], "1M");
    disk::grow(&top, None, 4 * MIB).unwrap();
    let bytes = all(&*open(&top));
    assert!(bytes[..MIB as usize] == pattern(1, MIB as usize) && bytes[MIB as usize..].iter().all(|byte| *byte == 0));
    check(&top);
    disk::grow(&top, None, 16 << 40).unwrap();
    assert!(allocated(&top) < 3 * MIB);
}

#[test]
fn a_raw_size_that_is_no_multiple_of_a_sector_is_rounded_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    fs::write(&path, pattern(1, 1300)).unwrap();
    let mut model = pattern(1, 1300);
    model.resize(1536, 0);
    let disk = open_as(&path, ImageFormat::Raw, Access::ReadWrite);
    assert_eq!(disk.capacity(), 1536);
    assert!(all(&*disk) == model);
    assert!(read(&*disk, 1024, 512).unwrap() == model[1024..]);
    write(&*disk, 1024, &[9; 512]).unwrap();
    model[1024..].fill(9);
    assert!(all(&*disk) == model);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1536);
    // Nothing can be accessed beyond the end.
    for result in [
        read(&*disk, 1024, 1024).map(|_| ()),
        write(&*disk, 1536, &[1; 512]),
        disk.discard(u64::MAX - 511, 1024),
        disk.write_zeroes(512, 1536, false),
    ] {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
    // Nor may a truncated file go unnoticed.
    fs::File::options().write(true).open(&path).unwrap().set_len(512).unwrap();
    assert_eq!(read(&*disk, 512, 512).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn readers_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, MIB).unwrap();
        let before = fs::read(&path).unwrap();
        let disk = open_as(&path, format, Access::ReadOnly);
        assert!(disk.read_only());
        for result in [write(&*disk, 0, &[1; 512]), disk.discard(0, 65536), disk.write_zeroes(0, 65536, true)] {
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EROFS));
        }
        disk.flush().unwrap();
        drop(disk);
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn a_full_file_system_is_an_error_and_breaks_nothing() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let small = ["-t", "tmpfs", "-o", "size=6m", "tmpfs"];
    let name = "a_full_file_system_is_an_error_and_breaks_nothing";
    let Some(mount) = Mount::new(name, &folder.path().join("small"), &small) else { return };
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = mount.0.join("a");
        disk::create(&path, format, 64 * MIB).unwrap();
        let disk = open_as(&path, format, Access::ReadWrite);
        let mut written = Vec::new();
        let error = (0..64).find_map(|place| {
            let result = write(&*disk, place * MIB, &pattern(place, 200_192));
            if result.is_ok() {
                written.push(place);
            }
            result.err().or_else(|| disk.flush().err())
        });
        assert_eq!(error.unwrap().raw_os_error(), Some(libc::ENOSPC), "{format}");
        assert!(written.len() > 10);
        // As the guest would do: remove a file, and continue.
        disk.discard(0, 4 * MIB).unwrap();
        disk.flush().unwrap();
        write(&*disk, 60 * MIB, &pattern(60, 100_352)).unwrap();
        disk.flush().unwrap();
        for place in written.into_iter().filter(|place| *place >= 4) {
            assert!(read(&*disk, place * MIB, 200_192).unwrap() == pattern(place, 200_192), "{format} {place}");
        }
        drop(disk);
        if format == ImageFormat::Qcow2 {
            check(&path);
        }
        fs::remove_file(&path).unwrap();
    }
    // Nothing is left of an image that could not be created.
    mount.fill();
    let path = mount.0.join("b");
    let error = disk::create(&path, ImageFormat::Qcow2, 64 * MIB).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("cannot create disk image"), "{error}");
    assert_eq!(error.remedy(), Some("make room on the file system"));
    assert!(!path.exists());
}
