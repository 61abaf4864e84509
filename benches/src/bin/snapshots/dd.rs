//! `dd` of as many bytes as a VM saves.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Advice;
use xvirt_benches::Result;

const SOURCE: &str = "plain";

/// The time to write a file of so many bytes to stable storage.
pub(crate) fn write(folder: &Path, bytes: u64) -> Result<Duration> {
    let (plain, copy) = (folder.join(SOURCE), folder.join("copy"));
    if fs::metadata(&plain).map_or(0, |file| file.len()) != bytes {
        fill(&plain, bytes)?;
    }
    let time = dd(&plain, &copy, &["conv=fsync"])?;
    fs::remove_file(&copy)?;
    rustix::fs::sync();
    Ok(time)
}

/// The time to read the file again, from storage.
pub(crate) fn read(folder: &Path) -> Result<Duration> {
    let plain = folder.join(SOURCE);
    evict(&plain)?;
    dd(&plain, Path::new("/dev/null"), &[])
}

/// Removes a file from the page cache, so that it has to be read from storage.
pub(crate) fn evict(path: &Path) -> Result<()> {
    rustix::fs::fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Writes a file of so many bytes that are not zeroes.
fn fill(path: &Path, bytes: u64) -> Result<()> {
    let (mut file, block) = (File::create(path)?, vec![0xa5; 1 << 20]);
    let mut left = bytes;
    while left > 0 {
        let length = left.min(block.len() as u64);
        file.write_all(&block[..length as usize])?;
        left -= length;
    }
    file.sync_all()?;
    Ok(())
}

fn dd(from: &Path, to: &Path, more: &[&str]) -> Result<Duration> {
    let operand = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut command = Command::new("dd");
    command.args([operand("if", from), operand("of", to), "bs=1M".to_owned()]).args(more).stderr(Stdio::null());
    let began = Instant::now();
    if command.status()?.success() { Ok(began.elapsed()) } else { Err("dd failed".into()) }
}
