//! VMs whose memory is read while the guest runs, because it cannot be mapped.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};
use xvirt_core::ErrorKind;
use xvirt_core::config::{ByteSize, CrashAction, VmConfig};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::repository::StoredVm;
use xvirt_core::snapshot::NewSnapshot;
use xvirt_core::vm::{
    CheckpointMethod, CrashReason, Event, EventReceiver, MemoryLoaded, MemoryLoading, Resume, SuspendedVm,
};

use crate::host;
use crate::mount::Mount;
use crate::support::{Guest, PATIENCE, config};
use crate::workload::{self, Workload};

/// Where memory begins in a file of saved state (`docs/snapshot-format.md`).
const MEMORY: usize = 2 << 20;
const PAGE: usize = 4096;

fn lazily() -> Resume {
    Resume::default().memory(MemoryLoading::Lazy)
}

fn started(stored: &StoredVm, host: &Host) -> Workload {
    let mut guest = Workload::new(stored.build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

/// Suspends the guest to a file at `path`, and goes on with a VM that is configured otherwise.
fn suspended(guest: Workload, path: &Path, change: impl Fn(VmConfig) -> VmConfig, host: &Host) -> Workload {
    guest.vm.suspend(path, &()).unwrap();
    let saved = SuspendedVm::open(path).unwrap();
    let config = change(saved.config().unwrap().clone());
    guest.moved_to(saved.build_with(config, host).unwrap())
}

/// Resumes it so that its memory is loaded while it runs.
fn resumed(guest: &mut Workload) {
    let report = guest.vm.resume_with(lazily(), &()).unwrap();
    assert_eq!(report.loaded, MemoryLoaded::Userfault);
    assert!(guest.vm.resume_times().unwrap().running <= report.total);
    guest.goes_on();
}

/// Waits until all memory is there, which is a matter of time.
fn is_loaded(guest: &mut Workload) {
    while guest.vm.resume_times().unwrap().resident.is_none() {
        guest.goes_on();
    }
    guest.goes_on();
}

#[test]
fn shared_memory_and_huge_pages_are_loaded_while_the_guest_runs() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (_repository, stored) = workload::create(folder.path(), None);
    let mut guest = started(&stored, &host);
    let path = folder.path().join("saved");
    let mut kinds: Vec<fn(VmConfig) -> VmConfig> = vec![VmConfig::shared_memory, VmConfig::shared_memory];
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").unwrap_or_default();
    if free.trim().parse::<u64>().is_ok_and(|free| free >= 16) {
        kinds.push(VmConfig::huge_pages);
    } else {
        println!(
            "SKIPPED huge pages in shared_memory_and_huge_pages_are_loaded_while_the_guest_runs: too few are free"
        );
    }
    for kind in kinds {
        guest = suspended(guest, &path, kind, &host);
        resumed(&mut guest);
        assert!(!path.exists());
        is_loaded(&mut guest);
    }
    // Verbs that need all memory wait for it.
    for _ in 0..3 {
        guest = suspended(guest, &path, VmConfig::shared_memory, &host);
        let report = guest.vm.resume_with(lazily(), &()).unwrap();
        assert_eq!(report.loaded, MemoryLoaded::Userfault);
    }
    guest.goes_on();
    guest = suspended(guest, &path, VmConfig::shared_memory, &host);
    assert_eq!(guest.vm.resume(&()).unwrap().loaded, MemoryLoaded::Read);
    guest.goes_on();
    guest = suspended(guest, &path, VmConfig::shared_memory, &host);
    guest.vm.resume_with(lazily(), &()).unwrap();
    guest.vm.hard_reboot().unwrap();
    guest.goes_on();
    guest = suspended(guest, &path, VmConfig::shared_memory, &host);
    guest.vm.resume_with(lazily(), &()).unwrap();
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn a_file_that_is_not_known_to_be_of_this_host_is_not_mapped() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let test = "a_file_that_is_not_known_to_be_of_this_host_is_not_mapped";
    // As xvirt does not know that a ramfs is local, it stands for NFS.
    let Some(remote) = Mount::new(test, &folder.path().join("remote"), &["-t", "ramfs", "ramfs"]) else { return };
    let (_repository, stored) = workload::create(folder.path(), None);
    let mut guest = suspended(started(&stored, &host), &remote.0.join("saved"), |config| config, &host);
    resumed(&mut guest);
    is_loaded(&mut guest);
}

#[test]
fn checkpoints_that_are_based_on_others_are_loaded_while_the_guest_runs() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (repository, stored) = workload::create(folder.path(), None);
    let mut guest = started(&stored, &host);
    let new = |name: &str| NewSnapshot::new(name).incremental(true);
    repository.checkpoint(&guest.vm, new("first"), &()).unwrap();
    guest.goes_on();
    let progress = guest.progress;
    let second = repository.checkpoint(&guest.vm, new("second"), &()).unwrap();
    assert!(second.checkpoint_report().unwrap().base.is_some());
    guest.vm.hard_shutdown().unwrap();
    drop(guest);
    repository.revert(&second).unwrap();
    let stored = repository.vm(&stored.uuid().to_string()).unwrap();
    let mut guest = Workload::taken_back(stored.build(&host).unwrap(), progress);
    resumed(&mut guest);
    // While memory may still be loaded, another method of saving it begins.
    let third = repository.checkpoint(&guest.vm, new("third").method(CheckpointMethod::Protect), &()).unwrap();
    assert_eq!(third.checkpoint_report().unwrap().method, CheckpointMethod::Protect);
    guest.goes_on();
    is_loaded(&mut guest);
    assert_eq!(repository.check(&()).unwrap().problems, []);
}

/// Damages the last page of memory in a file of saved state that is not zeroes. The guest fills memory from below, so it
/// needs this page late.
fn damage(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; 32 << 20];
    file.read_exact_at(&mut bytes, MEMORY as u64).unwrap();
    let page = bytes.chunks(PAGE).rposition(|page| page.iter().any(|byte| *byte != 0)).unwrap();
    file.write_all_at(&[!bytes[page * PAGE]], (MEMORY + page * PAGE) as u64).unwrap();
}

/// The next event, except those of devices that need the missing memory.
fn next(events: &EventReceiver) -> Event {
    loop {
        match events.next_timeout(PATIENCE).unwrap().event {
            Event::DeviceFailed { .. } => {}
            event => return event,
        }
    }
}

fn is_not_loaded(reason: &CrashReason, path: &Path) {
    let CrashReason::MemoryNotLoaded(text) = reason else { panic!("{reason:?}") };
    let expected = format!("the guest's memory cannot be loaded from {}: ", path.display());
    assert!(text.starts_with(&expected) && text.contains("the checksum of its memory"), "{text}");
    assert!(text.contains("start the VM from its disks"), "{text}");
}

#[test]
fn memory_that_cannot_be_read_crashes_the_guest_and_not_the_process() {
    let host = host!();
    for action in [CrashAction::Halt, CrashAction::Restart, CrashAction::Preserve] {
        let folder = tempfile::tempdir().unwrap();
        let (_repository, stored) = workload::create(folder.path(), None);
        let path = folder.path().join("saved");
        let change = |config: VmConfig| config.shared_memory().on_crash(action);
        let mut guest = suspended(started(&stored, &host), &path, change, &host);
        damage(&path);
        let events = guest.vm.events().unwrap();
        // Nothing needs that page before the guest runs.
        assert_eq!(guest.vm.resume_with(lazily(), &()).unwrap().loaded, MemoryLoaded::Userfault);
        assert_eq!(next(&events), Event::Resumed);
        let Event::Crashed(reason) = next(&events) else { panic!("no crash") };
        is_not_loaded(&reason, &path);
        match action {
            CrashAction::Restart => assert_eq!(next(&events), Event::Restarted),
            CrashAction::Preserve => {
                assert_eq!(next(&events), Event::Paused);
                // What is there is not the guest's memory.
                let error = guest.vm.suspend(folder.path().join("again"), &()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
                guest.vm.unpause().unwrap();
                assert_eq!(next(&events), Event::Unpaused);
                let Event::Crashed(again) = next(&events) else { panic!("no crash") };
                assert_eq!(again, reason);
                assert_eq!(next(&events), Event::Paused);
                guest.vm.hard_reboot().unwrap();
            }
            _ => {
                guest.vm.wait_halted(PATIENCE).unwrap();
                guest.vm.start().unwrap();
            }
        }
        assert_eq!(guest.vm.last_crash().unwrap().reason, reason);
        // The guest finds on its disks what it has flushed.
        guest.goes_on();
        guest.vm.suspend(folder.path().join("again"), &()).unwrap();
        guest.vm.resume(&()).unwrap();
        guest.goes_on();
    }
}

#[test]
fn memory_that_the_guest_gives_back_meanwhile_is_not_loaded() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let config = config(&CommandLine::new([Mode::Balloon])).shared_memory();
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect("balloon: touched=4096");
    for (target, pages) in [(52, 3072), (60, 1024), (56, 2048), (64, 0)] {
        guest.vm.suspend(&path, &()).unwrap();
        assert_eq!(guest.vm.resume_with(lazily(), &()).unwrap().loaded, MemoryLoaded::Userfault);
        guest.vm.set_memory_target(ByteSize::mib(target)).unwrap();
        guest.expect(&format!("balloon: pages={pages}"));
        guest.vm.wait_memory_target(PATIENCE).unwrap();
    }
}

#[test]
fn a_memory_file_of_the_program_is_refused() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (_repository, stored) = workload::create(folder.path(), None);
    let guest = started(&stored, &host);
    let path = folder.path().join("saved");
    let file = File::from(memfd_create("memory", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(32 << 20).unwrap();
    let mut guest = suspended(guest, &path, |config| config.memory_file(file.try_clone().unwrap()), &host);
    let error = guest.vm.resume_with(lazily(), &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("it is in a file of the program, which others may map"), "{error}");
    assert_eq!(guest.vm.resume(&()).unwrap().loaded, MemoryLoaded::Read);
    guest.goes_on();
}
