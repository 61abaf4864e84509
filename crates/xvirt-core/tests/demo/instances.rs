//! Many instances of one template with memory beside each other: they answer, they differ, they share memory, and they
//! leave nothing.
//!
//! `XVIRT_INSTANCES` sets their number.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xvirt_core::config::{Boot, ByteSize, Disk, Nic, Vsock};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Template;
use xvirt_core::vm::{MemoryLoaded, MemoryLoading, Resume, Vm};
use xvirt_testing::process::{Taken, comes_to, in_own_process};

use crate::echo::{pattern, round_trip};
use crate::hub::Hub;
use crate::support::{PATIENCE, config};
use crate::victim::{self, say};
use crate::{host, mappable_folder};

const INSTANCES: usize = 40;
const SHARING: usize = 8;
/// Where the guest's free memory begins.
const START: u64 = 16 << 20;
const PAGE: u64 = 4096;

fn instances(otherwise: usize) -> usize {
    std::env::var("XVIRT_INSTANCES").map_or(otherwise, |text| text.parse().unwrap())
}

/// As many descriptors as the process may have.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

struct Bench {
    folder: tempfile::TempDir,
    hub: Hub,
    repository: Repository,
    template: Template,
}

impl Bench {
    /// A template of a VM that has booted and said `ready`, and is gone. Its guest waits for interrupts.
    fn new(folder: tempfile::TempDir, host: &Host, line: &CommandLine, memory: ByteSize, ready: &str) -> Self {
        let repository = Repository::open(folder.path().join("repository")).unwrap();
        let (socket, mut stage) = (folder.path().join("hub"), repository.stage().unwrap());
        let (hub, image) = (Hub::new(&socket), stage.disk_path(0, ImageFormat::Qcow2));
        disk::create(&image, ImageFormat::Qcow2, 1 << 20).unwrap();
        let kernel = folder.path().join("kernel");
        fs::write(&kernel, demo::kernel()).unwrap();
        let config = config(line).memory(memory).boot(Boot::kernel(kernel).command_line(line.to_string()));
        let config = config.disk(Disk::qcow2(image)).nic(Nic::stream(&socket));
        let stored = stage.commit(config.vsock(Vsock::new(77, folder.path().join("first.vsock")))).unwrap();
        let vm = stored.build(host).unwrap();
        let mut console = vm.console().reader();
        vm.start().unwrap();
        expect(&mut console, ready);
        let template = repository.seal_hot("booted", &vm, &()).unwrap();
        drop(vm);
        repository.remove_vm(stored.uuid()).unwrap();
        hub.clear();
        Self { folder, hub, repository, template }
    }

    /// Removes everything, and nothing is left.
    fn end(self, instances: &[StoredVm]) {
        instances.iter().for_each(|instance| self.repository.remove_vm(instance.uuid()).unwrap());
        self.repository.remove_template(&self.template).unwrap();
        for room in ["vms", "layers", "snapshots", "staging", "trash"] {
            let left: Vec<_> = fs::read_dir(self.repository.folder().join(room)).unwrap().collect();
            assert!(left.is_empty(), "{room} has {left:?}");
        }
    }
}

fn expect(console: &mut ConsoleReader, text: &str) {
    let said = console.wait_for(text, PATIENCE).unwrap();
    assert!(!said.contains("failed"), "{said}");
}

fn mac(stored: &StoredVm) -> [u8; 6] {
    stored.config().nics[0].mac.unwrap().octets()
}

fn socket(stored: &StoredVm) -> PathBuf {
    stored.config().vsock.unwrap().path
}

fn resumed(stored: &StoredVm, how: Resume, host: &Host) -> Vm {
    let vm = stored.build(host).unwrap();
    assert_eq!(vm.resume_with(how, &()).unwrap().loaded, MemoryLoaded::Mapped);
    vm
}

fn all_differ<T: Ord>(of: &str, values: impl Iterator<Item = T>, count: usize) {
    assert_eq!(values.collect::<BTreeSet<_>>().len(), count, "{of}");
}

/// What a line of the kernel's description of the memory of this process says, in KiB.
fn memory(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| kibibytes(line, name)).sum()
}

fn kibibytes(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok()
}

/// The process that runs a part of the instances: this many.
#[test]
fn obeys() {
    let Some((folder, count)) = victim::order() else { return };
    let host = Host::probe().unwrap();
    raise_limit();
    let repository = Repository::open(folder.join("repository")).unwrap();
    let template = repository.templates().unwrap().pop().unwrap();
    let before = Taken::now();
    let began = Instant::now();
    let made = (0..count).map(|_| repository.instantiate(&template, "instance").unwrap());
    let stored: Vec<_> = made.collect();
    println!("{count} instances were made in {:?}", began.elapsed());
    let began = Instant::now();
    let vms: Vec<_> = stored.iter().map(|stored| resumed(stored, Resume::default(), &host)).collect();
    println!("they were resumed in {:?}", began.elapsed());
    for (number, vm) in vms.iter().enumerate() {
        round_trip(vm.vsock_connect(1000, PATIENCE).unwrap(), &pattern(1000, number));
    }
    let with = Taken::now();
    let each = |now: usize, before: usize| (now - before) as f64 / count as f64;
    println!(
        "they had answered after {:?}; each has {} threads, {} descriptors and {} KiB of its own in this process",
        began.elapsed(),
        each(with.threads, before.threads),
        each(with.descriptors, before.descriptors),
        memory("/proc/self/smaps_rollup", "Anonymous") / count,
    );
    say("running");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let began = Instant::now();
    drop(vms);
    assert_eq!(comes_to(&before, PATIENCE, Taken::now), Ok(()));
    println!("they were gone after {:?}", began.elapsed());
    say("gone");
}

/// A part of the instances, in a process of its own: all together may need more descriptors than one may have.
struct Part {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Part {
    fn new(folder: &Path, count: usize) -> Self {
        let mut child = victim::command("instances::obeys", folder, count as u64).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(victim::next(&mut self.lines).as_deref(), Some(word));
    }
}

#[test]
fn all_instances_of_a_template_answer_and_leave_nothing() {
    let host = host!();
    let count = instances(INSTANCES);
    let line = CommandLine::new([Mode::Blk, Mode::Net, Mode::Vsock, Mode::Echo]).net_every(1 << 40);
    let bench = Bench::new(mappable_folder!(), &host, &line, ByteSize::mib(32), "vsock: cid=77 ready");
    let free = || memory("/proc/meminfo", "MemAvailable");
    let (before, began) = (free(), Instant::now());
    let halves = [count / 2, count - count / 2];
    let mut parts = halves.map(|half| Part::new(bench.folder.path(), half));
    parts.iter_mut().for_each(|part| part.expect("running"));
    let stored = bench.repository.vms().unwrap();
    let addresses: Vec<_> = stored.iter().map(mac).collect();
    assert_eq!(bench.hub.expect(&addresses).len(), count);
    let each = before.saturating_sub(free()) / count as u64;
    println!("{count} instances had answered after {:?}; each takes {each} KiB of the host", began.elapsed());
    let configs: Vec<_> = stored.iter().map(StoredVm::config).collect();
    all_differ("UUIDs", configs.iter().map(|config| config.uuid), count);
    all_differ("generation IDs", configs.iter().map(|config| config.generation_id), count);
    all_differ("addresses", addresses.iter(), count);
    all_differ("sockets", stored.iter().map(socket), count);
    assert!(stored.iter().all(|stored| socket(stored).exists()));
    // A line lets them end.
    parts.iter_mut().for_each(|part| writeln!(part.child.stdin.as_mut().unwrap()).unwrap());
    for mut part in parts {
        part.expect("gone");
        assert!(part.child.wait().unwrap().success());
    }
    assert!(!stored.iter().map(socket).any(|socket| socket.exists()));
    bench.end(&stored);
}

#[test]
fn instances_share_the_memory_that_they_do_not_write() {
    in_own_process("instances::instances_share_the_memory_that_they_do_not_write", || {
        let host = host!();
        let (count, size) = (instances(SHARING), ByteSize::mib(256));
        raise_limit();
        // Something is in all the memory that the guest has.
        let pages = (size.bytes() - START) / PAGE - 64;
        let line = CommandLine::new([Mode::Counter, Mode::Net, Mode::Echo]).net_every(1 << 40);
        let line = line.start(START).pages(pages).passes(1).every(1);
        let bench = Bench::new(mappable_folder!(), &host, &line, size, "counter: cpu 0 pass 1");
        let stored: Vec<_> =
            (0..count).map(|_| bench.repository.instantiate(&bench.template, "instance").unwrap()).collect();
        let how = Resume::default().memory(MemoryLoading::Lazy).prefault(true);
        let vms: Vec<_> = stored.iter().map(|stored| resumed(stored, how, &host)).collect();
        bench.hub.expect(&stored.iter().map(mac).collect::<Vec<_>>());
        for vm in &vms {
            let began = Instant::now();
            while vm.resume_times().unwrap().resident.is_none() {
                assert!(began.elapsed() < PATIENCE, "its memory is not loaded");
                std::thread::yield_now();
            }
        }
        let (resident, own) = mapped_from(bench.repository.folder());
        let all = pages * PAGE / 1024 * count as u64;
        println!("{count} instances have {resident} KiB in memory, of which {own} KiB belong to one alone");
        assert!(resident >= all, "only {resident} KiB of {all} KiB are in memory");
        assert!(own * 10 <= resident, "{own} KiB of {resident} KiB are not shared");
        drop(vms);
        bench.end(&stored);
    });
}

/// The KiB of memory in this process that is mapped from files in `folder`, and those of them that are a copy.
fn mapped_from(folder: &Path) -> (u64, u64) {
    let (mut resident, mut own, mut counts) = (0, 0, false);
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        // A mapping begins with its addresses.
        if line.split_once('-').is_some_and(|(from, _)| u64::from_str_radix(from, 16).is_ok()) {
            counts = line.contains(folder.to_str().unwrap());
        } else if counts {
            resident += kibibytes(line, "Rss").unwrap_or(0);
            own += kibibytes(line, "Anonymous").unwrap_or(0);
        }
    }
    (resident, own)
}
