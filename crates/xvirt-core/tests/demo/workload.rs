//! A VM of a repository whose guest checks its memory, its disks and its network continuously, and what its output
//! says.

use std::fs;
use std::path::Path;
use std::time::Instant;

use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::vm::Vm;

use crate::support::{PATIENCE, config};

pub const DISK: u64 = 4 << 20;
/// Words of lines that report a failure.
const FAILURES: [&str; 5] = ["failed", "expected", "error", "cannot", "not zero"];
/// While the first CPU and the disks do what a caller waits for, the second CPU makes some dozens of passes. If it makes
/// more than this, the first one waits for ever.
const MOST_PASSES: u32 = 1000;
const BOOTED: &str = "xvirt demo: ";

/// Its guest has two CPUs, checks every page and every block in each round, and finds its disks' data after a boot.
fn configuration(folder: &Path, nic: Option<Nic>) -> VmConfig {
    let modes = [Mode::Smp, Mode::Counter, Mode::BlkLoad, Mode::HotPlug, Mode::Net];
    let line = CommandLine::new(modes).pages(800).every(1).blocks(4).span(DISK / 512).continuing().net_every(1 << 40);
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel()).unwrap();
    let config = config(&line).memory(ByteSize::mib(32)).vcpus(2);
    let config = config.boot(Boot::kernel(kernel).command_line(line.to_string()));
    nic.into_iter().fold(config, VmConfig::nic)
}

/// Creates it in a repository in `folder`, with a raw disk and a qcow2 one.
pub fn create(folder: &Path, nic: Option<Nic>) -> (Repository, StoredVm) {
    let repository = Repository::open(folder.join("repository")).unwrap();
    let mut stage = repository.stage().unwrap();
    let (raw, qcow2) = (stage.disk_path(0, ImageFormat::Raw), stage.disk_path(1, ImageFormat::Qcow2));
    disk::create(&raw, ImageFormat::Raw, DISK).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK).unwrap();
    let disks = [Disk::raw(raw).serial("first"), Disk::qcow2(qcow2).serial("second")];
    let config = disks.into_iter().fold(configuration(folder, nic), VmConfig::disk);
    let stored = stage.commit(config).unwrap();
    (repository, stored)
}

/// How far the guest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last rounds of the first two disks, counted since they were created, at the boot.
    boot: [u64; 2],
    /// Their last rounds since the boot.
    rounds: [u64; 2],
    /// The last passes of the CPUs through memory.
    passes: [u64; 2],
}

impl Progress {
    /// The last round of the first disk, counted since it was created.
    pub fn round(&self) -> u64 {
        self.boot[0] + self.rounds[0]
    }

    /// The same at the boot.
    pub fn boot_round(&self) -> u64 {
        self.boot[0]
    }

    /// By how many rounds the first disk is ahead of the second at the boot. Each round writes the first one first.
    fn lead(&self) -> u64 {
        assert!(self.boot[0] >= self.boot[1], "the second disk is ahead of the first: {self:?}");
        self.boot[0] - self.boot[1]
    }

    /// Fails if a boot from these disks does not follow from what the guest had done before.
    pub fn require_after(&self, before: &Self) {
        let lead = self.lead().checked_sub(before.lead());
        assert!(lead.is_some_and(|more| more <= 1), "the disks are of different moments: {before:?}, then {self:?}");
        assert!(self.boot[0] >= before.round(), "flushed data is lost: {before:?}, then {self:?}");
    }
}

/// A VM that runs this workload.
pub struct Workload {
    pub vm: Vm,
    console: ConsoleReader,
    /// An incomplete line.
    line: String,
    pub progress: Progress,
    /// Whether the next lines need not follow those before.
    jumped: Jumped,
    pub boots: u64,
    /// How often each CPU and each disk has reported since the last question.
    passes: [u32; 2],
    rounds: [u32; 3],
}

/// What is unknown about a guest that was taken back in time.
#[derive(Default)]
struct Jumped {
    line: bool,
    rounds: [bool; 2],
    passes: [bool; 2],
}

impl Workload {
    /// Watches the guest of a VM that is about to start.
    pub fn new(vm: Vm) -> Self {
        let console = vm.console().reader();
        let (progress, jumped, line) = Default::default();
        Self { vm, console, line, progress, jumped, boots: 0, passes: [0; 2], rounds: [0; 3] }
    }

    /// Goes on with another handle of the VM, whose guest has not run since.
    pub fn moved_to(mut self, vm: Vm) -> Self {
        self.hear();
        // It has the earlier output too.
        Self { console: vm.console().reader_at_end(), vm, ..self }
    }

    /// Goes on with a VM whose guest was taken back to where it had `progress` at the least.
    pub fn taken_back(vm: Vm, progress: Progress) -> Self {
        let jumped = Jumped { line: true, rounds: [true; 2], passes: [true; 2] };
        let console = vm.console().reader_at_end();
        Self { progress, jumped, console, ..Self::new(vm) }
    }

    /// Waits until the guest has checked everything once more.
    pub fn goes_on(&mut self) {
        self.hear();
        (self.passes, self.rounds) = Default::default();
        let (mut began, mut heard, disks) = (Instant::now(), None, self.vm.disk_positions().len());
        // The first report may be of what it did before.
        while self.passes.iter().chain(&self.rounds[..disks]).any(|reports| *reports < 2) {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let mut bytes = [0; 4096];
            match self.console.read_timeout(&mut bytes, left) {
                Ok(count) => self.take(&bytes[..count]),
                Err(error) => {
                    let reports: Option<u32> = Some(self.passes.iter().chain(&self.rounds).sum());
                    if reports == heard || self.passes.iter().any(|passes| *passes > MOST_PASSES) {
                        panic!("{disks} disks, {:?} {:?}: {error}; {}", self.passes, self.rounds, self.activity());
                    }
                    // The host is busy, and gives it little time; or this process was stopped for long.
                    (began, heard) = (Instant::now(), reports);
                }
            }
        }
    }

    /// What the VM has done, to tell one that waits for ever from one that gets no time from the host.
    fn activity(&self) -> String {
        let statistics = self.vm.statistics();
        let mut lines: Vec<_> = statistics.vcpus.iter().map(|vcpu| format!("{vcpu:?}")).collect();
        for (position, disk) in &statistics.disks {
            let [reads, writes, flushes] = [&disk.reads, &disk.writes, &disk.flushes].map(|kind| kind.operations);
            let time = disk.cpu_time;
            lines.push(format!("disk {position}: {reads} reads, {writes} writes, {flushes} flushes in {time:?}"));
        }
        lines.extend(statistics.nics.iter().map(|(position, nic)| format!("NIC {position}: {nic:?}")));
        lines.push(format!("the last line: {:?}; in {:?}", self.line, statistics.uptime));
        lines.join("; ")
    }

    /// Checks everything that the guest has said until now.
    pub fn hear(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(count @ 1..) = self.console.try_read(&mut bytes) {
            self.take(&bytes[..count]);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        assert_eq!(self.console.lost(), 0);
        for byte in bytes {
            match byte {
                b'\n' => {
                    // A reset may come in the middle of a line. The boot begins a new one, without a carriage return.
                    let line = std::mem::take(&mut self.line);
                    line.strip_suffix('\r').into_iter().for_each(|line| self.judge(line));
                }
                byte => self.line.push(char::from(*byte)),
            }
        }
    }

    fn judge(&mut self, line: &str) {
        if std::mem::take(&mut self.jumped.line) {
            return;
        }
        assert!(!FAILURES.iter().any(|word| line.contains(word)), "{line}; before: {:?}", self.progress);
        if line.starts_with(BOOTED) {
            self.boots += 1;
            self.jumped = Jumped::default();
            (self.progress, self.passes, self.rounds) = Default::default();
        } else if let Some((cpu, pass)) = demo::counter_pass(line) {
            let cpu = cpu as usize;
            self.passes[cpu] += 1;
            follow(&mut self.progress.passes[cpu], pass, &mut self.jumped.passes[cpu], line);
        } else if let Some((disk, round)) = numbers(line, "round") {
            self.rounds[disk] += 1;
            if let Some(last) = self.progress.rounds.get_mut(disk) {
                follow(last, round, &mut self.jumped.rounds[disk], line);
            }
        } else if let Some((disk, round)) = numbers(line, "continues after round")
            && let Some(boot) = self.progress.boot.get_mut(disk)
        {
            *boot = round;
        }
    }
}

/// The number in a report is the next one.
fn follow(last: &mut u64, number: u64, jumped: &mut bool, line: &str) {
    let expected = if std::mem::take(jumped) { number.max(*last) } else { *last + 1 };
    assert_eq!(number, expected, "{line}");
    *last = number;
}

/// The disk and the number in a line.
fn numbers(line: &str, what: &str) -> Option<(usize, u64)> {
    let (disk, round) = line.strip_prefix("blk ")?.split_once(&format!(": {what} "))?;
    Some((disk.parse().ok()?, round.parse().ok()?))
}
