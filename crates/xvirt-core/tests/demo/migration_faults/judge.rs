//! Runs a case, and judges it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xvirt_core::config::{DiskSource, VmConfig};
use xvirt_core::disk::{self, Access, BlockBackend, GuestSlice};
use xvirt_core::host::Host;
use xvirt_core::migrate::MemoryTransfer;
use xvirt_core::{ErrorKind, Result};

use super::cases::{Case, Fault, Side};
use super::processes::Processes;
use super::side::configuration;
use super::store::Store;
use super::verdict::{End, Facts};
use crate::mount::Mount;
use crate::support::PATIENCE;
use crate::workload::{self, Workload};

const SOURCE: usize = Side::Source as usize;
const TARGET: usize = Side::Target as usize;

/// Where a case works. Its disks may be in a file system of their own.
struct Place {
    mount: Option<Mount>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(case: &Case) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small");
        let mount = match case.fault {
            Fault::Fill => {
                let tmpfs = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"];
                Some(Mount::new("a full file system during a migration", &small, &tmpfs)?)
            }
            _ => fs::create_dir(&small).map(|()| None).unwrap(),
        };
        workload::create(&small, None);
        // A full file system must not matter for blocks that are there.
        for disk in configuration(folder.path()).disks {
            let disk = open(&disk.source).unwrap();
            let mut zeroes = vec![0; workload::DISK as usize];
            disk.write(&[GuestSlice::from(zeroes.as_mut_slice())], 0).unwrap();
            disk.flush().unwrap();
        }
        Some(Self { mount, folder })
    }
}

fn open(source: &DiskSource) -> Result<Arc<dyn BlockBackend>> {
    let DiskSource::Image { path, format } = source else { panic!("{source:?}") };
    disk::open(path, Some(*format), Access::ReadWrite)
}

pub struct Judge<'a> {
    case: &'a Case,
    processes: Processes,
    facts: Facts,
    /// What the fault did to the disks.
    wants_lock: bool,
    locked: Option<Arc<dyn BlockBackend>>,
    hidden: Option<(PathBuf, PathBuf)>,
    filler: Option<PathBuf>,
    /// A stopped process, and when it goes on.
    stopped: Option<(usize, Instant)>,
    config: VmConfig,
    store: Store,
    place: Place,
}

/// How much longer a peer may be silent in each attempt, until a busy machine comes as far as to the fault.
const SLOWNESS: [u32; 3] = [1, 3, 8];

/// Runs the case with a number. `None` if that is not possible here.
pub fn run(number: usize, case: &Case, host: &Host) -> Option<(End, End)> {
    for slowness in SLOWNESS {
        let ends = attempt(number, &Case { slowness, ..case.clone() }, host)?;
        if ends.is_some() {
            return ends;
        }
    }
    panic!("the fault of case {number} does not happen: {case:?}");
}

/// `Some(None)` if the fault did not happen.
fn attempt(number: usize, case: &Case, host: &Host) -> Option<Option<(End, End)>> {
    let place = Place::new(case)?;
    let folder = place.folder.path();
    let name = format!("XVIRT_MIGRATION_FAULT={number}: {case:?}");
    let mut judge = Judge {
        case,
        processes: Processes::start(2, folder, name),
        facts: Facts::default(),
        wants_lock: false,
        locked: None,
        hidden: None,
        filler: None,
        stopped: None,
        config: configuration(folder),
        store: Store::new(folder, case.decider),
        place,
    };
    judge.migrate(number);
    judge.mend();
    if !judge.facts.hit {
        return Some(None);
    }
    judge.facts.owner = judge.store.owner();
    judge.facts.check(case);
    let ends = (judge.facts.source, judge.facts.target);
    let runner = judge.settle();
    judge.check_work(runner, host);
    Some(Some(ends))
}

impl Judge<'_> {
    fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// Lets the guest start and migrate, until both sides have ended.
    fn migrate(&mut self, number: usize) {
        let slowness = self.case.slowness;
        let memory = if self.case.memory == MemoryTransfer::Copy { "private" } else { "shared" };
        self.processes.order(SOURCE, &format!("start {memory}"));
        self.processes.expect(SOURCE, "started");
        self.processes.order(TARGET, &format!("receive socket {number} {slowness}"));
        self.processes.expect(TARGET, "ready");
        self.processes.order(SOURCE, &format!("send socket {number} {slowness}"));
        let began = Instant::now();
        while !self.facts.have_ended() {
            assert!(began.elapsed() < PATIENCE, "the migration does not end");
            if let Some((from, word)) = self.processes.hear(Duration::from_millis(1)) {
                match word.as_str() {
                    "fault" => self.inflict(from),
                    word => self.facts.note(from, word),
                }
            }
            self.try_lock();
            if let Some((number, _)) = self.stopped.take_if(|(_, end)| *end < Instant::now()) {
                self.processes.signal(number, Signal::SIGCONT);
            }
        }
    }

    /// Does what the case says, and lets the sender go on.
    fn inflict(&mut self, sender: usize) {
        self.facts.hit = true;
        match self.case.fault {
            Fault::Kill(side) => {
                let number = side as usize;
                self.processes.kill(number);
                self.facts.note(number, "ended Killed");
            }
            Fault::Stop(side) => {
                let number = side as usize;
                self.processes.signal(number, Signal::SIGSTOP);
                self.stopped = Some((number, Instant::now() + self.case.silence() * 5 / 2));
            }
            Fault::Lock => {
                self.wants_lock = true;
                self.try_lock();
            }
            Fault::Hide => {
                let DiskSource::Image { path, .. } = &self.config.disks[0].source else { panic!() };
                let hidden = path.with_extension("hidden");
                fs::rename(path, &hidden).unwrap();
                self.hidden = Some((hidden, path.clone()));
            }
            Fault::Fill => self.filler = self.place.mount.as_ref().map(Mount::fill),
            Fault::Cut | Fault::Lose | Fault::Hold | Fault::Expire(_) => {}
        }
        self.processes.order(sender, "go on");
    }

    fn try_lock(&mut self) {
        if self.wants_lock && self.locked.is_none() {
            self.locked = open(&self.config.disks[0].source).ok();
        }
    }

    /// Removes what the fault has left.
    fn mend(&mut self) {
        self.wants_lock = false;
        self.locked = None;
        if let Some((hidden, path)) = self.hidden.take() {
            fs::rename(hidden, path).unwrap();
        }
        self.filler.take().into_iter().for_each(|filler| fs::remove_file(filler).unwrap());
        if let Some((number, _)) = self.stopped.take() {
            self.processes.signal(number, Signal::SIGCONT);
        }
    }

    /// Does what the embedder has to do, and returns where the guest runs then.
    fn settle(&mut self) -> Option<usize> {
        let there = (self.facts.target == End::Running).then_some(TARGET);
        match self.facts.source {
            End::Resumed => Some(SOURCE),
            End::Paused => self.resolve(false),
            End::Indeterminate if self.facts.may_have_run_there() => self.resolve(true).or(there),
            End::Indeterminate => self.resolve(false),
            _ => there,
        }
    }

    fn resolve(&mut self, ran_there: bool) -> Option<usize> {
        self.processes.order(SOURCE, &format!("resolve {ran_there}"));
        self.processes.expect(SOURCE, "resolved");
        (!ran_there).then_some(SOURCE)
    }

    /// Whether each disk is locked.
    fn disks_are_locked(&self) -> Vec<bool> {
        let locked = |disk: Result<_>| disk.is_err_and(|error| error.kind() == ErrorKind::Busy);
        self.config.disks.iter().map(|disk| locked(open(&disk.source))).collect()
    }

    /// The guest goes on where it runs, alone, and with all its data.
    fn check_work(&mut self, runner: Option<usize>, host: &Host) {
        let mut round = 0;
        if let Some(runner) = runner {
            self.processes.order(runner, "work");
            round = self.processes.expect(runner, "works").parse().unwrap();
        }
        assert_eq!(self.disks_are_locked(), vec![runner.is_some(); 2], "disks are locked, and {runner:?} runs");
        let outputs: Vec<_> = [SOURCE, TARGET].map(|number| self.end(number)).into();
        let (other, own) = match runner {
            Some(TARGET) => (&outputs[SOURCE], &outputs[TARGET]),
            _ => (&outputs[TARGET], &outputs[SOURCE]),
        };
        assert!(own.starts_with(other), "the guest has run in both processes");
        // Its disks, after a boot from them.
        let mut guest = Workload::new(self.config.clone().build(host).unwrap());
        guest.vm.start().unwrap();
        guest.goes_on();
        assert!(guest.progress.boot_round() >= round, "{:?} after {round} rounds", guest.progress);
    }

    /// Ends a process, and returns all output of the guest that it knows.
    fn end(&mut self, number: usize) -> Vec<u8> {
        if self.processes.is_killed(number) {
            return Vec::new();
        }
        let file = format!("output-{number}");
        self.processes.finish(number, &format!("end {file}"));
        fs::read(self.folder().join(file)).unwrap()
    }
}
