//! The checkpoints that are a step to templates with memory and to forks.

use std::sync::atomic::{AtomicUsize, Ordering};

use xvirt_core::ErrorKind;
use xvirt_core::config::DiskSource;
use xvirt_core::disk::ImageFormat;
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::{Repository, StoredVm};

use crate::hot::{networked, resumed, sound};
use crate::{host, mappable_folder, workload};

/// Merges images when the second disk begins to be hashed, as another process may at any time.
struct Merging<'a> {
    repository: &'a Repository,
    disks: AtomicUsize,
    merged: AtomicUsize,
}

impl Progress for Merging<'_> {
    fn report(&self, done: Done) {
        assert_eq!(self.repository.all_snapshots().unwrap().len(), 1, "the step between is listed");
        if done == Done::new(0, Some(workload::DISK)) && self.disks.fetch_add(1, Ordering::Relaxed) == 1 {
            self.merged.store(self.repository.merge_removed(&()).unwrap(), Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn a_template_with_memory_needs_nothing_that_others_delete_meanwhile() {
    let host = host!();
    let folder = mappable_folder!();
    let (_hub, repository, mut guest) = networked(&host, folder.path());
    for name in ["kept", "removed"] {
        let snapshot = repository.snapshot(&guest.vm, name, &()).unwrap();
        if name == "removed" {
            repository.remove_snapshot(&snapshot).unwrap();
        }
        guest.goes_on();
    }
    let progress = guest.progress;
    // As long as the name of a template may be.
    let merging = Merging { repository: &repository, disks: AtomicUsize::new(0), merged: AtomicUsize::new(0) };
    let template = repository.seal_hot("t".repeat(200), &guest.vm, &merging).unwrap();
    // With reflinks, images are based on no others.
    let DiskSource::Image { format, .. } = template.config().disks[0].source else { panic!("no image") };
    assert!(format == ImageFormat::Raw || merging.merged.load(Ordering::Relaxed) > 0, "nothing was merged meanwhile");
    guest.goes_on();
    sound(&repository);
    let copy = repository.instantiate(&template, "copy").unwrap();
    resumed(&copy, progress, &host).goes_on();
    let forks = repository.fork(&guest.vm, 2, "f".repeat(198), &()).unwrap();
    sound(&repository);
    resumed(&forks[1], progress, &host).goes_on();
    guest.goes_on();
}

/// Cancels when there are so many VMs.
struct Enough<'a> {
    repository: &'a Repository,
    vms: usize,
}

impl Progress for Enough<'_> {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        self.repository.vms().unwrap().len() >= self.vms
    }
}

#[test]
fn a_fork_that_is_cancelled_leaves_no_vm() {
    let host = host!();
    let folder = mappable_folder!();
    let (_hub, repository, mut guest) = networked(&host, folder.path());
    let snapshot = repository.snapshot(&guest.vm, "before", &()).unwrap();
    let error = repository.fork(&guest.vm, 5, "fork", &Enough { repository: &repository, vms: 4 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let names = |vms: Vec<StoredVm>| vms.iter().map(|vm| vm.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(repository.vms().unwrap()), ["demo"]);
    assert_eq!(repository.all_snapshots().unwrap().len(), 1);
    for room in ["staging", "trash"] {
        let left: Vec<_> = repository.folder().join(room).read_dir().unwrap().collect();
        assert!(left.is_empty(), "{room} has {left:?}");
    }
    guest.goes_on();
    let forks = repository.fork(&guest.vm, 2, "fork", &()).unwrap();
    for fork in &forks {
        assert_eq!(repository.current_snapshot(fork).unwrap().map(|current| current.uuid()), Some(snapshot.uuid()));
    }
    let error = repository.fork(&guest.vm, 2, "a\nname", &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    guest.goes_on();
    sound(&repository);
}
