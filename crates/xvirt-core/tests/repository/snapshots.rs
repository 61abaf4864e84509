//! Snapshots of VMs that are not running.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::progress::{Done, Progress};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::snapshot::{NewSnapshot, Snapshot};
use xvirt_core::template::Unused;

use crate::mount::Mount;
use crate::support::*;

const SIZE: u64 = 64 * MIB;

fn current(repository: &Repository, vm: &StoredVm) -> Option<String> {
    repository.current_snapshot(vm).unwrap().map(|snapshot| snapshot.name().to_owned())
}

fn take(repository: &Repository, vm: &StoredVm, name: &str) -> (Snapshot, StoredVm) {
    let snapshot = repository.snapshot(vm, name, &()).unwrap();
    (snapshot, repository.vm(&vm.uuid().to_string()).unwrap())
}

/// The bytes that all images of the repository use.
fn used(repository: &Repository) -> u64 {
    let mut used = 0;
    for room in ["vms", "snapshots", "layers"] {
        for id in names(repository, room) {
            let files = fs::read_dir(repository.folder().join(room).join(id)).unwrap();
            used += files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum::<u64>();
        }
    }
    used
}

#[test]
fn a_vm_goes_back_to_its_snapshots() {
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let (_folder, repository) = repository();
        let vm = vm(&repository, "a", format, SIZE, b"one");
        let (first, vm) = take(&repository, &vm, "first");
        assert_eq!((first.name(), first.vm(), first.has_memory(), first.parent()), ("first", vm.uuid(), false, None));
        assert_eq!(current(&repository, &vm).unwrap(), "first");
        write_vm(&vm, 0, b"two");
        let (second, vm) = take(&repository, &vm, "second");
        assert_eq!(second.parent(), Some(first.uuid()));
        write_vm(&vm, 0, b"333");
        sound(&repository);

        let generation = vm.config().generation_id;
        let vm = repository.revert(&first).unwrap();
        assert_eq!((read_vm(&vm, 0, 3), current(&repository, &vm).unwrap()), (b"one".to_vec(), "first".to_owned()));
        assert_ne!(vm.config().generation_id, generation);
        write_vm(&vm, 0, b"444");
        let vm = repository.revert(&second).unwrap();
        assert_eq!((read_vm(&vm, 0, 3), current(&repository, &vm).unwrap()), (b"two".to_vec(), "second".to_owned()));
        let vm = repository.revert(&first).unwrap();
        assert_eq!(read_vm(&vm, 0, 3), b"one");
        sound(&repository);
    }
}

#[test]
fn a_revert_restores_the_configuration_but_not_the_name() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"one");
    let (snapshot, vm) = take(&repository, &vm, "s");
    let data = vm.new_disk_path(ImageFormat::Raw);
    disk::create(&data, ImageFormat::Raw, MIB).unwrap();
    let change = |config: &mut VmConfig| {
        config.name = "b".to_owned();
        config.cpus.count = 3;
        config.disks.push(Disk::raw(&data));
        Ok(())
    };
    let vm = repository.update(vm.uuid(), change).unwrap();
    assert_eq!(vm.config().disks.len(), 2);
    let vm = repository.revert(&snapshot).unwrap();
    assert_eq!((vm.name(), vm.config().cpus.count, vm.config().disks.len()), ("b", 1, 1));
    assert!(!data.exists());
    sound(&repository);
}

#[test]
fn a_disk_that_was_damaged_or_lost_is_restored_by_a_revert() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"one");
    let (snapshot, vm) = take(&repository, &vm, "s");
    fs::remove_file(image(&vm.config(), 0).0).unwrap();
    assert_eq!(read_vm(&repository.revert(&snapshot).unwrap(), 0, 3), b"one");
    sound(&repository);
}

#[test]
fn clones_and_copies_of_a_snapshot_are_new_vms() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"one");
    let (snapshot, vm) = take(&repository, &vm, "s");
    write_vm(&vm, 0, b"two");
    let clone = repository.clone_vm(&snapshot, "clone", &()).unwrap();
    let copy = repository.copy_vm(&snapshot, "copy", &()).unwrap();
    for new in [&clone, &copy] {
        assert_eq!(read_vm(new, 0, 3), b"one");
        assert!(new.uuid() != vm.uuid() && new.config().nics[0].mac != vm.config().nics[0].mac);
        write_vm(new, 0, b"new");
    }
    assert_eq!(read_vm(&repository.clone_vm(&clone, "second", &()).unwrap(), 0, 3), b"new");
    sound(&repository);
    repository.remove_vm(vm.uuid()).unwrap();
    repository.remove_snapshot(&snapshot).unwrap();
    assert_eq!((read_vm(&clone, 0, 3), read_vm(&copy, 0, 3)), (b"new".to_vec(), b"new".to_vec()));
    sound(&repository);
}

#[test]
fn snapshots_are_removed_in_any_order() {
    let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]];
    for (order, merge) in orders.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let (_folder, repository) = repository();
        let mut vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"zero");
        let mut snapshots = Vec::new();
        for (number, text) in [b"one ", b"two ", b"thre"].into_iter().enumerate() {
            let (snapshot, changed) = take(&repository, &vm, &format!("s{number}"));
            snapshots.push(snapshot);
            vm = changed;
            write_vm(&vm, number as u64 * 4 * MIB, text);
        }
        let contents = |vm: &StoredVm| [0, 4, 8].map(|at| read_vm(vm, at * MIB, 4));
        let expected = [b"one ", b"two ", b"thre"].map(|text| text.to_vec());
        for removed in order {
            repository.remove_snapshot(&snapshots[removed]).unwrap();
            if merge {
                repository.merge_removed(&()).unwrap();
            }
            sound(&repository);
            assert_eq!(contents(&vm), expected, "{order:?} {removed}");
            let left = repository.snapshots(vm.uuid()).unwrap();
            for snapshot in &left {
                let parent = snapshot.parent();
                assert!(parent.is_none_or(|id| left.iter().any(|other| other.uuid() == id)), "{order:?} {removed}");
                let clone = repository.clone_vm(snapshot, "clone", &()).unwrap();
                let number = snapshots.iter().position(|other| other.uuid() == snapshot.uuid()).unwrap();
                let was = [expected[0].clone(), expected[1].clone(), vec![0; 4]];
                let beginning = if number == 0 { b"zero".to_vec() } else { was[0].clone() };
                assert_eq!(read_vm(&clone, 0, 4), beginning);
                assert_eq!(read_vm(&clone, 4 * MIB, 4), if number < 2 { vec![0; 4] } else { was[1].clone() });
                repository.remove_vm(clone.uuid()).unwrap();
            }
        }
        assert_eq!(repository.snapshots(vm.uuid()).unwrap().len(), 0);
        assert_eq!(current(&repository, &vm), None);
        // Only the oldest image is left, on which the VM is based, if the file system has no reflinks.
        let backing = disk::inspect(image(&vm.config(), 0).0, None).unwrap().backing.len();
        assert!(backing <= if merge { 1 } else { 3 }, "{order:?} {backing}");
        assert_eq!(names(&repository, "snapshots").is_empty(), backing == 0);
        let flat = repository.flatten(&vm, &()).unwrap();
        assert_eq!(contents(&flat), expected);
        repository.remove_vm(flat.uuid()).unwrap();
        assert_eq!(names(&repository, "snapshots"), [""; 0]);
    }
}

#[test]
fn a_merge_keeps_zeroes_that_hide_data() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"");
    write_vm(&vm, 0, &vec![1; 4 << 20]);
    let (_base, vm) = take(&repository, &vm, "base");
    write_vm(&vm, MIB, &vec![2; 1 << 20]);
    let (middle, vm) = take(&repository, &vm, "middle");
    let (path, format) = image(&vm.config(), 0);
    let open = disk::open(&path, Some(format), Access::ReadWrite).unwrap();
    open.discard(0, MIB / 2).unwrap();
    open.write_zeroes(2 * MIB, MIB, false).unwrap();
    open.grow(SIZE + 8 * MIB).unwrap();
    drop(open);
    write_vm(&vm, SIZE + MIB, b"grown");
    let before = read_vm(&vm, 0, (SIZE + 8 * MIB) as usize);
    assert_eq!((before[0], before[MIB as usize], before[2 * MIB as usize], before[3 * MIB as usize]), (0, 2, 0, 1));

    repository.remove_snapshot(&middle).unwrap();
    let room = used(&repository);
    assert_eq!(repository.merge_removed(&()).unwrap(), 1);
    assert!(used(&repository) < room);
    assert!(before == read_vm(&vm, 0, (SIZE + 8 * MIB) as usize), "the contents of the disk have changed");
    assert_eq!(disk::inspect(&path, None).unwrap().backing.len(), 1);
    assert_eq!(repository.merge_removed(&()).unwrap(), 0);
    sound(&repository);
}

#[test]
fn an_image_in_use_is_not_replaced_by_a_merge() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"one");
    let (_base, vm) = take(&repository, &vm, "base");
    write_vm(&vm, 0, b"two");
    let (middle, vm) = take(&repository, &vm, "middle");
    let (path, format) = image(&vm.config(), 0);
    let open = disk::open(&path, Some(format), Access::ReadWrite).unwrap();
    repository.remove_snapshot(&middle).unwrap();
    assert_eq!(repository.merge_removed(&()).unwrap(), 0);
    drop(open);
    assert_eq!(repository.merge_removed(&()).unwrap(), 1);
    assert_eq!(read_vm(&vm, 0, 3), b"two");
    sound(&repository);
}

/// Does something at the first report of an operation.
struct Meanwhile<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Progress for Meanwhile<F> {
    fn report(&self, _: Done) {
        let work = self.0.lock().unwrap().take();
        work.into_iter().for_each(|work| work());
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn two_merges_at_once_lose_nothing() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let mut vm = vm(&repository, "a", ImageFormat::Raw, SIZE, b"0");
    let mut snapshots = Vec::new();
    for (number, text) in [b"1", b"2", b"3", b"4"].into_iter().enumerate() {
        let (snapshot, changed) = take(&repository, &vm, text.escape_ascii().to_string().as_str());
        snapshots.push(snapshot);
        vm = changed;
        write_vm(&vm, (number as u64 + 1) * MIB, text);
    }
    repository.remove_snapshot(&snapshots[3]).unwrap();
    // While the VM's disk is merged with the image below it, that is merged with the one below itself.
    let meanwhile = || {
        repository.remove_snapshot(&snapshots[2]).unwrap();
        assert_eq!(repository.merge_removed(&()).unwrap(), 1);
    };
    assert_eq!(repository.merge_removed(&Meanwhile(Mutex::new(Some(meanwhile)))).unwrap(), 1);
    sound(&repository);
    let contents: Vec<_> = (0..5).flat_map(|number| read_vm(&vm, number * MIB, 1)).collect();
    assert_eq!(contents.escape_ascii().to_string(), "01234");
    assert_eq!(disk::inspect(image(&vm.config(), 0).0, None).unwrap().backing.len(), 2);
}

#[test]
fn instances_of_templates_have_snapshots_too() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let golden = vm(&repository, "golden", ImageFormat::Qcow2, SIZE, b"base");
    let template = repository.seal("t", &golden, &()).unwrap();
    repository.remove_vm(golden.uuid()).unwrap();
    let vm = repository.instantiate(&template, "a").unwrap();
    write_vm(&vm, 0, b"mine");
    let (snapshot, vm) = take(&repository, &vm, "s");
    write_vm(&vm, 0, b"more");
    assert_eq!(repository.rebase(&vm, &template, &()).unwrap_err().kind(), ErrorKind::InvalidConfig);

    // A template that is made of it depends on no snapshot.
    let second = repository.seal("u", &vm, &()).unwrap();
    assert_eq!(second.parent(), None);
    repository.remove_vm(vm.uuid()).unwrap();
    let error = repository.remove_template(&template).unwrap_err();
    assert!(error.to_string().contains("snapshot 's'"), "{error}");
    assert_eq!(repository.collect(Unused::Superseded).unwrap().len(), 0);
    sound(&repository);

    let revived = repository.clone_vm(&snapshot, "revived", &()).unwrap();
    assert_eq!((read_vm(&revived, 0, 4), revived.layer()), (b"mine".to_vec(), Some(&template.lineage())));
    repository.remove_snapshot(&snapshot).unwrap();
    sound(&repository);
    repository.remove_vm(revived.uuid()).unwrap();
    repository.remove_template(&template).unwrap();
    assert_eq!(read_vm(&repository.instantiate(&second, "b").unwrap(), 0, 4), b"more");
    assert_eq!(names(&repository, "snapshots"), [""; 0]);
}

/// A VM whose disk is based on the images of this many snapshots, all of which were removed.
fn above_removed(repository: &Repository, count: usize) -> StoredVm {
    let mut vm = vm(repository, "a", ImageFormat::Raw, MIB, b"one");
    for number in 0..count {
        vm = take(repository, &vm, &format!("{number}")).1;
    }
    for snapshot in repository.snapshots(vm.uuid()).unwrap() {
        repository.remove_snapshot(&snapshot).unwrap();
    }
    repository.vm(&vm.uuid().to_string()).unwrap()
}

#[test]
fn a_vm_is_made_independent_of_removed_snapshots() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = above_removed(&repository, 2);
    let flat = repository.flatten(&vm, &()).unwrap();
    assert_eq!(disk::inspect(image(&flat.config(), 0).0, None).unwrap().backing, []);
    assert_eq!(read_vm(&flat, 0, 3), b"one");
    assert_eq!(names(&repository, "snapshots"), [""; 0], "what it no longer needs stays");
    // There is nothing to do then, not even to read it.
    repository.flatten(&flat, &Cancelled).unwrap();
    sound(&repository);
}

#[test]
fn a_template_of_a_vm_keeps_the_images_of_removed_snapshots() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = above_removed(&repository, 2);
    let template = repository.seal("t", &vm, &()).unwrap();
    repository.remove_vm(vm.uuid()).unwrap();
    sound(&repository);
    let instance = repository.instantiate(&template, "b").unwrap();
    assert_eq!(read_vm(&instance, 0, 3), b"one");
    sound(&repository);
    let flat = repository.flatten(&instance, &()).unwrap();
    repository.remove_template(&template).unwrap();
    assert_eq!((read_vm(&flat, 0, 3), names(&repository, "snapshots")), (b"one".to_vec(), Vec::new()));
    sound(&repository);
}

#[test]
fn templates_count_the_images_of_removed_snapshots_too() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = above_removed(&repository, 46);
    for name in ["one", "two"] {
        let template = repository.seal(name, &vm, &()).unwrap();
        assert_eq!(read_vm(&repository.instantiate(&template, name).unwrap(), 0, 3), b"one");
    }
    let error = repository.seal("three", &vm, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    assert!(error.to_string().contains("flatten"), "{error}");
    let flat = repository.flatten(&vm, &()).unwrap();
    repository.seal("three", &flat, &()).unwrap();
    sound(&repository);
}

#[test]
fn what_a_snapshot_cannot_keep_is_refused() {
    let (folder, repository) = repository();
    let outside = folder.path().join("outside.raw");
    disk::create(&outside, ImageFormat::Raw, MIB).unwrap();
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    let vm = stage.commit(VmConfig::new("a").disk(Disk::raw(path)).disk(Disk::raw(&outside))).unwrap();
    let error = repository.snapshot(&vm, "s", &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("outside.raw is elsewhere"), "{error}");

    let vm = repository.update(vm.uuid(), |config| {
        config.disks[1].read_only = true;
        Ok(())
    });
    let vm = vm.unwrap();
    let (path, format) = image(&vm.config(), 0);
    let open = disk::open(&path, Some(format), Access::ReadWrite).unwrap();
    assert_eq!(repository.snapshot(&vm, "s", &()).unwrap_err().kind(), ErrorKind::Busy);
    drop(open);
    assert_eq!(repository.snapshot(&vm, "a\nb", &()).unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert_eq!(repository.snapshots(vm.uuid()).unwrap().len(), 0);
    assert_eq!(names(&repository, "staging"), [""; 0]);

    let described = NewSnapshot::new("s").description("before the upgrade");
    let snapshot = repository.snapshot(&vm, described, &()).unwrap();
    assert_eq!(snapshot.description(), "before the upgrade");
    assert_eq!(image(&snapshot.config(), 1).0, outside);
    repository.remove_snapshot(&snapshot).unwrap();
    assert_eq!(repository.remove_snapshot(&snapshot).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(repository.revert(&snapshot).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(repository.clone_vm(&snapshot, "b", &()).unwrap_err().kind(), ErrorKind::NotFound);
    sound(&repository);
}

#[test]
fn a_chain_has_a_limit() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let mut vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"one");
    for number in 0..48 {
        vm = take(&repository, &vm, &format!("{number}")).1;
    }
    let error = repository.snapshot(&vm, "s", &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    for snapshot in repository.snapshots(vm.uuid()).unwrap() {
        repository.remove_snapshot(&snapshot).unwrap();
    }
    assert_eq!(repository.merge_removed(&()).unwrap(), 47);
    assert_eq!(read_vm(&take(&repository, &vm, "s").1, 0, 3), b"one");
    sound(&repository);
}

#[test]
fn damage_of_snapshots_is_found() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("r")).unwrap();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"one");
    let (snapshot, _vm) = take(&repository, &vm, "s");
    sound(&repository);
    let place = repository.folder().join("snapshots").join(snapshot.uuid().to_string());
    let problems =
        || repository.check(&()).unwrap().problems.iter().map(|found| found.what.clone()).collect::<Vec<_>>();
    let record = place.join("snapshot.json");
    let text = fs::read_to_string(&record).unwrap();

    fs::write(&record, text.replace("\"memory\": false", "\"memory\": true")).unwrap();
    assert!(problems().iter().any(|what| what.contains("has no usable saved state")), "{:?}", problems());
    fs::write(&record, text.replace("\"parent\": null", &format!("\"parent\": \"{}\"", snapshot.uuid()))).unwrap();
    assert!(problems().iter().any(|what| what.contains("it is based on itself")), "{:?}", problems());
    assert!(repository.remove_snapshot(&snapshot).is_err());
    fs::write(&record, "{").unwrap();
    assert!(problems().iter().any(|what| what.contains("snapshot.json is damaged")), "{:?}", problems());
    // What needs the damaged record is refused, and everything else works.
    assert_eq!(repository.snapshots(vm.uuid()).unwrap().len(), 0);
    assert_eq!(repository.revert(&snapshot).unwrap_err().kind(), ErrorKind::CorruptRepository);
    fs::write(&record, text).unwrap();
    sound(&repository);
    let image = image(&snapshot.config(), 0).0;
    fs::remove_file(image).unwrap();
    assert!(!problems().is_empty());
}

#[test]
fn saved_states_that_a_killed_process_left_are_removed() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"one");
    let (snapshot, vm) = take(&repository, &vm, "s");
    // The VM was resumed, or the snapshot removed, and the process died before it deleted the file.
    let place = repository.folder().join("snapshots").join(snapshot.uuid().to_string());
    let left = [vm.folder(), place.clone()].map(|folder| folder.join("saved-state"));
    left.iter().for_each(|path| fs::write(path, "memory").unwrap());
    Repository::open(repository.folder()).unwrap();
    assert_eq!(left.each_ref().map(|path| path.exists()), [false, true]);
    let record = place.join("snapshot.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"removed\": false", "\"removed\": true")).unwrap();
    Repository::open(repository.folder()).unwrap();
    assert!(!left[1].exists());
    sound(&repository);
}

#[test]
fn the_memory_of_a_removed_checkpoint_is_deleted_although_nothing_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let name = "the_memory_of_a_removed_checkpoint_is_deleted_although_nothing_can_be_written";
    let small = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
    let Some(mount) = Mount::new(name, &folder.path().join("small"), &small) else { return };
    let repository = Repository::open(mount.0.join("repository")).unwrap();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"one");
    let (snapshot, vm) = take(&repository, &vm, "s");
    // As a checkpoint that fails for lack of room leaves it.
    let place = repository.folder().join("snapshots").join(snapshot.uuid().to_string());
    let (record, memory) = (place.join("snapshot.json"), place.join("saved-state"));
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"removed\": false", "\"removed\": true")).unwrap();
    fs::write(&memory, vec![1; 1 << 20]).unwrap();
    let filler = mount.fill();
    assert_eq!(repository.merge_removed(&()).unwrap(), 0);
    assert!(!memory.exists());
    assert_eq!(names(&repository, "trash"), [""; 0]);
    fs::remove_file(filler).unwrap();
    assert_eq!(read_vm(&vm, 0, 3), b"one");
    repository.merge_removed(&()).unwrap();
    assert_eq!(current(&repository, &vm), None);
    sound(&repository);
}
