//! A full file system: verbs that need room fail, and the VM runs on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use xvirt_core::host::Host;
use xvirt_core::repository::StoredVm;
use xvirt_core::vm::Vm;
use xvirt_core::{ErrorKind, Result};

use crate::host;
use crate::mount::Mount;
use crate::workload::{self, Workload};

/// How many bytes are left: nothing, too little for a record, a disk or memory.
const ROOM: [u64; 4] = [0, 4 << 10, 64 << 10, 2 << 20];

/// All files below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => all.extend(files(&entry)),
            false => drop(all.insert(entry.display().to_string())),
        }
    }
    all
}

/// Leaves `room` bytes while `work` runs.
fn with_room<T>(mount: &Mount, room: u64, work: impl FnOnce() -> T) -> T {
    let filler = mount.fill();
    let file = File::options().write(true).open(&filler).unwrap();
    file.set_len(file.metadata().unwrap().len().saturating_sub(room)).unwrap();
    let result = work();
    fs::remove_file(filler).unwrap();
    result
}

fn started(stored: &StoredVm, host: &Host) -> Workload {
    let mut guest = Workload::new(stored.build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

/// A verb that needs room.
type Work<'a> = &'a dyn Fn(&Vm) -> Result<()>;

#[test]
fn what_needs_room_on_a_full_file_system_fails_and_leaves_the_vm_running() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let name = "what_needs_room_on_a_full_file_system_fails_and_leaves_the_vm_running";
    let tmpfs = ["-t", "tmpfs", "-o", "size=48m", "tmpfs"];
    let Some(mount) = Mount::new(name, &folder.path().join("small"), &tmpfs) else { return };
    let (repository, stored) = workload::create(&mount.0, None);
    let mut guest = started(&stored, &host);
    // Something to merge, whose images no running VM has on top.
    let snapshots = ["a", "b", "c"].map(|name| {
        guest.goes_on();
        repository.snapshot(&guest.vm, name, &()).unwrap()
    });
    guest.goes_on();
    repository.remove_snapshot(&snapshots[1]).unwrap();

    let saved = mount.0.join("saved");
    for room in ROOM {
        let verbs: [(&str, Work<'_>); 5] = [
            ("suspend to a file", &|vm| vm.suspend(&saved, &()).map(drop)),
            ("suspend", &|vm| repository.suspend(vm, &()).map(drop)),
            ("checkpoint", &|vm| repository.checkpoint(vm, "s", &()).map(drop)),
            ("merge", &|_| repository.merge_removed(&()).map(drop)),
            ("snapshot", &|vm| repository.snapshot(vm, "s", &()).map(drop)),
        ];
        for (verb, work) in verbs {
            // The images of a snapshot and of a merge have room in the largest.
            if ["snapshot", "merge"].contains(&verb) && room > 64 << 10 {
                continue;
            }
            let before = files(&mount.0);
            let error = with_room(&mount, room, || {
                let result = work(&guest.vm);
                guest.goes_on();
                result.unwrap_err()
            });
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{verb} with {room} bytes: {error}");
            assert!(error.remedy().is_some(), "{verb}: {error}");
            assert_eq!(files(&mount.0), before, "{verb} with {room} bytes: {error}");
            assert_eq!(repository.check(&()).unwrap().problems, [], "{verb} with {room} bytes");
        }
    }
    assert_eq!(repository.merge_removed(&()).unwrap(), 2);
    guest.vm.hard_reboot().unwrap();
    guest.goes_on();
    drop(guest);
    let stored = repository.revert(&snapshots[2]).unwrap();
    started(&stored, &host);
}
