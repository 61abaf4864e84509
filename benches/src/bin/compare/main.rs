//! Compares the boot times of the same guest under xvirt and every available peer, in turns.

mod contender;
mod library;
mod options;
mod qemu;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use contender::Contender;
use library::Library;
use options::{Command, Options};
use report::Report;
use xvirt_benches::Result;
use xvirt_benches::programs::{self, Guest, Program};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match options::parse(&arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Help => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Command::Compare(options) => compare(&options),
    }
}

fn compare(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let guest = options.guest(folder.path())?;
    println!("{guest}, {} runs each, in turns", options.runs);
    let one = |found: Result<Program>| found.map(|program| vec![Box::new(program) as Box<dyn Contender>]);
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(Library::new()?)];
    for (name, found) in [
        ("xvirt, process", one(programs::xvirt())),
        ("qemu", qemu::find()),
        ("firecracker", one(programs::firecracker(&guest, folder.path()))),
        ("cloud-hypervisor", one(programs::cloud_hypervisor())),
    ] {
        match found {
            Ok(found) => contenders.extend(found),
            Err(reason) => println!("{name}: not measured: {reason}"),
        }
    }
    contenders.retain(|contender| options.wants(contender.name()));
    let mut contenders = qualify(contenders, &guest)?;
    if contenders.is_empty() {
        return Err("nobody is left to be measured; see --only in --help".into());
    }
    let mut report = Report::new(contenders.len());
    for run in 0..options.runs {
        // The first run after a pause has colder caches, so the order rotates.
        for turn in 0..contenders.len() {
            let index = (turn + run) % contenders.len();
            report.add(index, take(&mut contenders[index], &guest)?);
        }
        eprintln!("run {} of {}: {}", run + 1, options.runs, report.last(&contenders));
    }
    print!("{}", report.table(&contenders));
    Ok(())
}

/// One measurement; `None` if a peer failed, which is printed.
fn take(contender: &mut Box<dyn Contender>, guest: &Guest) -> Result<Option<Duration>> {
    match contender.run(guest) {
        Ok(time) => Ok(Some(time)),
        Err(error) if contender.is_peer() => {
            eprintln!("{} failed: {error}", contender.name());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Runs every contender once, which also warms the page cache. Drops peers that fail, and fallbacks of the same name
/// that are not needed.
fn qualify(contenders: Vec<Box<dyn Contender>>, guest: &Guest) -> Result<Vec<Box<dyn Contender>>> {
    let mut qualified: Vec<Box<dyn Contender>> = Vec::new();
    for mut contender in contenders {
        if qualified.iter().any(|other| other.name() == contender.name()) {
            continue;
        }
        match contender.run(guest) {
            Ok(_) => {
                println!("{}: measured{}", contender.name(), contender.detail());
                qualified.push(contender);
            }
            Err(error) if contender.is_peer() => {
                println!("{}: not measured{}: {error}", contender.name(), contender.detail());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(qualified)
}
