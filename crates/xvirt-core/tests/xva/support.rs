//! What all tests here use.

use std::io::Read;
use std::path::Path;

use xvirt_core::disk::BlockBackend;
use xvirt_core::disk::GuestSlice;
use xvirt_core::xva::{self, Extract, Extracted, ReadOptions, Report};

pub use xvirt_testing::files::{files, pattern, scratch, sha256};
pub use xvirt_testing::process::{in_own_process, peak_memory};
pub use xvirt_testing::samples::{SAMPLES, SUMS, sample};

pub fn verify(archive: impl Read + Send) -> xvirt_core::Result<Report> {
    xva::verify(archive, &ReadOptions::default(), &())
}

pub fn extract(archive: &[u8], folder: &Path) -> xvirt_core::Result<Extracted> {
    xva::extract(archive, folder, &Extract::default(), &())
}

pub fn read(disk: &dyn BlockBackend, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
    bytes
}

pub fn write(disk: &dyn BlockBackend, offset: u64, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    disk.write(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
}
