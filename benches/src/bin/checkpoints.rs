//! Measures checkpoints of a running VM: how long the guest is stopped, and how long everything takes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use xvirt_benches::guest::{Guest, IN_USE};
use xvirt_benches::memory::{fill, touch_free};
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_benches::{Result, ended};
use xvirt_core::config::{Boot, ByteSize, Disk};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, Snapshot};
use xvirt_core::snapshot::{CheckpointMethod, NewSnapshot};
use xvirt_core::vm::Vm;

/// Takes checkpoints of a running VM with one disk, all of whose memory is in use, and whose guest writes a part of it
/// all the time: stopped until its memory is saved, in rounds, protected, and protected with only what has changed. Each
/// is on stable storage in the end.
#[derive(Parser)]
struct Options {
    /// The guest's memory.
    #[arg(long, default_value = "1GiB")]
    memory: ByteSize,
    /// How much of it the guest writes all the time.
    #[arg(long, default_value = "64MiB")]
    written: ByteSize,
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

/// What is measured of one kind of checkpoint.
#[derive(Default)]
struct Row {
    name: &'static str,
    pause: Vec<Duration>,
    stall: Vec<Duration>,
    total: Vec<Duration>,
    bytes: u64,
}

impl Row {
    fn add(&mut self, snapshot: &Snapshot, total: Duration) -> Result<()> {
        let report = snapshot.checkpoint_report().ok_or("the checkpoint has no report")?;
        self.pause.push(report.pause);
        self.stall.push(report.longest_stall);
        self.total.push(total);
        self.bytes = report.memory;
        Ok(())
    }
}

fn main() -> ExitCode {
    ended("checkpoints", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let repository = Repository::open(folder.path().join("repository"))?;
    let vm = start(options, folder.path(), &repository)?;
    let new = |name, method| NewSnapshot::new(name).method(method);
    let kinds = [
        new("stop", CheckpointMethod::Stop),
        new("rounds", CheckpointMethod::Rounds),
        new("protect", CheckpointMethod::Protect),
        new("incremental", CheckpointMethod::Protect).incremental(true),
    ];
    let mut rows = ["stop", "rounds", "protect", "incremental"].map(|name| Row { name, ..Row::default() });
    let mut plain = Row { name: "write of as many bytes", ..Row::default() };
    for _ in 0..options.runs {
        for (kind, row) in kinds.iter().zip(&mut rows) {
            // What the one before has left.
            rustix::fs::sync();
            let base = kind.incremental.then(|| repository.checkpoint(&vm, kind.clone(), &())).transpose()?;
            let mut console = vm.console().reader_at_end();
            (0..2).try_for_each(|_| console.wait_for("pass ", Duration::from_secs(120)).map(drop))?;
            rustix::fs::sync();
            let began = Instant::now();
            let taken = repository.checkpoint(&vm, kind.clone(), &())?;
            row.add(&taken, began.elapsed())?;
            for snapshot in base.iter().chain([&taken]) {
                repository.remove_snapshot(snapshot)?;
            }
            if kind.incremental {
                plain.bytes = row.bytes;
                plain.total.push(write(folder.path(), row.bytes)?);
            }
        }
    }
    report(options, &rows, &plain)
}

/// A VM of a repository whose memory is in use.
fn start(options: &Options, folder: &Path, repository: &Repository) -> Result<Vm> {
    let line = CommandLine::new([Mode::Counter]);
    let guest = Guest::new(options.memory, options.written.bytes() / 4096, line, folder)?;
    let mut stage = repository.stage()?;
    let image = stage.disk_path(0, ImageFormat::Qcow2);
    disk::create(&image, ImageFormat::Qcow2, ByteSize::mib(64).bytes())?;
    let boot = Boot::kernel(guest.kernel.clone()).command_line(&guest.command_line);
    let vm = stage.commit(guest.config("checkpoints").boot(boot).disk(Disk::qcow2(image)))?.build(&Host::probe()?)?;
    touch_free(options.memory)?;
    vm.start()?;
    let mut console = vm.console().reader();
    vm.pause()?;
    fill(options.memory)?;
    vm.unpause()?;
    console.wait_for(IN_USE, Duration::from_secs(120))?;
    Ok(vm)
}

/// The time to write so many bytes to stable storage.
fn write(folder: &Path, bytes: u64) -> Result<Duration> {
    let (path, piece) = (folder.join("plain"), vec![0x5a; 2 << 20]);
    rustix::fs::sync();
    let began = Instant::now();
    let mut file = File::create(&path)?;
    for at in (0..bytes).step_by(piece.len()) {
        file.write_all(&piece[..piece.len().min((bytes - at) as usize)])?;
    }
    file.sync_all()?;
    let time = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(time)
}

fn report(options: &Options, rows: &[Row], plain: &Row) -> Result<()> {
    println!(
        "a guest of {} that writes {}; {} runs; medians in milliseconds",
        options.memory, options.written, options.runs
    );
    println!("{:<26}{:>10}{:>14}{:>12}{:>10}", "", "pause", "longest stall", "total", "MiB");
    let median = |series: &[Duration]| Summary::of(series).map_or(Duration::ZERO, |summary| summary.median);
    let mut figures = Vec::new();
    for row in rows.iter().chain([plain]) {
        let [pause, stall, total] = [&row.pause, &row.stall, &row.total].map(|series| median(series));
        let [p, s, t] = [pause, stall, total].map(milliseconds);
        println!("{:<26}{p:>10}{s:>14}{t:>12}{:>10}", row.name, row.bytes >> 20);
        let [pause, stall, total] = [pause, stall, total].map(|time| time.as_secs_f64() * 1000.0);
        figures.push(
            json!({"name": row.name, "pause": pause, "longest_stall": stall, "total": total, "bytes": row.bytes}),
        );
    }
    if let Some(path) = &options.json {
        let all = json!({"memory": options.memory.bytes(), "runs": options.runs, "rows": figures});
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}
