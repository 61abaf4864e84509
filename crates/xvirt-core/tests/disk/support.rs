//! Code shared by the tests of disks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
pub use xvirt_testing::files::pattern;
pub use xvirt_testing::random::Random;

pub const MIB: u64 = 1 << 20;

/// Runs a program and returns its output; fails the test if the program fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// Whether a program is installed; if not, prints that the test was skipped.
pub fn have(test: &str, program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED {test}: {program} is not installed");
    }
    there
}

/// Returns from the test if a program is missing.
#[macro_export]
macro_rules! need {
    ($program:literal) => {
        if !$crate::support::have(std::thread::current().name().unwrap_or("?"), $program) {
            return;
        }
    };
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A new image made by `qemu-img create` with these arguments before the file name.
pub fn qemu_create(folder: &Path, name: &str, arguments: &[&str], size: &str) -> PathBuf {
    let path = folder.join(name);
    let arguments = [&["create", "-q"], arguments, &[text(&path)], &[size][..usize::from(!size.is_empty())]].concat();
    run("qemu-img", &arguments);
    path
}

pub fn check(image: &Path) {
    run("qemu-img", &["check", "-q", "-f", "qcow2", text(image)]);
}

/// The bytes of a disk, as `qemu-img` sees them.
pub fn qemu_bytes(image: &Path, format: &str) -> Vec<u8> {
    let raw = image.with_extension("converted");
    run("qemu-img", &["convert", "-f", format, "-O", "raw", text(image), text(&raw)]);
    let bytes = std::fs::read(&raw).unwrap();
    std::fs::remove_file(raw).unwrap();
    bytes
}

pub fn open(path: &Path) -> Arc<dyn BlockBackend> {
    disk::open(path, None, Access::ReadWrite).unwrap()
}

pub fn open_as(path: &Path, format: ImageFormat, access: Access) -> Arc<dyn BlockBackend> {
    disk::open(path, Some(format), access).unwrap()
}

pub fn read(disk: &dyn BlockBackend, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0xee; length];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset)?;
    Ok(bytes)
}

pub fn write(disk: &dyn BlockBackend, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut bytes = bytes.to_vec();
    disk.write(&[GuestSlice::from(bytes.as_mut_slice())], offset)
}

pub fn all(disk: &dyn BlockBackend) -> Vec<u8> {
    let chunk = |offset| read(disk, offset, (disk.capacity() - offset).min(MIB) as usize).unwrap();
    (0..disk.capacity()).step_by(MIB as usize).flat_map(chunk).collect()
}
