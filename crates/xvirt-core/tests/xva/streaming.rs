//! Archives that are read in any order, and VMs that run from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Disk, DiskSource, VmConfig};
use xvirt_core::disk::BlockBackend;
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Archive, Export, Import};

use crate::mount::Mount;
use crate::support::*;

const MIB: usize = 1 << 20;

/// A disk of 20 MiB with data in some places, and an archive with it.
fn archive(folder: &Path, options: &Export) -> (Vec<u8>, PathBuf) {
    let mut disk = vec![0; 20 * MIB];
    for (at, length) in [(0, 5000), (3 * MIB + 100, 2 * MIB), (9 * MIB, MIB), (20 * MIB - 512, 512)] {
        disk[at..at + length].copy_from_slice(&pattern(at as u64 + 1, length));
    }
    let (raw, path) = (folder.join("source.raw"), folder.join("archive.xva"));
    fs::write(&raw, &disk).unwrap();
    xva::export(&config(&raw), fs::File::create(&path).unwrap(), options, &()).unwrap();
    (disk, path)
}

/// A VM whose metadata does not fit into the space that a small file releases.
fn config(disk: &Path) -> VmConfig {
    VmConfig::new("a").description("long ".repeat(5000)).disk(Disk::raw(disk))
}

/// A whole disk, read in pieces of unaligned sizes.
fn all(disk: &dyn BlockBackend) -> Vec<u8> {
    let piece = |at: u64| read(disk, at, (disk.capacity() - at).min(700 * 512) as usize);
    (0..disk.capacity()).step_by(700 * 512).flat_map(piece).collect()
}

#[test]
fn disks_are_read_from_the_archive_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    for options in [Export::zstd(), Export::none()] {
        let (expected, path) = archive(folder.path(), &options);
        let archive = Archive::open(path).unwrap();
        let disk = &archive.disks()[0];
        assert_eq!((disk.capacity(), disk.read_only()), (expected.len() as u64, true));
        assert!(all(&**disk) == expected, "{options:?}");
        assert!(read(&**disk, 9 * MIB as u64 - 1000, 3000) == expected[9 * MIB - 1000..9 * MIB + 2000]);
        assert_eq!(disk.next_data(10 * MIB as u64).unwrap(), Some(19 * MIB as u64..20 * MIB as u64));
    }
}

#[test]
fn archives_without_an_index_are_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xva");
    for name in ["xapi-gzip.xva", "xapi-zstd.xva"] {
        fs::write(&path, sample(name)).unwrap();
        let error = Archive::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedArchive);
        assert!(error.to_string().contains("can only be read sequentially; import it"), "{error}");
    }
}

#[test]
fn a_damaged_chunk_is_an_error_of_who_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, path) = archive(folder.path(), &Export::none());
    let mut bytes = fs::read(&path).unwrap();
    // In the chunk of random bytes at 9 MiB, of which no other part of the archive has a copy.
    let place = bytes.windows(64).position(|window| *window == expected[9 * MIB + 64..9 * MIB + 128]).unwrap();
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    let disk = Arc::clone(&Archive::open(&path).unwrap().disks()[0]);
    assert!(read(&*disk, 0, MIB) == expected[..MIB]);
    let mut memory = vec![0_u8; 512];
    let error = disk.read(&[xvirt_core::disk::GuestSlice::from(&mut memory[..])], 9 * MIB as u64).unwrap_err();
    assert!(error.to_string().contains("/00000009 is damaged: its xxhash checksum is"), "{error}");
}

#[test]
fn a_vm_is_used_while_it_is_imported_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let (mut expected, path) = archive(folder.path(), &Export::zstd());
    let streaming = xva::import_streaming(&path, &repository, &Import::default().name("b")).unwrap();
    assert!(repository.vms().unwrap().is_empty());
    let DiskSource::Backend(disk) = &streaming.config().disks[0].source else { panic!("not a backend") };
    assert!(read(&**disk, 4 * MIB as u64, 4096) == expected[4 * MIB..4 * MIB + 4096]);
    let written = pattern(99, 10_000);
    write(&**disk, 9 * MIB as u64 + 512, &written[..9728]);
    expected[9 * MIB + 512..9 * MIB + 512 + 9728].copy_from_slice(&written[..9728]);

    let cancelled = streaming.complete(&AtomicBool::new(true)).unwrap_err();
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled);
    let imported = streaming.complete(&()).unwrap();
    assert_eq!(streaming.complete(&()).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!((imported.vm.name(), imported.vm.uuid()), ("b", streaming.config().uuid));
    assert_eq!(imported.vm.config().nics.len(), streaming.config().nics.len());
    // The archive is no longer needed, and the running VM continues.
    fs::remove_file(&path).unwrap();
    assert!(all(&**disk) == expected);
    write(&**disk, 0, &[7; 512]);
    expected[..512].fill(7);
    let config = imported.vm.config();
    let DiskSource::Image { path, .. } = &config.disks[0].source else { panic!("not an image") };
    assert!(fs::read(path).unwrap() == expected);
    drop(streaming);
    let names: Vec<_> = files(&imported.vm.folder()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["attachment-ova.xml", "disk-0.raw", "vm.json"]);
    assert_eq!(repository.check(&()).unwrap().problems, []);
}

#[test]
fn a_commit_that_fails_leaves_what_runs_alone_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a_commit_that_fails_leaves_what_runs_alone_and_is_tried_again";
    let small = ["-t", "tmpfs", "-o", "size=64m", "tmpfs"];
    let Some(mount) = Mount::new(name, &folder.path().join("small"), &small) else { return };
    let repository = Repository::open(mount.0.join("repository")).unwrap();
    let (mut expected, path) = archive(folder.path(), &Export::zstd());
    let moves = Import::default().preserve();
    let streaming = xva::import_streaming(&path, &repository, &moves).unwrap();
    let DiskSource::Backend(disk) = &streaming.config().disks[0].source else { panic!("not a backend") };
    let mut stays_usable = |seed| {
        let written = pattern(seed, 512);
        write(&**disk, 0, &written);
        expected[..512].copy_from_slice(&written);
        assert!(all(&**disk) == expected);
        disk.flush().unwrap();
        // An unlinked file would also work for as long as it is open.
        assert_eq!(files(&repository.folder().join("staging")).len(), 1);
    };

    // The whole disk is present, so only the commit is left.
    stays_usable(1);
    let filler = mount.fill();
    let error = streaming.complete(&()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("vm.json"), "{error}");
    stays_usable(2);
    // A process that opens the repository does not take it for a leftover either.
    Repository::open(repository.folder()).unwrap();
    stays_usable(3);
    fs::remove_file(filler).unwrap();

    let other = xva::import(fs::File::open(&path).unwrap(), &repository, &moves, &()).unwrap().vm;
    assert_eq!(streaming.complete(&()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    stays_usable(4);
    let early = xva::import_streaming(&path, &repository, &moves).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::AlreadyExists);
    repository.remove_vm(other.uuid()).unwrap();

    let stored = streaming.complete(&()).unwrap().vm;
    assert_eq!(stored.uuid(), streaming.config().uuid);
    let DiskSource::Image { path, .. } = &stored.config().disks[0].source else { panic!("not an image") };
    assert!(fs::read(path).unwrap() == expected);
    assert_eq!(files(&stored.folder()).len(), 3);
    assert_eq!(repository.check(&()).unwrap().problems, []);
}

#[test]
fn what_was_not_completed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let (_, path) = archive(folder.path(), &Export::zstd());
    drop(xva::import_streaming(&path, &repository, &Import::default()).unwrap());
    assert_eq!(files(&repository.folder().join("staging")).len(), 0);
    assert!(repository.vms().unwrap().is_empty());
}
