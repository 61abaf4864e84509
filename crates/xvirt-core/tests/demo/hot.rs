//! VMs that run before their memory is read: lazy resumes, instances of templates with memory, and forks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xvirt_core::ErrorKind;
use xvirt_core::config::Nic;
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Unused;
use xvirt_core::vm::{MemoryLoaded, MemoryLoading, Resume, SuspendedVm};

use crate::hub::Hub;
use crate::workload::{self, Progress, Workload};
use crate::{host, mappable_folder};

fn lazily() -> Resume {
    Resume::default().memory(MemoryLoading::Lazy)
}

fn started(stored: &StoredVm, host: &Host) -> Workload {
    let mut guest = Workload::new(stored.build(host).unwrap());
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

/// A VM in `folder` whose guest answers on a network, and checks its memory and its disks.
pub fn networked(host: &Host, folder: &Path) -> (Hub, Repository, Workload) {
    let socket = folder.join("hub");
    let hub = Hub::new(&socket);
    let (repository, stored) = workload::create(folder, Some(Nic::stream(&socket)));
    let guest = started(&stored, host);
    (hub, repository, guest)
}

pub fn sound(repository: &Repository) {
    assert_eq!(repository.check(&()).unwrap().problems, []);
}

/// A copy that goes on where its original was when it had made `progress` at the least.
pub fn resumed(copy: &StoredVm, progress: Progress, host: &Host) -> Workload {
    let guest = Workload::taken_back(copy.build(host).unwrap(), progress);
    let report = guest.vm.resume(&()).unwrap();
    assert_eq!(report.loaded, MemoryLoaded::Mapped);
    guest
}

pub fn mac(stored: &StoredVm) -> [u8; 6] {
    stored.config().nics[0].mac.unwrap().octets()
}

#[test]
fn a_guest_runs_before_its_memory_is_read() {
    let host = host!();
    let folder = mappable_folder!();
    let (repository, stored) = workload::create(folder.path(), None);
    let mut guest = started(&stored, &host);
    for (how, loaded, resident) in [
        (Resume::default(), MemoryLoaded::Read, true),
        (lazily(), MemoryLoaded::Mapped, false),
        (lazily().prefault(true), MemoryLoaded::Mapped, true),
    ] {
        let path = folder.path().join("saved");
        guest.vm.suspend(&path, &()).unwrap();
        assert_eq!(guest.vm.resume_times(), None);
        guest = guest.moved_to(SuspendedVm::open(&path).unwrap().build(&host).unwrap());
        let report = guest.vm.resume_with(how, &()).unwrap();
        assert_eq!((report.loaded, path.exists()), (loaded, false));
        guest.goes_on();
        // Loading in the background is a matter of time.
        while resident && guest.vm.resume_times().unwrap().resident.is_none() {
            guest.goes_on();
        }
        let times = guest.vm.resume_times().unwrap();
        assert_eq!(times.resident.is_some(), resident, "{times:?}");
        assert!(times.running <= report.total, "{times:?} {report:?}");
    }
    // The same in a repository, with the disks.
    repository.suspend(&guest.vm, &()).unwrap();
    let vm = repository.vm(&stored.uuid().to_string()).unwrap().build(&host).unwrap();
    let mut guest = guest.moved_to(vm);
    guest.vm.resume_with(lazily(), &()).unwrap();
    guest.goes_on();
    sound(&repository);
}

#[test]
fn instances_of_a_booted_vm_go_on_at_once_each_with_its_own_identity() {
    let host = host!();
    let folder = mappable_folder!();
    let (hub, repository, mut guest) = networked(&host, folder.path());
    let original = repository.vm(&guest.vm.uuid().to_string()).unwrap();
    hub.expect(&[mac(&original)]);
    let progress = guest.progress;
    let template = repository.seal_hot("booted", &guest.vm, &()).unwrap();
    assert!(template.has_memory());
    assert_eq!(repository.all_snapshots().unwrap().len(), 0, "the step between is left");
    guest.goes_on();
    sound(&repository);

    let copies: Vec<_> = (0..3).map(|n| repository.instantiate(&template, format!("copy-{n}")).unwrap()).collect();
    assert!(copies.iter().all(StoredVm::is_suspended));
    let mut guests: Vec<_> = copies.iter().map(|copy| resumed(copy, progress, &host)).collect();
    guests.iter_mut().for_each(Workload::goes_on);
    guest.goes_on();
    // Each card has its own address, and nothing comes from that of the sealed VM but by itself.
    let addresses: Vec<_> = copies.iter().map(mac).collect();
    hub.expect(&addresses);
    guest.vm.hard_shutdown().unwrap();
    hub.clear();
    assert_eq!(hub.expect(&addresses).into_iter().collect::<BTreeSet<_>>(), addresses.iter().copied().collect());
    let all = || copies.iter().map(StoredVm::config).chain([original.config()]);
    assert_eq!(all().map(|config| config.uuid).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(all().map(|config| config.generation_id).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 3);

    // It is used as any other VM.
    let mut last = guests.pop().unwrap();
    repository.checkpoint(&last.vm, "later", &()).unwrap();
    last.goes_on();
    repository.suspend(&last.vm, &()).unwrap();
    let again = repository.vm(&last.vm.uuid().to_string()).unwrap().build(&host).unwrap();
    let mut last = last.moved_to(again);
    assert_eq!(last.vm.resume(&()).unwrap().loaded, MemoryLoaded::Read);
    last.goes_on();
    last.vm.hard_reboot().unwrap();
    last.goes_on();
    // And it can be sealed again.
    let progress = last.progress;
    let second = repository.seal_hot("booted", &last.vm, &()).unwrap();
    last.goes_on();
    let copy = repository.instantiate(&second, "of the second").unwrap();
    let mut of_second = resumed(&copy, progress, &host);
    of_second.goes_on();
    hub.expect(&[mac(&copy)]);
    sound(&repository);

    assert_eq!(repository.remove_template(&template).unwrap_err().kind(), ErrorKind::InUse);
    drop((guest, guests, last, of_second));
    for vm in repository.vms().unwrap() {
        for snapshot in repository.snapshots(vm.uuid()).unwrap() {
            repository.remove_snapshot(&snapshot).unwrap();
        }
        repository.remove_vm(vm.uuid()).unwrap();
    }
    repository.collect(Unused::All).unwrap();
    for room in ["vms", "layers", "snapshots", "staging", "trash"] {
        let left: Vec<_> = fs::read_dir(repository.folder().join(room)).unwrap().collect();
        assert!(left.is_empty(), "{room} has {left:?}");
    }
}

#[test]
fn forks_of_a_running_vm_go_on_beside_it() {
    let host = host!();
    let folder = mappable_folder!();
    let (hub, repository, mut guest) = networked(&host, folder.path());
    let progress = guest.progress;
    let forks = repository.fork(&guest.vm, 3, "fork", &()).unwrap();
    let names: Vec<_> = forks.iter().map(StoredVm::name).collect();
    assert_eq!(names, ["fork-1", "fork-2", "fork-3"]);
    guest.goes_on();
    let mut guests: Vec<_> = forks.iter().map(|fork| resumed(fork, progress, &host)).collect();
    guests.iter_mut().for_each(Workload::goes_on);
    guest.goes_on();
    hub.expect(&forks.iter().map(mac).collect::<Vec<_>>());
    sound(&repository);
    assert_eq!(repository.all_snapshots().unwrap().len(), 0);

    let before = repository.vms().unwrap().len();
    let error = repository.fork(&guest.vm, 2, "a\nname", &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_eq!(repository.vms().unwrap().len(), before);
    guest.goes_on();
    sound(&repository);
}
