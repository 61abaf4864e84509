//! Snapshots and checkpoints of running VMs, and suspended VMs of a repository.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;
use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, Disk, DiskSource, VmConfig};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::vm::{PowerState, SuspendedVm, Vm};

use crate::host;
use crate::support::{PATIENCE, config};
use crate::workload::{self, Workload};

const DISK: u64 = 8 << 20;

/// A repository with a VM whose guest checks its memory and its disks continuously.
fn stored() -> (TempDir, Repository, StoredVm) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let kernel = folder.path().join("kernel");
    fs::write(&kernel, demo::kernel()).unwrap();
    let line = CommandLine::new([Mode::Smp, Mode::Counter, Mode::BlkLoad]).pages(500).blocks(32).every(1);
    let mut stage = repository.stage().unwrap();
    let (raw, qcow2) = (stage.disk_path(0, ImageFormat::Raw), stage.disk_path(1, ImageFormat::Qcow2));
    disk::create(&raw, ImageFormat::Raw, DISK).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK).unwrap();
    let config: VmConfig = config(&line).boot(Boot::kernel(kernel).command_line(line.to_string())).vcpus(2);
    let vm = stage.commit(config.disk(Disk::raw(raw)).disk(Disk::qcow2(qcow2))).unwrap();
    (folder, repository, vm)
}

fn again(repository: &Repository, vm: &Vm) -> StoredVm {
    repository.vm(&vm.uuid().to_string()).unwrap()
}

fn again_of(repository: &Repository, vm: &StoredVm) -> StoredVm {
    repository.vm(&vm.uuid().to_string()).unwrap()
}

/// Waits until the guest has checked its memory and its disks once more. Returns the number of its last round.
fn goes_on(console: &mut ConsoleReader) -> u64 {
    let mut text = String::new();
    for _ in 0..2 {
        for expected in ["blk 1: round ", "\n", "pass"] {
            text += &console.wait_for(expected, PATIENCE).unwrap();
        }
    }
    assert!(!text.contains(demo::FAILED), "{text}");
    let round = text.rsplit("blk 1: round ").next().unwrap();
    round.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn started(stored: &StoredVm, host: &Host) -> (Vm, ConsoleReader) {
    let vm = stored.build(host).unwrap();
    vm.start().unwrap();
    let console = vm.console().reader();
    (vm, console)
}

fn sound(repository: &Repository) {
    assert_eq!(repository.check(&()).unwrap().problems, []);
}

#[test]
fn snapshots_of_a_running_vm_do_not_disturb_its_guest() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    let mut snapshots = Vec::new();
    for number in 0..4 {
        goes_on(&mut console);
        if number == 2 {
            vm.pause().unwrap();
        }
        let requests = vm.statistics().disks[&0].writes.operations;
        snapshots.push(repository.snapshot(&vm, format!("s{number}"), &()).unwrap());
        assert!(vm.statistics().disks[&0].writes.operations >= requests);
        if number == 2 {
            assert_eq!(vm.power_state(), PowerState::Paused);
            vm.unpause().unwrap();
        }
        assert_eq!(vm.power_state(), PowerState::Running);
        sound(&repository);
    }
    repository.remove_snapshot(&snapshots.remove(1)).unwrap();
    repository.merge_removed(&()).unwrap();
    goes_on(&mut console);
    // A reboot uses the new images, and so does the next start.
    vm.hard_reboot().unwrap();
    goes_on(&mut console);
    vm.hard_shutdown().unwrap();
    repository.snapshot(&vm, "halted", &()).unwrap();
    vm.start().unwrap();
    let mut console = vm.console().reader();
    goes_on(&mut console);
    drop(vm);
    sound(&repository);

    for snapshot in &snapshots {
        let stored = repository.revert(snapshot).unwrap();
        sound(&repository);
        let (vm, mut console) = started(&stored, &host);
        goes_on(&mut console);
        vm.hard_shutdown().unwrap();
    }
}

#[test]
fn a_vm_goes_on_where_a_checkpoint_was_taken_as_often_as_desired() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    let checkpoint = repository.checkpoint(&vm, "booted", &()).unwrap();
    assert!(checkpoint.has_memory() && checkpoint.size().unwrap() > 0);
    let taken = goes_on(&mut console);
    while goes_on(&mut console) < taken + 8 {}
    assert_eq!(repository.revert(&checkpoint).unwrap_err().kind(), ErrorKind::Busy);
    drop(vm);

    for _ in 0..3 {
        let stored = repository.revert(&checkpoint).unwrap();
        assert!(stored.is_suspended());
        sound(&repository);
        let vm = stored.build(&host).unwrap();
        assert_eq!(vm.power_state(), PowerState::Suspended);
        let mut console = vm.console().reader_at_end();
        vm.resume(&()).unwrap();
        assert!(!again(&repository, &vm).is_suspended());
        let round = goes_on(&mut console);
        assert!(round <= taken + 4, "{round} {taken}");
        goes_on(&mut console);
        vm.hard_shutdown().unwrap();
    }
    // Its disks alone are those of a VM that lost its power.
    let clone = repository.clone_vm(&checkpoint, "clone", &()).unwrap();
    let (vm, mut console) = started(&clone, &host);
    goes_on(&mut console);
    drop(vm);
    repository.remove_snapshot(&checkpoint).unwrap();
    sound(&repository);
}

#[test]
fn a_suspended_vm_of_a_repository_is_resumed_once() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    // What was plugged in is there again after the resume.
    let data = stored.new_disk_path(ImageFormat::Raw);
    disk::create(&data, ImageFormat::Raw, DISK).unwrap();
    vm.plug_disk(Disk::raw(&data)).unwrap();
    repository.suspend(&vm, &()).unwrap();
    assert_eq!(vm.power_state(), PowerState::Suspended);
    let stored = again(&repository, &vm);
    assert!(stored.is_suspended());
    assert_eq!(stored.config().disks.len(), 2);
    sound(&repository);
    let update = |repository: &Repository, change: fn(&mut VmConfig)| {
        repository.update(stored.uuid(), |config| {
            change(config);
            Ok(())
        })
    };
    // Its disks must stay as its guest knows them.
    for refused in [
        repository.clone_vm(&stored, "b", &()).err(),
        repository.flatten(&stored, &()).err(),
        repository.seal("t", &stored, &()).err(),
        update(&repository, |config| config.disks.truncate(1)).err(),
    ] {
        assert_eq!(refused.unwrap().kind(), ErrorKind::InvalidState);
    }
    // Other changes count from the next start on.
    update(&repository, |config| (config.name, config.cpus.count) = ("renamed".to_owned(), 1)).unwrap();

    // Two that were built from the same saved state: the second finds nothing to resume.
    let second = again(&repository, &vm).build(&host).unwrap();
    assert_eq!((second.name(), second.power_state()), ("renamed", PowerState::Suspended));
    let mut console = second.console().reader_at_end();
    second.resume(&()).unwrap();
    goes_on(&mut console);
    assert_eq!(second.disk_positions(), [0, 1, 2]);
    drop(second);
    assert_eq!(vm.resume(&()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(vm.power_state(), PowerState::Suspended);
    vm.hard_shutdown().unwrap();
    assert_eq!(vm.power_state(), PowerState::Halted);
    drop(vm);

    let (vm, mut console) = started(&repository.vm("renamed").unwrap(), &host);
    assert_eq!((vm.config().unwrap().cpus.count, vm.disk_positions().len()), (1, 2));
    goes_on(&mut console);
    repository.suspend(&vm, &()).unwrap();
    let halted = repository.hard_shutdown(&again(&repository, &vm)).unwrap();
    assert!(!halted.is_suspended());
    assert_eq!(vm.resume(&()).unwrap_err().kind(), ErrorKind::NotFound);
    sound(&repository);
}

#[test]
fn a_snapshot_that_fails_leaves_the_vm_running() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    // An export holds the images open.
    let scratch = tempfile::tempdir().unwrap();
    let views = vm.snapshot_views(scratch.path()).unwrap();
    let error = repository.snapshot(&vm, "s", &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    goes_on(&mut console);
    assert_eq!(repository.checkpoint(&vm, "s", &()).unwrap_err().kind(), ErrorKind::Busy);
    goes_on(&mut console);
    drop(views);
    // Nothing can be prepared.
    let staging = repository.folder().join("staging");
    fs::rename(&staging, repository.folder().join("moved")).unwrap();
    assert_eq!(repository.snapshot(&vm, "s", &()).unwrap_err().kind(), ErrorKind::NotFound);
    fs::rename(repository.folder().join("moved"), &staging).unwrap();
    goes_on(&mut console);
    repository.snapshot(&vm, "s", &()).unwrap();
    goes_on(&mut console);
    // It is not in any repository any more, and still runs.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = Repository::open(other.path().join("other")).unwrap();
    assert_eq!(elsewhere.snapshot(&vm, "s", &()).unwrap_err().kind(), ErrorKind::NotFound);
    goes_on(&mut console);
    vm.hard_shutdown().unwrap();
    drop(disk::open(stored.folder().join("disk-1.qcow2"), None, Access::ReadWrite).unwrap());
    sound(&repository);
}

#[test]
fn a_plugged_disk_that_is_not_stored_yet_is_kept_and_reverted() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    let data = stored.new_disk_path(ImageFormat::Qcow2);
    disk::create(&data, ImageFormat::Qcow2, DISK).unwrap();
    vm.plug_disk(Disk::qcow2(&data)).unwrap();
    let kept = repository.snapshot(&vm, "kept", &()).unwrap();
    let removed = repository.snapshot(&vm, "removed", &()).unwrap();
    // The disk is based on an image of this snapshot.
    repository.remove_snapshot(&removed).unwrap();
    repository.merge_removed(&()).unwrap();
    vm.hard_reboot().unwrap();
    goes_on(&mut console);
    repository.suspend(&vm, &()).unwrap();
    vm.resume(&()).unwrap();
    goes_on(&mut console);

    vm.hard_shutdown().unwrap();
    vm.unplug_disk(2, PATIENCE).unwrap();
    drop(vm);
    let reverted = repository.revert(&kept).unwrap();
    assert_eq!(reverted.config().disks.len(), 3);
    let files = reverted.folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name.starts_with("disk-")).count(), 3);
    let (vm, mut console) = started(&reverted, &host);
    goes_on(&mut console);
    repository.snapshot(&vm, "again", &()).unwrap();
    sound(&repository);
}

#[test]
fn a_suspended_vm_whose_disk_was_changed_is_not_resumed() {
    let host = host!();
    let (folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    repository.suspend(&vm, &()).unwrap();
    drop(vm);
    // Somebody starts the VM from its disks, although it is suspended.
    let careless = stored.config().build(&host).unwrap();
    careless.start().unwrap();
    goes_on(&mut careless.console().reader());
    drop(careless);
    let vm = again_of(&repository, &stored).build(&host).unwrap();
    let error = vm.resume(&()).unwrap_err();
    assert_eq!((error.kind(), vm.power_state()), (ErrorKind::InvalidState, PowerState::Suspended), "{error}");
    vm.hard_shutdown().unwrap();
    vm.start().unwrap();
    goes_on(&mut vm.console().reader());

    // The same for a file of the user.
    let file = folder.path().join("saved");
    vm.suspend(&file, &()).unwrap();
    assert_eq!(repository.snapshot(&vm, "s", &()).unwrap_err().kind(), ErrorKind::InvalidState);
    let disk = disk::open(stored.folder().join("disk-0.raw"), Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    disk.write(&[disk::GuestSlice::from(&mut [1; 512][..])], DISK - 512).unwrap();
    drop(disk);
    assert_eq!(vm.resume(&()).unwrap_err().kind(), ErrorKind::InvalidState);
    let other = SuspendedVm::open(&file).unwrap().build(&host).unwrap();
    assert_eq!(other.resume(&()).unwrap_err().kind(), ErrorKind::InvalidState);
}

#[test]
fn a_suspended_vm_has_snapshots_and_checkpoints() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    assert_eq!(repository.checkpoint(&stored, "halted", &()).unwrap_err().kind(), ErrorKind::InvalidState);
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    repository.suspend(&vm, &()).unwrap();
    let by_handle = repository.checkpoint(&vm, "by handle", &()).unwrap();
    let stored = again(&repository, &vm);
    let by_record = repository.checkpoint(&stored, "by record", &()).unwrap();
    let disks = repository.snapshot(&again(&repository, &vm), "disks", &()).unwrap();
    assert!(by_handle.has_memory() && by_record.has_memory() && !disks.has_memory());
    sound(&repository);
    drop(vm);
    // It goes on with its new images, and once more from each checkpoint.
    let resumed = |stored: StoredVm| {
        let vm = stored.build(&host).unwrap();
        let mut console = vm.console().reader_at_end();
        vm.resume(&()).unwrap();
        goes_on(&mut console);
    };
    resumed(again_of(&repository, &stored));
    resumed(repository.revert(&by_handle).unwrap());
    resumed(repository.revert(&by_record).unwrap());
    sound(&repository);
}

#[test]
fn a_suspended_vm_resumes_with_the_images_that_snapshots_gave_it() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    // With reflinks or without, the second snapshot leaves the disks their names.
    repository.snapshot(&vm, "running", &()).unwrap();
    repository.suspend(&vm, &()).unwrap();
    repository.snapshot(&vm, "by handle", &()).unwrap();
    repository.checkpoint(&vm, "with memory", &()).unwrap();
    vm.resume(&()).unwrap();
    goes_on(&mut console);
    // Another process takes one.
    repository.suspend(&vm, &()).unwrap();
    repository.snapshot(&again(&repository, &vm), "by record", &()).unwrap();
    vm.resume(&()).unwrap();
    goes_on(&mut console);
    sound(&repository);
}

#[test]
fn a_handle_whose_image_moved_into_a_snapshot_is_told_to_build_again() {
    let host = host!();
    // Without reflinks, the first snapshot turns a raw disk into a qcow2 one.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (repository, stored) = workload::create(folder.path(), None);
    let mut guest = Workload::new(stored.build(&host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    repository.suspend(&guest.vm, &()).unwrap();
    repository.snapshot(&again_of(&repository, &stored), "by record", &()).unwrap();
    let error = guest.vm.resume(&()).unwrap_err();
    assert_eq!((error.kind(), guest.vm.power_state()), (ErrorKind::InvalidState, PowerState::Suspended));
    assert_eq!(error.remedy(), Some("build the VM again from the repository, and resume that"));
    drop(guest);
    let mut guest = Workload::new(again_of(&repository, &stored).build(&host).unwrap());
    guest.vm.resume(&()).unwrap();
    guest.goes_on();
    sound(&repository);
}

#[test]
fn a_snapshot_that_cannot_be_committed_gives_the_vm_its_old_images_back() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    let (snapshots, away) = (repository.folder().join("snapshots"), repository.folder().join("away"));
    fs::rename(&snapshots, &away).unwrap();
    for _ in 0..3 {
        let error = repository.snapshot(&vm, "s", &()).unwrap_err();
        assert_eq!((error.kind(), vm.power_state()), (ErrorKind::NotFound, PowerState::Running), "{error}");
        goes_on(&mut console);
        assert_eq!(repository.checkpoint(&vm, "s", &()).unwrap_err().kind(), ErrorKind::NotFound);
        goes_on(&mut console);
    }
    fs::rename(&away, &snapshots).unwrap();
    let DiskSource::Image { path, .. } = &again(&repository, &vm).config().disks[1].source else { panic!("no image") };
    assert_eq!(*path, stored.folder().join("disk-1.qcow2"));
    repository.snapshot(&vm, "s", &()).unwrap();
    goes_on(&mut console);
    sound(&repository);
}

#[test]
fn an_image_that_was_not_closed_is_repaired_before_a_snapshot_takes_it() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let vm = stored.build(&host).unwrap();
    // The mark that the image was not closed: bit 0 of the incompatible features of qcow2.
    let image = fs::File::options().write(true).open(stored.folder().join("disk-1.qcow2")).unwrap();
    image.write_all_at(&[1], 79).unwrap();
    repository.snapshot(&vm, "s", &()).unwrap();
    sound(&repository);
    vm.start().unwrap();
    goes_on(&mut vm.console().reader());
}

#[test]
fn images_of_a_suspended_vm_are_merged_and_it_resumes() {
    let host = host!();
    // Without reflinks, images are based on those of snapshots.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (repository, stored) = workload::create(folder.path(), None);
    let mut guest = Workload::new(stored.build(&host).unwrap());
    guest.vm.start().unwrap();
    let path = folder.path().join("saved");
    for in_repository in [true, false] {
        guest.goes_on();
        let kept = repository.snapshot(&guest.vm, "kept", &()).unwrap();
        let removed = repository.snapshot(&guest.vm, "removed", &()).unwrap();
        match in_repository {
            true => repository.suspend(&guest.vm, &()).unwrap(),
            false => guest.vm.suspend(&path, &()).unwrap(),
        };
        repository.remove_snapshot(&removed).unwrap();
        assert!(repository.merge_removed(&()).unwrap() >= 2);
        guest.vm.resume(&()).unwrap();
        guest.goes_on();
        repository.remove_snapshot(&kept).unwrap();
    }
}

#[test]
fn merges_leave_the_images_of_a_running_vm_alone() {
    let host = host!();
    let (_folder, repository, stored) = stored();
    let (vm, mut console) = started(&stored, &host);
    goes_on(&mut console);
    let over = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                repository.merge_removed(&()).unwrap();
            }
        });
        // Each snapshot closes the images for a moment.
        let taken = (0..30).try_for_each(|_| match repository.snapshot(&vm, "s", &()) {
            Ok(snapshot) => repository.remove_snapshot(&snapshot),
            // The record of the VM may have been changed meanwhile.
            Err(error) if error.kind() == ErrorKind::Busy && vm.power_state() == PowerState::Running => Ok(()),
            Err(error) => Err(error),
        });
        over.store(true, Ordering::Relaxed);
        taken
    });
    taken.unwrap();
    assert_eq!(vm.power_state(), PowerState::Running);
    goes_on(&mut console);
    sound(&repository);
}
