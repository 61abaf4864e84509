//! One VM under test: its calls are checked against its events.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use tempfile::TempDir;
use xvirt_core::config::{Boot, ByteSize, CrashAction, Disk, VmConfig, Vsock};
use xvirt_core::console::Console;
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{Event, EventReceiver, PowerState, Vm, VsockListener};
use xvirt_core::{Error, ErrorKind, Result, demo};

use crate::called::Called;
use crate::findings::Findings;
use crate::holders::Holders;
use crate::ledger::Ledger;
use crate::log::Panics;
use crate::model::{Model, Rules};
use crate::program::Program;
use crate::random::Random;
use crate::watch::Watch;

pub const DISK_SIZE: u64 = 1 << 20;
/// More than anything else that is mapped at a time: glibc maps 64 MiB at a time.
pub const MEMORY: ByteSize = ByteSize::mib(72);
/// The disks that a VM has from the beginning.
const DISKS: [ImageFormat; 2] = [ImageFormat::Raw, ImageFormat::Qcow2];

/// The host port with a listener for the lifetime of the VM.
const LISTENER: u32 = 9100;

/// How many bytes of a guest's output are printed on an error.
const PRINTED: usize = 600;

/// The state shared by all VMs of the test.
#[derive(Debug)]
pub struct Bench {
    pub host: Host,
    pub findings: Findings,
    pub watch: Watch,
    pub panics: Arc<Panics>,
    /// Whether this process may create network interfaces.
    pub taps: bool,
    /// Whether this process may limit vCPUs.
    pub cpu_limits: bool,
}

/// A VM, its events, and its resources.
#[derive(Debug)]
pub struct Subject {
    pub name: String,
    pub rules: Rules,
    pub holders: Holders,
    /// The other ends of its network interfaces.
    pub peers: Mutex<Vec<UnixStream>>,
    pub folder: TempDir,
    bench: Arc<Bench>,
    /// All images that it has or had.
    images: Mutex<BTreeMap<PathBuf, ImageFormat>>,
    ledger: Mutex<Ledger>,
    /// Set after the VM's first error, because later ones may result from it.
    reported: AtomicBool,
    /// A receiver that is never read.
    _unread: EventReceiver,
    /// The host ports that have a listener.
    pub ports: Mutex<BTreeSet<u32>>,
    /// A listener to which no guest ever connects.
    listener: Option<VsockListener>,
    /// `None` only while this is dropped.
    vm: Option<Vm>,
}

impl Subject {
    /// VM number `number`, built for the `generation`th time.
    pub fn build(bench: &Arc<Bench>, number: usize, generation: usize, random: &mut Random) -> Result<Self> {
        // One VM always has a serving guest, for the checks that need one.
        let program = if generation == 0 || number == 0 {
            Program::FIRST[number % Program::FIRST.len()]
        } else {
            *random.pick(&Program::ALL)
        };
        let actions = [CrashAction::Halt, CrashAction::Restart, CrashAction::Preserve];
        let rules = Rules { program, on_crash: *random.pick(&actions), on_watchdog: *random.pick(&actions) };
        let name = format!("{number}.{generation} {program:?} {:?} {:?}", rules.on_crash, rules.on_watchdog);
        let folder = tempfile::tempdir().unwrap();
        let line = program.command_line(random.below(1000) as u64);
        let mut config = VmConfig::new(&name)
            .memory(MEMORY)
            .vcpus(program.vcpus())
            .boot(Boot::kernel(demo::kernel()).command_line(line.to_string()))
            .on_crash(rules.on_crash)
            .on_watchdog(rules.on_watchdog)
            .vsock(Vsock::new(3 + number as u32, folder.path().join("v.sock")));
        let mut images = BTreeMap::new();
        for (position, format) in DISKS.into_iter().enumerate() {
            let path = folder.path().join(format!("disk{position}"));
            disk::create(&path, format, DISK_SIZE)?;
            config = config.disk(Disk::open(&path)?);
            images.insert(path, format);
        }
        let vm = config.build(&bench.host)?;
        let ledger =
            Ledger::new(&name, vm.events()?, &bench.panics, rules, Model::new(DISKS.len(), DISK_SIZE), DISK_SIZE);
        Ok(Self {
            name,
            rules,
            holders: Holders::default(),
            peers: Mutex::default(),
            folder,
            bench: Arc::clone(bench),
            images: Mutex::new(images),
            ledger: Mutex::new(ledger),
            reported: AtomicBool::new(false),
            _unread: vm.events()?,
            ports: Mutex::default(),
            listener: Some(vm.vsock_listen(LISTENER)?),
            vm: Some(vm),
        })
    }

    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    pub fn vm(&self) -> &Vm {
        self.vm.as_ref().unwrap()
    }

    /// Makes a call, and follows the events until it returns.
    pub fn call<T>(&self, what: &'static str, call: impl FnOnce(&Vm) -> Result<T>) -> Called<'_, T> {
        let mark = self.follow().mark();
        let (result, took) = self.bench.watch.during(&self.name, what, || call(self.vm()));
        self.bench.findings.count(what, result.as_ref().err().map(Error::kind), took);
        let mut ledger = self.follow();
        ledger.note(match &result {
            Ok(_) => format!("{what}: Ok"),
            Err(error) => format!("{what}: {:?}: {error}", error.kind()),
        });
        Called { subject: self, what, result, window: ledger.window(mark), mark }
    }

    /// The ledger, with all events so far.
    pub fn follow(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.ledger.lock().unwrap();
        let followed = ledger.follow();
        self.check(&ledger, followed);
        ledger
    }

    /// In a quiet phase: everything must be accounted for.
    pub fn settle(&self) -> Model {
        let mut ledger = self.ledger.lock().unwrap();
        let settled = ledger.settle(&[
            Event::Started,
            Event::Paused,
            Event::Unpaused,
            Event::HardShutdown,
            Event::HardReset,
            Event::DiskPlugged { disk: 0 },
            Event::NicPlugged { nic: 0 },
        ]);
        self.check(&ledger, settled);
        ledger.model().clone()
    }

    /// Reports an error of this VM, with its recent events.
    pub fn report(&self, what: &str) {
        self.check(&self.ledger.lock().unwrap(), Err(what.to_owned()));
    }

    fn check(&self, ledger: &Ledger, result: std::result::Result<(), String>) {
        if let Err(what) = result
            && !self.reported.swap(true, Ordering::Relaxed)
        {
            let printed = self.vm.as_ref().map(|vm| last_of(vm.console())).unwrap_or_default();
            let report =
                format!("VM {}: {what}\n{}    its guest printed last: {printed:?}\n", self.name, ledger.lines());
            self.bench.findings.report(report);
        }
    }

    /// Creates another image for this VM.
    pub fn image(&self) -> Result<PathBuf> {
        let mut images = self.images.lock().unwrap();
        let path = self.folder.path().join(format!("disk{}", images.len()));
        disk::create(&path, ImageFormat::Raw, DISK_SIZE)?;
        images.insert(path.clone(), ImageFormat::Raw);
        Ok(path)
    }

    /// Reports if a disk of this VM, which is halted, is still locked.
    pub fn check_unlocked(&self) {
        for (path, format) in &*self.images.lock().unwrap() {
            if let Err(error) = disk::open(path, Some(*format), Access::ReadWrite) {
                self.report(&format!("it is halted, and its disk is not free: {error}"));
            }
        }
    }
}

/// The end of its console output.
fn last_of(console: &Console) -> String {
    let (mut reader, mut text, mut part) = (console.reader(), Vec::new(), [0; 64 << 10]);
    while let Some(length @ 1..) = reader.try_read(&mut part) {
        text.extend_from_slice(&part[..length]);
        text.drain(..text.len().saturating_sub(PRINTED));
    }
    String::from_utf8_lossy(&text).into_owned()
}

impl Drop for Subject {
    fn drop(&mut self) {
        let (vm, listener) = (self.vm.take(), self.listener.take().unwrap());
        self.follow().ends();
        let accepted = thread::scope(|scope| {
            let waiting = scope.spawn(|| self.bench.watch.during(&self.name, "accept", || listener.accept()));
            let ((), took) = self.bench.watch.during(&self.name, "drop", || drop(vm));
            self.bench.findings.count("drop", None, took);
            waiting.join().unwrap().0
        });
        if !accepted.as_ref().is_err_and(|error| error.kind() == ErrorKind::Gone) {
            self.report(&format!("it was dropped, and its vsock listener gave {accepted:?}"));
        }
        let (state, gone, crashes) = {
            let ledger = self.follow();
            (ledger.model().state, ledger.is_gone(), ledger.crashes())
        };
        self.bench.findings.panicked(crashes);
        if state != PowerState::Halted || !gone {
            self.report(&format!("it was dropped, and its events leave it {state} and gone: {gone}"));
        }
        self.check_unlocked();
    }
}
