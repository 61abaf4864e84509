//! The standard programs for comparison.

use std::path::Path;
use std::process::Command;

use xvirt_benches::Result;

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("--sparse=always").args([from, to]))
}

pub(crate) fn zstd(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("zstd").args(["-T2", "-3", "-q", "-f"]).arg(from).arg("-o").arg(to))
}

/// Compresses like XenServer: one thread, one frame.
pub(crate) fn zstd_one_frame(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("sh").args(["-c", r#"zstd -c -q <"$0" >"$1""#]).args([from, to]))
}

pub(crate) fn unpack(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    run(Command::new("sh").args(["-c", r#"zstd -dc "$0" | tar xf - -C "$1""#]).args([from, to]))
}

pub(crate) fn untar(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    run(Command::new("tar").arg("xf").arg(from).arg("-C").arg(to))
}

pub(crate) fn test(archive: &Path) -> Result<()> {
    run(Command::new("zstd").args(["-t", "-q"]).arg(archive))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{:?} failed: {status}", command.get_program()).into()) }
}
