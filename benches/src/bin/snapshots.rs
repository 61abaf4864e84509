//! Measures suspending and resuming a VM beside `dd` of the same bytes, in turn, in the same file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::fs::Advice;
use serde_json::json;
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_benches::{Result, demo_vm};
use xvirt_core::config::{Boot, ByteSize, Nic, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::{ResumeReport, SuspendReport, Vm};

/// Pages that the guest has for itself.
const FREE: u64 = 16 << 20;
const PAGE: u64 = 4096;
const WAIT: Duration = Duration::from_secs(120);

/// Suspends and resumes a VM of the demo guest with two disks and two network interfaces, most of whose memory is in
/// use, and writes and reads the same number of bytes with dd. Rates of 1 and more mean that xvirt is as fast.
#[derive(Parser)]
struct Options {
    /// The guest's memory.
    #[arg(long, default_value = "1GiB")]
    memory: ByteSize,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Where files are written.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Also writes the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Default)]
struct Times {
    suspend: Vec<Duration>,
    write: Vec<Duration>,
    resume: Vec<Duration>,
    read: Vec<Duration>,
    save_state: Vec<Duration>,
    load_state: Vec<Duration>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshots: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let vm = start(options.memory, folder.path())?;
    let (saved, plain, copy) = (folder.path().join("saved"), folder.path().join("plain"), folder.path().join("copy"));
    let (mut times, mut bytes) = (Times::default(), 0);
    for _ in 0..options.runs {
        let SuspendReport { memory, state, total, .. } = vm.suspend(&saved, &())?;
        times.suspend.push(total);
        times.save_state.push(state);
        if bytes != memory {
            bytes = memory;
            fill(&plain, bytes)?;
        }
        times.write.push(time(|| dd(&plain, &copy, &["conv=fsync"]))?);
        fs::remove_file(&copy)?;
        rustix::fs::sync();
        [&saved, &plain].into_iter().try_for_each(|path| evict(path))?;
        let ResumeReport { state, total, .. } = vm.resume(&())?;
        times.resume.push(total);
        times.load_state.push(state);
        times.read.push(time(|| dd(&plain, Path::new("/dev/null"), &[]))?);
    }
    vm.hard_shutdown()?;
    report(options, bytes, &times)
}

/// A VM whose guest has most of its memory in use.
fn start(memory: ByteSize, folder: &Path) -> Result<Vm> {
    let pages = memory.bytes().saturating_sub(FREE) / PAGE;
    let line = CommandLine::new([Mode::Counter]).pages(pages).every(1).to_string();
    let config = VmConfig::new("snapshots").memory(memory).boot(Boot::kernel(demo::kernel()).command_line(line));
    let vm = demo_vm::with_disks(config, folder, 2)?.nic(Nic::new_tap()).nic(Nic::new_tap()).build(&Host::probe()?)?;
    vm.start()?;
    vm.console().reader().wait_for("pass 1\r", WAIT)?;
    Ok(vm)
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

/// Removes a file from the page cache, so that it has to be read from storage.
fn evict(path: &Path) -> Result<()> {
    rustix::fs::fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    Ok(())
}

fn dd(from: &Path, to: &Path, more: &[&str]) -> Result<()> {
    let operand = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut command = Command::new("dd");
    command.args([operand("if", from), operand("of", to), "bs=1M".to_owned()]).args(more).stderr(Stdio::null());
    if command.status()?.success() { Ok(()) } else { Err("dd failed".into()) }
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

fn report(options: &Options, bytes: u64, times: &Times) -> Result<()> {
    let summary = |series: &Vec<Duration>| Summary::of(series).ok_or("nothing was measured");
    println!("a guest of {} with {} MiB in use; {} runs; milliseconds", options.memory, bytes >> 20, options.runs);
    println!("{:<34}{:>9}{:>9}   {:<20}{:>9}{:>9}{:>8}", "", "median", "min", "beside", "median", "min", "rate");
    let mut rows = Vec::new();
    for (what, ours, peer, theirs) in [
        ("suspend", &times.suspend, "dd conv=fsync", &times.write),
        ("resume", &times.resume, "dd of=/dev/null", &times.read),
    ] {
        let (mine, other) = (summary(ours)?, summary(theirs)?);
        let rate = other.median.as_secs_f64() / mine.median.as_secs_f64();
        let [a, b, c, d] = [mine.median, mine.min, other.median, other.min].map(milliseconds);
        println!("{what:<34}{a:>9}{b:>9}   {peer:<20}{c:>9}{d:>9}{rate:>8.2}");
        let seconds = |time: Duration| time.as_secs_f64();
        rows.push(json!({"what": what, "seconds": seconds(mine.median), "beside": peer,
            "beside_seconds": seconds(other.median), "rate": rate}));
    }
    for (what, series) in
        [("save state without memory", &times.save_state), ("load state without memory", &times.load_state)]
    {
        let mine = summary(series)?;
        println!("{what:<34}{:>9}{:>9}", milliseconds(mine.median), milliseconds(mine.min));
        rows.push(json!({"what": what, "seconds": mine.median.as_secs_f64()}));
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&json!({"bytes": bytes, "rows": rows}))?)?;
    }
    Ok(())
}
