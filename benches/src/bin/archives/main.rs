//! Compares operations on appliances with standard programs, in turn, on the same files.

mod disk;
mod options;
mod peers;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use options::Options;
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_benches::{Result, ended};
use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Export, Import, ReadOptions};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("archives: {error}; see --help");
            return ExitCode::from(2);
        }
    };
    ended("archives", run(&options))
}

fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let path = |name: &str| folder.path().join(name);
    let (source, plain, packed) = (path("disk.raw"), path("plain.xva"), path("packed.xva"));
    disk::make(&source, options.size)?;
    let config = VmConfig::new("bench").disk(Disk::raw(&source));
    export(&config, &plain, Export::none())?;
    export(&config, &packed, Export::zstd())?;
    println!(
        "a disk of {}, half random and half holes; {} runs of each in turn; milliseconds",
        options.size, options.runs
    );
    println!("{:<38}{:>9}{:>9}   {:<28}{:>9}{:>9}{:>8}", "", "median", "min", "beside", "median", "min", "rate");
    let out = path("out");
    let compare = |what: &str, ours: &dyn Fn() -> Result<()>, peer: &str, theirs: &dyn Fn() -> Result<()>| {
        row(options.runs, &out, (what, ours), (peer, theirs))
    };
    compare("export, not compressed", &|| export(&config, &out, Export::none()), "cp --sparse=always", &|| {
        peers::copy(&source, &out)
    })?;
    compare("export, zstd", &|| export(&config, &out, Export::zstd()), "zstd -T2 -3 of the tar stream", &|| {
        peers::zstd(&plain, &out)
    })?;
    compare("import, zstd", &|| import(&packed, &out), "zstd -dc | tar x", &|| peers::unpack(&packed, &out))?;
    compare("import, not compressed", &|| import(&plain, &out), "tar x", &|| peers::untar(&plain, &out))?;
    compare("verify, zstd", &|| verify(&packed), "zstd -t", &|| peers::test(&packed))?;
    let foreign = path("foreign.xva");
    peers::zstd_one_frame(&plain, &foreign)?;
    compare("verify, zstd in one frame", &|| verify(&foreign), "zstd -t", &|| peers::test(&foreign))?;
    compare("import, zstd in one frame", &|| import(&foreign, &out), "zstd -dc | tar x", &|| {
        peers::unpack(&foreign, &out)
    })
}

type Work<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

/// Runs both in turn and prints their times, and how many times faster ours is.
fn row(runs: usize, out: &Path, ours: Work<'_>, theirs: Work<'_>) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        for (series, (_, work)) in times.iter_mut().zip([&ours, &theirs]) {
            series.push(time(*work)?);
            clear(out)?;
        }
    }
    let summary = |series: &Vec<Duration>| Summary::of(series).ok_or("nothing was measured");
    let (mine, peer) = (summary(&times[0])?, summary(&times[1])?);
    let rate = peer.median.as_secs_f64() / mine.median.as_secs_f64();
    println!(
        "{:<38}{:>9}{:>9}   {:<28}{:>9}{:>9}{rate:>8.2}",
        ours.0,
        milliseconds(mine.median),
        milliseconds(mine.min),
        theirs.0,
        milliseconds(peer.median),
        milliseconds(peer.min),
    );
    Ok(())
}

fn time(work: &dyn Fn() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// Removes the output of a run, and syncs the disk.
fn clear(out: &Path) -> Result<()> {
    if out.is_dir() {
        fs::remove_dir_all(out)?;
    } else if out.exists() {
        fs::remove_file(out)?;
    }
    rustix::fs::sync();
    Ok(())
}

fn export(config: &VmConfig, out: &Path, options: Export) -> Result<()> {
    xva::export(config, File::create(out)?, &options, &())?;
    Ok(())
}

fn import(archive: &Path, out: &Path) -> Result<()> {
    xva::import(File::open(archive)?, &Repository::open(out)?, &Import::default(), &())?;
    Ok(())
}

fn verify(archive: &Path) -> Result<()> {
    let report = xva::verify(File::open(archive)?, &ReadOptions::default(), &())?;
    if report.good { Ok(()) } else { Err(format!("{:?}", report.problems).into()) }
}
