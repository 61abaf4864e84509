//! Local hand-overs to another process, or within this one, with the descriptors of their memory and without a copy.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use xvirt_core::config::{ByteSize, VmConfig};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::migrate::{
    CommitDecision, Decision, MemoryTransfer, Migration, MigrationObserver, MigrationPhase, MigrationReport,
    MigrationSummary, Reception, Sockets, receive,
};
use xvirt_core::vm::{ArrivingVm, HaltCause, PowerState, Vm};
use xvirt_core::{ErrorKind, Result};
use xvirt_testing::process::another;

use crate::host;
use crate::support::{Guest, PATIENCE, config};
use crate::workload::{self, Workload};

/// How many local hand-overs there are in a row: `XVIRT_LOCAL_HAND_OVERS`.
const LOCAL_HAND_OVERS: u64 = 10;
/// The folder of a test's second process, which is this program again.
const FOLDER: &str = "XVIRT_TEST_LOCAL_HAND_OVER";
/// What local hand-overs may leave of private memory, which the allocator keeps.
const LEFT: u64 = 8 << 20;

/// A local hand-over within this process. Returns what each side does.
fn hand_over(
    vm: &Vm,
    host: &Host,
    watch: &(impl MigrationObserver + CommitDecision),
    accept: &(dyn Fn(&ArrivingVm) -> std::result::Result<VmConfig, Vec<String>> + Sync),
) -> (Result<MigrationSummary>, Result<Vm>) {
    let (here, there) = UnixStream::pair().unwrap();
    let (here, there) = (Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap());
    thread::scope(|scope| {
        let target = scope.spawn(move || receive(&there, host, &Reception::default(), &(), &(), &mut |vm| accept(vm)));
        let sent = vm.migrate(&here, &settings(), watch, watch);
        drop(here);
        (sent, target.join().unwrap())
    })
}

fn settings() -> Migration {
    Migration::default().memory(MemoryTransfer::LocalHandOver)
}

fn as_it_is(arriving: &ArrivingVm) -> std::result::Result<VmConfig, Vec<String>> {
    assert!(arriving.is_local_hand_over());
    Ok(arriving.config().unwrap().clone())
}

/// A running VM whose guest checks its memory and disks.
fn running(host: &Host, config: VmConfig) -> Workload {
    let mut guest = Workload::new(config.build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

fn configuration(folder: &Path) -> VmConfig {
    let (_repository, stored) = workload::create(folder, None);
    stored.config().clone()
}

/// A sealed memory file for a VM.
fn memory_file(size: ByteSize) -> File {
    let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    file.set_len(size.bytes()).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    file
}

/// Lets a local hand-over go on until a phase, if any. Remembers the memory when the source has collected its state, and checks
/// that it is the same when the target is prepared.
struct Watch {
    memory: File,
    collected: Mutex<Option<Vec<u8>>>,
    compared: Mutex<bool>,
    cancels_in: Option<MigrationPhase>,
    reached: Mutex<MigrationPhase>,
    commits: Decision,
}

impl Watch {
    fn new(memory: &File, cancels_in: Option<MigrationPhase>, commits: Decision) -> Self {
        let (collected, compared, reached) = Default::default();
        Self { memory: memory.try_clone().unwrap(), collected, compared, cancels_in, reached, commits }
    }

    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.memory.metadata().unwrap().len() as usize];
        self.memory.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn compare(&self) {
        let collected = self.collected.lock().unwrap();
        assert!(
            *collected.as_ref().unwrap() == self.contents(),
            "the target wrote to the memory before it ran the guest"
        );
        *self.compared.lock().unwrap() = true;
    }
}

impl MigrationObserver for Watch {
    fn report(&self, report: &MigrationReport) {
        *self.reached.lock().unwrap() = report.phase;
        match report.phase {
            MigrationPhase::Released => *self.collected.lock().unwrap() = Some(self.contents()),
            MigrationPhase::Deciding => self.compare(),
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.cancels_in.is_some_and(|phase| *self.reached.lock().unwrap() == phase)
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

impl CommitDecision for Watch {
    fn commit(&self) -> Decision {
        self.commits
    }

    fn withdraw(&self) -> Decision {
        self.commits
    }

    fn read(&self) -> Decision {
        self.commits
    }
}

/// Lets a local hand-over go on.
struct Go;

impl MigrationObserver for Go {
    fn report(&self, _: &MigrationReport) {}

    fn cancelled(&self) -> bool {
        false
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

impl CommitDecision for Go {
    fn commit(&self) -> Decision {
        Decision::Applied
    }

    fn withdraw(&self) -> Decision {
        Decision::Refused
    }

    fn read(&self) -> Decision {
        Decision::Refused
    }
}

#[test]
fn only_the_guest_writes_to_its_memory_in_a_local_hand_over() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let there = configuration(folder.path()).shared_memory();
    let memory = memory_file(there.memory);
    let mut guest = running(&host, there.clone().memory_file(memory.try_clone().unwrap()));
    let watch = Watch::new(&memory, None, Decision::Applied);
    let (sent, received) = hand_over(&guest.vm, &host, &watch, &|_| Ok(there.clone()));
    let summary = sent.unwrap();
    println!("{summary:?}");
    assert_eq!((summary.report.bytes, summary.report.zero_pages), (0, 0), "{summary:?}");
    assert!(*watch.compared.lock().unwrap());
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    assert_eq!(guest.vm.halted().unwrap().cause, HaltCause::Migrated);
    guest.hear();
    // The file is still the guest's memory, as is that of the VM here, which was made by the program.
    let before = watch.contents();
    guest = Workload::taken_back(received.unwrap(), guest.progress);
    guest.goes_on();
    assert!(before != watch.contents(), "the guest uses the same file");
    // From here on its memory cannot be told from that of any other VM.
    let (sent, received) = hand_over(&guest.vm, &host, &Go, &as_it_is);
    sent.unwrap();
    guest.hear();
    guest = Workload::taken_back(received.unwrap(), guest.progress);
    guest.goes_on();
}

#[test]
fn a_local_hand_over_that_fails_in_any_phase_leaves_the_guest_with_its_memory_and_disks() {
    use MigrationPhase as Phase;

    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path()).shared_memory();
    let memory = memory_file(config.memory);
    let mut guest = running(&host, config.clone().memory_file(memory.try_clone().unwrap()));
    let mut private = config.clone();
    private.memory_backing.shared = false;
    let own_file = config.clone().memory_file(memory_file(config.memory));
    let huge_pages = config.clone().huge_pages();
    let mut exchanged = config.clone();
    exchanged.disks.swap(0, 1);
    let refused = ErrorKind::MigrationRefused;
    for (cancels_in, commits, there, kind, said) in [
        (Some(Phase::Running), Decision::Applied, &config, ErrorKind::Cancelled, "cancelled"),
        (Some(Phase::Parked), Decision::Applied, &config, ErrorKind::Cancelled, "cancelled"),
        (Some(Phase::Released), Decision::Applied, &config, ErrorKind::Cancelled, "cancelled"),
        (Some(Phase::Deciding), Decision::Applied, &config, ErrorKind::Cancelled, "cancelled"),
        (None, Decision::Refused, &config, ErrorKind::InvalidState, "did not make the target the owner"),
        (None, Decision::Applied, &private, refused, "private memory here; give it memory in a file"),
        (None, Decision::Applied, &own_file, refused, "a memory file of its own here; leave out"),
        (None, Decision::Applied, &huge_pages, refused, "it has no huge pages"),
        (None, Decision::Applied, &exchanged, ErrorKind::PeerFailed, "is not the image"),
    ] {
        let watch = Watch::new(&memory, cancels_in, commits);
        let (sent, received) = hand_over(&guest.vm, &host, &watch, &|_| Ok(there.clone()));
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), kind, "{said}: {error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(received.is_err(), "{said}");
        let prepared = cancels_in == Some(Phase::Deciding) || commits == Decision::Refused;
        assert_eq!(*watch.compared.lock().unwrap(), prepared, "{said}");
        assert_eq!(guest.vm.power_state(), PowerState::Running, "{said}");
        guest.goes_on();
    }
}

#[test]
fn private_memory_is_refused_before_the_target_hears_of_it() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(&host, configuration(folder.path()));
    let (sent, received) = hand_over(&guest.vm, &host, &Go, &as_it_is);
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("build the VM with memory in a file: VmConfig::shared_memory"), "{error}");
    assert!(received.is_err());
    guest.goes_on();
}

#[test]
fn the_balloon_gives_memory_back_after_a_local_hand_over() {
    let host = host!();
    let there = config(&CommandLine::new([Mode::Balloon])).shared_memory();
    let memory = memory_file(there.memory);
    let mut guest = Guest::start(there.clone().memory_file(memory.try_clone().unwrap()), &host).unwrap();
    guest.expect("balloon: touched=4096");
    let allocated = || memory.metadata().unwrap().blocks() * 512;
    let before = allocated();
    let (sent, received) = hand_over(&guest.vm, &host, &Go, &|_| Ok(there.clone()));
    sent.unwrap();
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    assert!(allocated().abs_diff(before) < 1 << 20, "the source keeps its hands off the memory: {}", allocated());
    let there = received.unwrap();
    let mut console = there.console().reader_at_end();
    there.set_memory_target(ByteSize::mib(64 - 12)).unwrap();
    console.wait_for("balloon: pages=3072", PATIENCE).unwrap();
    there.wait_memory_target(PATIENCE).unwrap();
    let given = before.saturating_sub(allocated());
    assert!(given > 10 << 20, "{given} bytes went to the host");
    there.set_memory_target(ByteSize::mib(64)).unwrap();
    console.wait_for("balloon: pages=0", PATIENCE).unwrap();
}

/// Runs `test` of this program in another process, which works in `folder`.
fn in_another_process(test: &str, folder: &Path) -> Command {
    let mut command = another(test);
    command.env(FOLDER, folder);
    // Otherwise the allocator keeps memory for each thread that there has been.
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

/// In the other process: the folder to work in.
fn ordered() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Takes a VM, lets its guest go on, and hands it back.
#[test]
fn other_process_takes_a_vm_and_returns_it() {
    let Some(folder) = ordered() else { return };
    let host = Host::probe().unwrap();
    let connect = move |_| UnixStream::connect(folder.join("socket"));
    let vm = receive(&connect, &host, &Reception::default(), &(), &(), &mut as_it_is).unwrap();
    let mut guest = Workload::taken_back(vm, Default::default());
    guest.goes_on();
    guest.vm.migrate(&connect, &settings(), &(), &()).unwrap();
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
}

#[test]
fn a_vm_goes_to_another_process_and_back() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = running(&host, configuration(folder.path()).shared_memory());
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let mut other =
        in_another_process("local_hand_over::other_process_takes_a_vm_and_returns_it", folder.path()).spawn().unwrap();
    let summary = guest.vm.migrate(&listener, &settings(), &(), &()).unwrap();
    println!("{summary:?}");
    guest.hear();
    let back = receive(&listener, &host, &Reception::default(), &(), &(), &mut as_it_is).unwrap();
    assert!(other.wait().unwrap().success());
    Workload::taken_back(back, guest.progress).goes_on();
}

/// What a process has: descriptors, threads, and bytes of private memory.
fn held() -> (usize, usize, u64) {
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    (count("/proc/self/fd"), count("/proc/self/task"), kib << 10)
}

/// Hands a new VM over `count` times in a row.
fn again_and_again(host: &Host, config: &VmConfig, count: u64) {
    let mut guest = running(host, config.clone());
    for number in 0..count {
        let (sent, received) = hand_over(&guest.vm, host, &Go, &as_it_is);
        println!("local hand-over {number}: {:?}, {:?}", sent.unwrap().downtime, held());
        guest.hear();
        guest = Workload::taken_back(received.unwrap(), guest.progress);
        guest.goes_on();
    }
}

/// Local hand-overs in a process in which nothing else happens.
#[test]
fn other_process_hands_a_vm_over_and_over() {
    let Some(folder) = ordered() else { return };
    let host = Host::probe().unwrap();
    let count = std::env::var("XVIRT_LOCAL_HAND_OVERS").map_or(LOCAL_HAND_OVERS, |text| text.parse().unwrap());
    let config = configuration(&folder).shared_memory();
    // The first one starts what the process keeps.
    again_and_again(&host, &config, 1);
    let (descriptors, threads, memory) = held();
    again_and_again(&host, &config, count);
    let after = held();
    println!("{count} local hand-overs: {:?}, then {after:?}", (descriptors, threads, memory));
    assert_eq!((after.0, after.1), (descriptors, threads), "descriptors or threads are left");
    assert!(after.2 < memory + LEFT, "memory is left: {memory}, then {}", after.2);
}

#[test]
fn many_local_hand_overs_in_a_row_leave_nothing_behind() {
    let _ = host!();
    let folder = tempfile::tempdir().unwrap();
    let test = "local_hand_over::other_process_hands_a_vm_over_and_over";
    assert!(in_another_process(test, folder.path()).status().unwrap().success());
}
