//! Resumes that run the guest before its memory is read, and instances of a template with memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::guest::Guest;
use xvirt_benches::summary::{Summary, milliseconds};
use xvirt_core::config::Disk;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::vm::{MemoryLoading, Resume, Vm};

use crate::peer::Cache;
use crate::{Options, find_peers, start};

/// The rows of the table.
#[derive(Default)]
struct Rows(Vec<(String, Vec<Duration>)>);

impl Rows {
    fn add(&mut self, what: &str, time: Duration) {
        match self.0.iter_mut().find(|(row, _)| row == what) {
            Some((_, times)) => times.push(time),
            None => self.0.push((what.to_owned(), vec![time])),
        }
    }

    fn report(&self, options: &Options) -> Result<()> {
        println!("a guest of {} with most of it in use; {} runs; milliseconds", options.memory, options.runs);
        println!("{:<52}{:>10}{:>10}{:>10}", "", "median", "min", "max");
        let mut rows: Vec<Value> = Vec::new();
        for (what, times) in &self.0 {
            let summary = Summary::of(times).ok_or("nothing was measured")?;
            let [median, min, max] = [summary.median, summary.min, summary.max].map(milliseconds);
            println!("{what:<52}{median:>10}{min:>10}{max:>10}");
            rows.push(json!({"what": what, "seconds": summary.median.as_secs_f64()}));
        }
        if let Some(path) = &options.json {
            let all = json!({"memory": options.memory.bytes(), "runs": options.runs, "rows": rows});
            std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
        }
        Ok(())
    }
}

/// Measures everything, in turn.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let line = CommandLine::new([Mode::Counter]);
    let guest = Guest::new(options.memory, Guest::pages(options.memory), line, folder.path())?;
    let (mut rows, mut peers) = (Rows::default(), find_peers(&guest));
    let vm = start(&guest)?;
    let saved = tempfile::tempdir_in(folder.path())?;
    let lazily = Resume::default().memory(MemoryLoading::Lazy);
    for _ in 0..options.runs {
        for (cache, what) in [(Cache::Warm, "resume, lazily"), (Cache::Cold, "resume, lazily, file not in memory")] {
            vm.suspend(saved.path().join("saved"), &())?;
            cache.prepare(saved.path())?;
            rows.add(what, vm.resume_with(lazily, &())?.total);
        }
        for peer in &mut peers {
            // The guests take turns, because two of them do not always fit into memory or onto a processor.
            vm.pause()?;
            let measured = peer.suspend_and_resume(&guest, Cache::Warm);
            vm.unpause()?;
            let (_, resume) = measured.map_err(|error| format!("{}: {error}", peer.name()))?;
            rows.add(&format!("resume, {}", peer.name()), resume);
        }
    }
    vm.hard_shutdown()?;
    drop(vm);
    instances(options, &guest, &mut rows)?;
    rows.report(options)
}

/// Creates instances of a template with memory, and lets them run.
fn instances(options: &Options, guest: &Guest, rows: &mut Rows) -> Result<()> {
    let (repository, stored) = store(guest)?;
    let host = Host::probe()?;
    let vm = stored.build(&host)?;
    vm.start()?;
    vm.console().reader().wait_for(xvirt_benches::guest::IN_USE, Duration::from_secs(120))?;
    let began = Instant::now();
    let template = repository.seal_hot("booted", &vm, &())?;
    rows.add("seal with memory", began.elapsed());
    vm.hard_shutdown()?;
    let mut running: Vec<Vm> = Vec::new();
    for number in 0..options.runs * 10 {
        let began = Instant::now();
        let copy = repository.instantiate(&template, format!("copy-{number}"))?;
        rows.add("instance: created", began.elapsed());
        let vm = copy.build(&host)?;
        vm.resume(&())?;
        rows.add("instance: created and running", began.elapsed());
        vm.pause()?;
        running.push(vm);
    }
    Ok(())
}

/// A VM with a disk and a network interface, in a repository.
fn store(guest: &Guest) -> Result<(Repository, StoredVm)> {
    let repository = Repository::open(guest.folder().join("repository"))?;
    let mut stage = repository.stage()?;
    let path = stage.disk_path(0, ImageFormat::Qcow2);
    disk::create(&path, ImageFormat::Qcow2, 64 << 20)?;
    let nic = xvirt_core::config::Nic::new_tap();
    let stored = stage.commit(guest.config("booted").disk(Disk::qcow2(path)).nic(nic))?;
    Ok((repository, stored))
}
