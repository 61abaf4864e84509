//! Random sequences of verbs on a VM of a repository whose guest checks its memory, its disks and its network.
//!
//! `XVIRT_SEQUENCES` sequences, the first with the seed `XVIRT_SEQUENCES_SEED` and each further one with the next.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xvirt_core::config::{Disk, DiskSource, Nic};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::MacAddress;
use xvirt_core::repository::{Repository, Snapshot, StoredVm};
use xvirt_core::snapshot::{CheckpointMethod, NewSnapshot};
use xvirt_core::vm::{MemoryLoaded, MemoryLoading, Resume, SuspendedVm, Vm};
use xvirt_testing::random::Random;

use crate::support::PATIENCE;
use crate::switch::{GUEST, Switch};
use crate::workload::{self, DISK, Progress, Workload};
use crate::{host, mappable_folder};

const SEQUENCES: u64 = 2;
const SEED: u64 = 1;
const VERBS: usize = 10;
const METHODS: [CheckpointMethod; 3] = [CheckpointMethod::Auto, CheckpointMethod::Rounds, CheckpointMethod::Stop];
const STEP: u64 = 1 << 20;
const MOST_FORKS: usize = 2;
/// The third disk comes and goes.
const PLUGGED: usize = 2;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn every_sequence_of_verbs_leaves_memory_disks_and_network_exact() {
    let host = host!();
    let first = number("XVIRT_SEQUENCES_SEED", SEED);
    for seed in first..first + number("XVIRT_SEQUENCES", SEQUENCES) {
        println!("XVIRT_SEQUENCES_SEED={seed}");
        let mut sequence = Sequence::new(mappable_folder!(), &host, seed);
        for _ in 0..VERBS {
            sequence.step();
        }
        sequence.end();
    }
}

/// A snapshot, and how far the guest was when it was taken.
struct Taken {
    snapshot: Snapshot,
    least: Progress,
    most: Progress,
}

struct Sequence<'a> {
    host: &'a Host,
    random: Random,
    repository: Repository,
    taken: Vec<Taken>,
    /// A disk that was unplugged.
    unplugged: Option<PathBuf>,
    // Dropped before the switch, which waits for its end.
    workload: Option<Workload>,
    switch: Switch,
    folder: TempDir,
}

impl<'a> Sequence<'a> {
    fn new(folder: TempDir, host: &'a Host, seed: u64) -> Self {
        let socket = folder.path().join("switch");
        let switch = Switch::new(&socket);
        let (repository, stored) =
            workload::create(folder.path(), Some(Nic::stream(&socket).mac(MacAddress::new(GUEST))));
        let random = Random::new(seed);
        let mut all = Self { host, random, repository, taken: vec![], unplugged: None, workload: None, switch, folder };
        all.start(&stored);
        all.check();
        all
    }

    fn guest(&mut self) -> &mut Workload {
        self.workload.as_mut().unwrap()
    }

    fn vm(&self) -> &Vm {
        &self.workload.as_ref().unwrap().vm
    }

    fn stored(&self) -> StoredVm {
        self.repository.vm(&self.vm().uuid().to_string()).unwrap()
    }

    fn start(&mut self, stored: &StoredVm) {
        let vm = stored.build(self.host).unwrap();
        let guest = Workload::new(vm);
        guest.vm.start().unwrap();
        self.workload = Some(guest);
    }

    /// The guest has checked everything again, and nothing is wrong with the repository.
    fn check(&mut self) {
        self.guest().goes_on();
        self.switch.expect_answer();
        assert_eq!(self.repository.check(&()).unwrap().problems, []);
        for room in ["staging", "trash"] {
            let left: Vec<_> = self.repository.folder().join(room).read_dir().unwrap().collect();
            assert!(left.is_empty(), "{room} has {left:?}");
        }
    }

    fn step(&mut self) {
        let before = self.guest().progress;
        let paused = self.random.below(4) == 0;
        match self.random.below(12) {
            0 => self.pause(),
            1 => self.suspend_to_file(paused),
            2 => self.suspend(paused),
            3 => self.take(paused, false),
            4 => self.take(paused, true),
            5 => self.revert(),
            6 => self.remove(),
            7 => self.plug(),
            8 => self.grow(),
            9 => self.reboot(),
            10 => self.copy(paused, false),
            _ => self.copy(paused, true),
        }
        self.check();
        println!("  {before:?} -> {:?}", self.guest().progress);
    }

    fn pause(&mut self) {
        println!("pause");
        self.vm().pause().unwrap();
        self.vm().unpause().unwrap();
    }

    fn suspend_to_file(&mut self, paused: bool) {
        println!("suspend to a file, paused: {paused}");
        let path = self.folder.path().join("saved");
        if paused {
            self.vm().pause().unwrap();
        }
        self.vm().suspend(&path, &()).unwrap();
        self.resume(|host| SuspendedVm::open(&path).unwrap().build(host).unwrap());
        assert!(!path.exists());
    }

    fn suspend(&mut self, paused: bool) {
        if paused {
            self.vm().pause().unwrap();
        }
        self.repository.suspend(self.vm(), &()).unwrap();
        // A VM that is suspended can do some things too.
        let meanwhile = self.random.below(4);
        println!("suspend in the repository, paused: {paused}, meanwhile {meanwhile}");
        match meanwhile {
            0 => {
                let snapshot = self.repository.snapshot(&self.stored(), "suspended", &()).unwrap();
                self.guest().hear();
                let progress = self.guest().progress;
                self.taken.push(Taken { snapshot, least: progress, most: progress });
            }
            1 => self.remove(),
            _ => {}
        }
        let stored = self.stored();
        assert!(stored.is_suspended());
        self.resume(|host| stored.build(host).unwrap());
        assert!(!self.stored().is_suspended());
    }

    /// Resumes the suspended VM with another handle.
    fn resume(&mut self, build: impl FnOnce(&Host) -> Vm) {
        let how = self.loading();
        let guest = self.workload.take().unwrap();
        let guest = guest.moved_to(build(self.host));
        load(&guest.vm, how, MemoryLoaded::Mapped);
        self.workload = Some(guest);
    }

    /// One of the ways to load memory.
    fn loading(&mut self) -> Resume {
        let how = Resume::default();
        match self.random.below(3) {
            0 => how.memory(MemoryLoading::Read),
            1 => how.memory(MemoryLoading::Lazy),
            _ => how.memory(MemoryLoading::Lazy).prefault(true),
        }
    }

    fn take(&mut self, paused: bool, memory: bool) {
        println!("snapshot, with memory: {memory}, paused: {paused}");
        if paused {
            self.vm().pause().unwrap();
        }
        self.guest().hear();
        let least = self.guest().progress;
        let snapshot = match memory {
            true => {
                let method = *self.random.pick(&METHODS);
                let new = NewSnapshot::new("checkpoint").method(method).incremental(self.random.below(3) > 0);
                let checkpoint = self.repository.checkpoint(self.vm(), new, &()).unwrap();
                println!("  {:?}", checkpoint.checkpoint_report().unwrap());
                checkpoint
            }
            false => self.repository.snapshot(self.vm(), "snapshot", &()).unwrap(),
        };
        if paused {
            self.vm().unpause().unwrap();
        }
        self.guest().goes_on();
        let most = self.guest().progress;
        self.taken.push(Taken { snapshot, least, most });
    }

    fn revert(&mut self) {
        if self.taken.is_empty() {
            return println!("no snapshot to revert to");
        }
        let at = self.random.below(self.taken.len());
        let (snapshot, least, most) = (self.taken[at].snapshot.clone(), self.taken[at].least, self.taken[at].most);
        println!("revert to {at}, with memory: {}", snapshot.has_memory());
        let how = self.loading();
        let mut based = snapshot.checkpoint_report().is_some_and(|report| report.base.is_some());
        if based && how.memory == MemoryLoading::Lazy && self.random.below(2) > 0 {
            println!("  flatten it");
            self.repository.flatten_checkpoint(&snapshot, &()).unwrap();
            based = false;
        }
        self.workload = None;
        let stored = self.repository.revert(&snapshot).unwrap();
        assert_eq!(stored.is_suspended(), snapshot.has_memory());
        // It belongs to a time that never was.
        self.unplugged = None;
        if !snapshot.has_memory() {
            self.start(&stored);
            self.guest().goes_on();
            let now = self.guest().progress;
            now.require_after(&least);
            assert!(now.boot_round() <= most.round(), "{least:?} {now:?} {most:?}");
            return;
        }
        let guest = Workload::taken_back(stored.build(self.host).unwrap(), least);
        let lazily = if based { MemoryLoaded::Userfault } else { MemoryLoaded::Mapped };
        load(&guest.vm, how, lazily);
        self.workload = Some(guest);
        self.guest().goes_on();
        let now = self.guest().progress;
        assert!(now.round() >= least.round(), "{least:?} {now:?} {most:?}");
    }

    /// Also while the VM is suspended.
    fn remove(&mut self) {
        if !self.taken.is_empty() {
            let taken = self.taken.remove(self.random.below(self.taken.len()));
            self.repository.remove_snapshot(&taken.snapshot).unwrap();
        }
        println!("removed one of {}, merged {}", self.taken.len() + 1, self.repository.merge_removed(&()).unwrap());
    }

    fn plug(&mut self) {
        if self.vm().disk_positions().len() > PLUGGED {
            println!("unplug");
            self.unplugged = Some(image(&self.vm().config().unwrap().disks[PLUGGED]).to_owned());
            return self.vm().unplug_disk(PLUGGED, PATIENCE).unwrap();
        }
        let known = self.unplugged.take();
        println!("plug in {known:?}");
        let path = known.unwrap_or_else(|| {
            let path = self.stored().new_disk_path(ImageFormat::Qcow2);
            disk::create(&path, ImageFormat::Qcow2, DISK).unwrap();
            path
        });
        self.vm().plug_disk(Disk::open(path).unwrap().serial("third")).unwrap();
    }

    fn grow(&mut self) {
        let positions = self.vm().disk_positions();
        let position = *self.random.pick(&positions);
        let size = disk::inspect(image(&self.vm().config().unwrap().disks[position]), None).unwrap().virtual_size;
        println!("grow {position} from {size}");
        self.vm().resize_disk(position, size + STEP).unwrap();
    }

    fn reboot(&mut self) {
        let hard = self.random.below(2) == 0;
        println!("reboot, hard: {hard}");
        self.guest().hear();
        let (before, boots) = (self.guest().progress, self.guest().boots);
        match hard {
            true => self.vm().hard_reboot().unwrap(),
            false => self.vm().clean_reboot(PATIENCE).unwrap(),
        }
        self.guest().goes_on();
        assert_eq!(self.guest().boots, boots + 1);
        self.guest().progress.require_after(&before);
    }

    /// Copies of the VM go on beside it: forks, or an instance of a template with its memory.
    fn copy(&mut self, paused: bool, sealed: bool) {
        let forks = 1 + self.random.below(MOST_FORKS);
        println!("copy, sealed: {sealed}, forks: {forks}, paused: {paused}");
        if paused {
            self.vm().pause().unwrap();
        }
        self.guest().hear();
        let least = self.guest().progress;
        let template = sealed.then(|| self.repository.seal_hot("sealed", self.vm(), &()).unwrap());
        let copies = match &template {
            Some(template) => vec![self.repository.instantiate(template, "instance").unwrap()],
            None => self.repository.fork(self.vm(), forks, "fork", &()).unwrap(),
        };
        if paused {
            self.vm().unpause().unwrap();
        }
        let mut guests = Vec::new();
        for copy in &copies {
            let (own, original) = (copy.config(), self.vm().config().unwrap());
            assert!(own.uuid != original.uuid && own.generation_id != original.generation_id, "{own:?}");
            assert!(own.nics[0].mac.is_some_and(|mac| mac.octets() != GUEST), "{own:?}");
            let guest = Workload::taken_back(copy.build(self.host).unwrap(), least);
            load(&guest.vm, Resume::default().memory(MemoryLoading::Lazy), MemoryLoaded::Mapped);
            guests.push(guest);
        }
        guests.iter_mut().for_each(Workload::goes_on);
        self.guest().goes_on();
        drop(guests);
        copies.iter().for_each(|copy| self.repository.remove_vm(copy.uuid()).unwrap());
        template.iter().for_each(|template| self.repository.remove_template(template).unwrap());
    }

    /// Nothing is left when everything is removed.
    fn end(mut self) {
        let uuid = self.vm().uuid();
        self.workload = None;
        while let Some(taken) = self.taken.pop() {
            self.repository.remove_snapshot(&taken.snapshot).unwrap();
        }
        self.repository.remove_vm(uuid).unwrap();
        for room in ["vms", "layers", "snapshots", "staging", "trash"] {
            let left: Vec<_> = self.repository.folder().join(room).read_dir().unwrap().collect();
            assert!(left.is_empty(), "{room} has {left:?}");
        }
    }
}

/// Resumes a VM, whose memory is loaded in this way, and if that is lazily, then so.
fn load(vm: &Vm, how: Resume, lazily: MemoryLoaded) {
    println!("  memory: {:?}, prefault: {}", how.memory, how.prefault);
    let expected = if how.memory == MemoryLoading::Lazy { lazily } else { MemoryLoaded::Read };
    assert_eq!(vm.resume_with(how, &()).unwrap().loaded, expected);
}

fn image(disk: &Disk) -> &Path {
    match &disk.source {
        DiskSource::Image { path, .. } => path,
        _ => panic!("not an image"),
    }
}
