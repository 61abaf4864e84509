//! Checkpoints of VMs whose guest runs on while their memory is saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use xvirt_core::ErrorKind;
use xvirt_core::config::{ByteSize, DiskSource};
use xvirt_core::host::Host;
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::snapshot::{CheckpointMethod, NewSnapshot, Snapshot};
use xvirt_core::vm::{PowerState, Verb, Vm};

use crate::host;
use crate::workload::{self, Workload};

const METHODS: [CheckpointMethod; 3] = [CheckpointMethod::Protect, CheckpointMethod::Rounds, CheckpointMethod::Stop];

fn running(host: &Host) -> (TempDir, Repository, Workload) {
    let folder = tempfile::tempdir().unwrap();
    let (repository, stored) = workload::create(folder.path(), None);
    let guest = started(&stored, host);
    (folder, repository, guest)
}

fn started(stored: &StoredVm, host: &Host) -> Workload {
    let mut guest = Workload::new(stored.build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

fn sound(repository: &Repository) {
    assert_eq!(repository.check(&()).unwrap().problems, []);
    for room in ["staging", "trash"] {
        let left: Vec<_> = repository.folder().join(room).read_dir().unwrap().collect();
        assert!(left.is_empty(), "{room} has {left:?}");
    }
}

/// The folder of a snapshot.
fn folder_of(snapshot: &Snapshot) -> PathBuf {
    let DiskSource::Image { path, .. } = &snapshot.config().disks[0].source else { panic!("no image") };
    path.parent().unwrap().to_owned()
}

/// The names of the files of the saved state in a folder.
fn saved_states(folder: &Path) -> Vec<String> {
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("saved-state")).collect()
}

#[test]
fn each_way_takes_the_guest_back_to_the_moment_of_the_stop() {
    let host = host!();
    let (_folder, repository, mut guest) = running(&host);
    let mut taken = Vec::new();
    for method in METHODS.into_iter().chain([CheckpointMethod::Auto]) {
        guest.hear();
        let least = guest.progress;
        let checkpoint = repository.checkpoint(&guest.vm, NewSnapshot::new("live").method(method), &()).unwrap();
        let report = checkpoint.checkpoint_report().unwrap();
        let expected = if method == CheckpointMethod::Auto { CheckpointMethod::Protect } else { method };
        assert_eq!((report.method, report.not_protected.as_deref()), (expected, None));
        assert!(report.memory > 0 && report.written >= report.memory, "{report:?}");
        assert!(report.pause > Duration::ZERO && report.longest_stall <= report.total_stall, "{report:?}");
        assert_eq!(report.rounds > 0, expected != CheckpointMethod::Protect);
        let found = repository.find_snapshot(checkpoint.uuid()).unwrap();
        assert_eq!(found.checkpoint_report(), Some(report));
        guest.goes_on();
        taken.push((checkpoint, least));
        sound(&repository);
    }
    drop(guest);
    for (checkpoint, least) in taken {
        let stored = repository.revert(&checkpoint).unwrap();
        let mut guest = Workload::taken_back(stored.build(&host).unwrap(), least);
        guest.vm.resume(&()).unwrap();
        guest.goes_on();
        assert!(guest.progress.round() >= least.round());
    }
    sound(&repository);
}

#[test]
fn memory_that_cannot_be_protected_is_saved_in_rounds() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (repository, stored) = workload::create(folder.path(), None);
    let stored = repository
        .update(stored.uuid(), |config| {
            config.memory_backing.shared = true;
            Ok(())
        })
        .unwrap();
    let mut guest = started(&stored, &host);
    let new = || NewSnapshot::new("shared");
    let error = repository.checkpoint(&guest.vm, new().method(CheckpointMethod::Protect), &()).unwrap_err();
    assert!(error.to_string().contains("lies in a file"), "{error}");
    assert!(error.remedy().unwrap().contains("MemoryLoading::Read"), "{error}");
    guest.goes_on();
    let checkpoint = repository.checkpoint(&guest.vm, new(), &()).unwrap();
    let report = checkpoint.checkpoint_report().unwrap();
    assert_eq!(report.method, CheckpointMethod::Rounds);
    assert!(report.not_protected.as_ref().unwrap().contains("lies in a file"), "{report:?}");
    guest.goes_on();
    drop(guest);
    let mut guest =
        Workload::taken_back(repository.revert(&checkpoint).unwrap().build(&host).unwrap(), Default::default());
    guest.vm.resume(&()).unwrap();
    guest.goes_on();
    sound(&repository);
}

#[test]
fn a_paused_vm_stays_paused() {
    let host = host!();
    let (_folder, repository, mut guest) = running(&host);
    guest.vm.pause().unwrap();
    let checkpoint = repository.checkpoint(&guest.vm, "paused", &()).unwrap();
    assert_eq!(checkpoint.checkpoint_report().unwrap().method, CheckpointMethod::Stop);
    assert_eq!(guest.vm.power_state(), PowerState::Paused);
    guest.vm.unpause().unwrap();
    guest.goes_on();
    sound(&repository);
}

/// Cancels once the guest runs again, which is when the snapshot is in its place.
struct CancelAfterStop<'a> {
    vm: &'a Vm,
    repository: &'a Repository,
    seen: AtomicBool,
}

impl Progress for CancelAfterStop<'_> {
    fn report(&self, _: Done) {
        let folders = self.repository.folder().join("snapshots").read_dir().unwrap().count();
        if folders > 0 {
            self.seen.store(true, Ordering::Relaxed);
            assert_eq!(self.vm.power_state(), PowerState::Running);
            assert_eq!(self.vm.current_operations()[0].verb, Verb::Checkpoint);
            // It is not listed before it is complete, and nobody deletes it.
            assert_eq!(self.repository.all_snapshots().unwrap().len(), 0);
            self.repository.merge_removed(&()).unwrap();
            assert_eq!(self.repository.check(&()).unwrap().problems, []);
        }
    }

    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

#[test]
fn a_cancelled_checkpoint_leaves_the_vm_running() {
    let host = host!();
    let (_folder, repository, mut guest) = running(&host);
    for method in METHODS {
        let cancel = AtomicBool::new(true);
        let error = repository.checkpoint(&guest.vm, NewSnapshot::new("no").method(method), &cancel).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        guest.goes_on();
        sound(&repository);
    }
    let cancel = CancelAfterStop { vm: &guest.vm, repository: &repository, seen: AtomicBool::new(false) };
    let new = NewSnapshot::new("no").method(CheckpointMethod::Protect);
    match repository.checkpoint(&guest.vm, new, &cancel) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        // It may be complete before the observer is asked once more.
        Ok(checkpoint) => repository.remove_snapshot(&checkpoint).unwrap(),
    }
    assert!(cancel.seen.load(Ordering::Relaxed));
    assert_eq!(repository.all_snapshots().unwrap().len(), 0);
    guest.goes_on();
    repository.merge_removed(&()).unwrap();
    guest.vm.hard_shutdown().unwrap();
    guest.vm.start().unwrap();
    guest.goes_on();
    sound(&repository);
    assert_eq!(guest.vm.config().unwrap().memory, ByteSize::mib(32));
}

/// Cancels the second time it is asked: once memory is being saved.
#[derive(Default)]
struct CancelSaving(AtomicBool);

impl Progress for CancelSaving {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
}

#[test]
fn incremental_checkpoints_have_what_has_changed_and_need_no_listed_base() {
    let host = host!();
    for method in METHODS {
        let (_folder, repository, mut guest) = running(&host);
        let new = |name| NewSnapshot::new(name).method(method).incremental(true);
        let mut taken = Vec::new();
        for number in 0..4 {
            guest.hear();
            let least = guest.progress;
            let checkpoint = repository.checkpoint(&guest.vm, new("next"), &()).unwrap();
            let report = checkpoint.checkpoint_report().unwrap().clone();
            assert_eq!(report.method, method);
            match taken.last() {
                None => assert!(report.full_because.as_ref().unwrap().contains("no earlier checkpoint"), "{report:?}"),
                Some((base, _)) => {
                    let base: &Snapshot = base;
                    assert_eq!((report.base, report.full_because.clone()), (Some(base.uuid()), None));
                }
            }
            taken.push((checkpoint, least));
            sound(&repository);
            if number == 1 {
                // Others in between, and failures, change nothing.
                let other =
                    repository.checkpoint(&guest.vm, NewSnapshot::new("full").method(CheckpointMethod::Stop), &());
                assert_eq!(other.unwrap().checkpoint_report().unwrap().base, None);
                for _ in 0..2 {
                    guest.goes_on();
                    let error = repository.checkpoint(&guest.vm, new("no"), &CancelSaving::default()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                }
                repository.checkpoint(&guest.vm, new("no"), &AtomicBool::new(true)).unwrap_err();
            }
            guest.goes_on();
        }
        // A base that was removed.
        repository.remove_snapshot(&taken.remove(3).0).unwrap();
        let full = repository.checkpoint(&guest.vm, new("full"), &()).unwrap();
        let report = full.checkpoint_report().unwrap();
        assert!(report.base.is_none() && report.full_because.is_some(), "{report:?}");
        drop(guest);
        // The second is based on the first, which is removed, and the third on both.
        let (first, _) = taken.remove(0);
        repository.remove_snapshot(&first).unwrap();
        sound(&repository);
        repository.flatten_checkpoint(&taken[0].0, &()).unwrap();
        let files = |snapshot: &Snapshot| saved_states(&folder_of(snapshot)).len();
        assert_eq!([files(&taken[0].0), files(&taken[1].0)], [1, 3]);
        sound(&repository);
        for (checkpoint, least) in taken.into_iter().rev() {
            let stored = repository.revert(&checkpoint).unwrap();
            sound(&repository);
            let mut guest = Workload::taken_back(stored.build(&host).unwrap(), least);
            guest.vm.resume(&()).unwrap();
            guest.goes_on();
            assert_eq!(saved_states(&stored.folder()), [""; 0]);
        }
        sound(&repository);
    }
}

#[test]
fn writes_are_tracked_until_that_is_stopped() {
    let host = host!();
    let (_folder, repository, mut guest) = running(&host);
    let full_because = |guest: &mut Workload| {
        guest.goes_on();
        let taken = repository.checkpoint(&guest.vm, NewSnapshot::new("next").incremental(true), &()).unwrap();
        taken.checkpoint_report().unwrap().full_because.clone()
    };
    assert!(full_because(&mut guest).is_some());
    assert_eq!(full_because(&mut guest), None);
    guest.vm.stop_tracking().unwrap();
    assert!(full_because(&mut guest).unwrap().contains("no earlier checkpoint"));
    guest.vm.hard_shutdown().unwrap();
    guest.vm.stop_tracking().unwrap();
}

#[test]
fn a_checkpoint_keeps_no_file_on_which_it_is_not_based() {
    let host = host!();
    let (_folder, repository, mut guest) = running(&host);
    let mut take = || {
        guest.goes_on();
        repository.checkpoint(&guest.vm, NewSnapshot::new("next").incremental(true), &()).unwrap()
    };
    let (first, second) = (take(), take());
    let base = fs::read(folder_of(&second).join("saved-state-base-1")).unwrap();
    repository.flatten_checkpoint(&second, &()).unwrap();
    // What it would be based on was replaced.
    let third = take();
    let why = third.checkpoint_report().unwrap().full_because.clone().unwrap();
    assert!(why.contains("was replaced"), "{why}");
    assert!([&first, &second, &third].iter().all(|taken| saved_states(&folder_of(taken)) == ["saved-state"]));

    // A process that was killed left what the second one was based on.
    let left = folder_of(&second).join("saved-state-base-1");
    let fourth = take();
    for by_opening in [true, false] {
        fs::write(&left, &base).unwrap();
        match by_opening {
            true => drop(Repository::open(repository.folder()).unwrap()),
            false => repository.flatten_checkpoint(&second, &()).unwrap(),
        }
        assert!(!left.exists(), "{by_opening}");
    }
    assert_eq!(saved_states(&folder_of(&fourth)).len(), 2);
    sound(&repository);
}
