//! What all tests here use.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use vm_memory::VolatileSlice;
use xvirt_core::disk::BlockBackend;
use xvirt_core::xva::{self, Extract, Extracted, ReadOptions, Report};

/// Archives written by XenServer's own code and by Xen Orchestra.
pub const SAMPLES: [&str; 10] = [
    "xapi-gzip.xva",
    "xapi-heartbeats.xva",
    "xapi-odd-tail.xva",
    "xapi-plain-3disks.xva",
    "xapi-refs-cross-100.xva",
    "xapi-suspended.xva",
    "xapi-template.xva",
    "xapi-zstd.xva",
    "xo-3disks.xva",
    "xs70-genuine-ovaxml-emptydisk.xva",
];

/// The bytes of one sample.
pub fn sample(name: &str) -> Vec<u8> {
    let packed = &include_bytes!("samples.tar.zst")[..];
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let mut found = archive.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with(name));
    let mut bytes = Vec::new();
    found.as_mut().unwrap_or_else(|| panic!("no sample {name}")).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The SHA-256 of a file, as `sha256sum` computes it.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

pub fn verify(archive: impl Read + Send) -> xvirt_core::Result<Report> {
    xva::verify(archive, &ReadOptions::default(), &())
}

pub fn extract(archive: &[u8], folder: &Path) -> xvirt_core::Result<Extracted> {
    xva::extract(archive, folder, &Extract::default(), &())
}

/// All files of a folder, by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

pub fn read(disk: &dyn BlockBackend, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    disk.read(&[VolatileSlice::from(bytes.as_mut_slice())], offset).unwrap();
    bytes
}

pub fn write(disk: &dyn BlockBackend, offset: u64, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    disk.write(&[VolatileSlice::from(bytes.as_mut_slice())], offset).unwrap();
}

/// Runs a test in a process of its own, whose memory is that of the test alone.
///
/// `test` is its full name, with its modules.
pub fn in_own_process(test: &str, work: impl FnOnce()) {
    const CHILD: &str = "XVIRT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{test} failed: {}\n{text}", output.status);
    print!("{text}");
}

/// How much more memory this process has while it works than before, in bytes, at the highest; and what the work gives.
pub fn peak_memory<T>(work: impl FnOnce() -> T) -> (u64, T) {
    // Begins the measurement anew (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    let done = work();
    (resident("VmHWM:").saturating_sub(before), done)
}

fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Where files can be made and forgotten at once, without waiting for a disk.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
