//! Code shared by the tests of repositories.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xvirt_core::Result;
use xvirt_core::config::{Disk, Nic, VmConfig};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::{Repository, StoredVm};
pub use xvirt_testing::random::Random;

pub const MIB: u64 = 1 << 20;

pub fn repository() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    (folder, repository)
}

/// A VM with one disk of this size that begins with `text`.
pub fn vm(repository: &Repository, name: &str, format: ImageFormat, size: u64, text: &[u8]) -> StoredVm {
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, format);
    disk::create(&path, format, size).unwrap();
    write(&path, format, 0, text);
    stage.commit(config(name, &path, format)).unwrap()
}

pub fn config(name: &str, path: &Path, format: ImageFormat) -> VmConfig {
    let disk = match format {
        ImageFormat::Raw => Disk::raw(path),
        _ => Disk::qcow2(path),
    };
    VmConfig::new(name).disk(disk).nic(Nic::tap("tap-of-mine").bridge("br0"))
}

/// The path and format of a disk of a VM.
pub fn image(config: &VmConfig, index: usize) -> (PathBuf, ImageFormat) {
    match &config.disks[index].source {
        xvirt_core::config::DiskSource::Image { path, format } => (path.clone(), *format),
        _ => panic!("not an image"),
    }
}

pub fn write(path: &Path, format: ImageFormat, offset: u64, bytes: &[u8]) {
    try_write(path, format, offset, bytes).unwrap();
}

/// Like [`write`], if another process may use the disk.
pub fn try_write(path: &Path, format: ImageFormat, offset: u64, bytes: &[u8]) -> Result<()> {
    let disk = disk::open(path, Some(format), Access::ReadWrite)?;
    let mut bytes = bytes.to_vec();
    disk.write(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
    disk.flush().unwrap();
    Ok(())
}

pub fn read(path: &Path, format: ImageFormat, offset: u64, length: usize) -> Vec<u8> {
    let disk = disk::open(path, Some(format), Access::ReadOnly).unwrap();
    let mut bytes = vec![0xee; length];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
    bytes
}

/// Writes to the first disk of a VM.
pub fn write_vm(vm: &StoredVm, offset: u64, bytes: &[u8]) {
    let (path, format) = image(&vm.config(), 0);
    write(&path, format, offset, bytes);
}

/// Reads from the first disk of a VM.
pub fn read_vm(vm: &StoredVm, offset: u64, length: usize) -> Vec<u8> {
    let (path, format) = image(&vm.config(), 0);
    read(&path, format, offset, length)
}

/// A folder whose files cannot share blocks with those in the temporary folder, so that overlays are qcow2 images.
pub fn other_file_system() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Fails the test if a check finds a problem.
pub fn sound(repository: &Repository) {
    let check = repository.check(&()).unwrap();
    assert_eq!(check.problems, []);
}

/// The names in a folder of the repository.
pub fn names(repository: &Repository, room: &str) -> Vec<String> {
    let entries = std::fs::read_dir(repository.folder().join(room)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Cancels an operation as soon as it reads or writes a disk.
pub struct Cancelled;

impl Progress for Cancelled {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        true
    }
}
