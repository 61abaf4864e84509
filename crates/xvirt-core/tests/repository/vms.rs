//! VMs: staging, committing, finding, removing.

use std::fs;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, VmConfig};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::repository::Repository;

use crate::mount::Mount;
use crate::support::*;

#[test]
fn a_vm_is_there_when_it_was_committed_and_not_before() {
    let (_folder, repository) = repository();
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Qcow2);
    disk::create(&path, ImageFormat::Qcow2, MIB).unwrap();
    write(&path, ImageFormat::Qcow2, 4096, b"hello");
    stage.attach("ova.xml", b"<xml/>").unwrap();
    assert_eq!(stage.attach("ova.xml", b"").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(stage.attach("../x", b"").unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert_eq!(repository.vms().unwrap().len(), 0);

    let config = config("web", &path, ImageFormat::Qcow2);
    let vm = stage.commit(config.clone()).unwrap();
    assert_eq!((vm.name(), vm.uuid(), vm.layer()), ("web", config.uuid, None));
    let again = Repository::open(repository.folder()).unwrap();
    for found in [again.vm("web").unwrap(), again.vm(&config.uuid.to_string()).unwrap()] {
        assert_eq!(found.uuid(), config.uuid);
        assert_eq!(found.config().nics[0].mac, vm.config().nics[0].mac);
        assert!(found.config().nics[0].mac.is_some());
        assert_eq!(read_vm(&found, 4096, 5), b"hello");
        assert_eq!(image(&found.config(), 0).0, found.folder().join("disk-0.qcow2"));
        assert_eq!(found.attachment("ova.xml").unwrap().unwrap(), b"<xml/>");
        assert_eq!(found.attachment("other").unwrap(), None);
    }
    assert_eq!(names(&repository, "staging").len(), 0);
    sound(&repository);
}

#[test]
fn what_is_not_committed_is_gone() {
    let (_folder, repository) = repository();
    let stage = repository.stage().unwrap();
    disk::create(stage.disk_path(0, ImageFormat::Raw), ImageFormat::Raw, MIB).unwrap();
    // Another process that opens the repository must see that the process which staged it is alive.
    Repository::open(repository.folder()).unwrap();
    assert!(stage.disk_path(0, ImageFormat::Raw).exists());
    drop(stage);
    assert_eq!(names(&repository, "staging").len(), 0);
}

#[test]
fn bad_commits_leave_nothing() {
    let (_folder, repository) = repository();
    let outside = other_file_system();
    let commit = |format: ImageFormat, prepare: &dyn Fn(&std::path::Path)| {
        let mut stage = repository.stage().unwrap();
        let path = stage.disk_path(0, format);
        prepare(&path);
        stage.commit(config("bad", &path, format)).unwrap_err()
    };
    assert_eq!(commit(ImageFormat::Raw, &|_| {}).kind(), ErrorKind::NotFound);
    assert_eq!(commit(ImageFormat::Qcow2, &|path| fs::write(path, b"junk").unwrap()).kind(), ErrorKind::CorruptImage);

    // An untrusted image must not reveal a file of the host.
    let secret = outside.path().join("secret");
    fs::write(&secret, [7; 4096]).unwrap();
    let error = commit(ImageFormat::Qcow2, &|path| {
        disk::overlay(&secret, Some(ImageFormat::Raw), path).unwrap();
    });
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains(&format!("is based on {}", secret.display())), "{error}");

    let in_memory = VmConfig::new("m").boot(Boot::kernel(vec![1, 2, 3]));
    let error = repository.stage().unwrap().commit(in_memory).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.remedy().unwrap().contains("by path"), "{error}");
    for room in ["vms", "staging", "trash"] {
        assert_eq!(names(&repository, room).len(), 0, "{room}");
    }
}

#[test]
fn a_commit_that_failed_can_be_tried_again() {
    let (_folder, repository) = repository();
    let other = vm(&repository, "other", ImageFormat::Raw, MIB, b"x");
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    write(&path, ImageFormat::Raw, 0, b"hello");
    stage.attach("ova.xml", b"<xml/>").unwrap();
    let config = config("a", &path, ImageFormat::Raw);

    let writer = disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    assert_eq!(stage.commit(config.clone()).unwrap_err().kind(), ErrorKind::Busy);
    drop(writer);
    let in_memory = config.clone().boot(Boot::kernel(vec![1]));
    assert_eq!(stage.commit(in_memory).unwrap_err().kind(), ErrorKind::InvalidConfig);
    let same = config.clone().uuid(other.uuid());
    assert_eq!(stage.commit(same).unwrap_err().kind(), ErrorKind::AlreadyExists);
    // A process that opens the repository does not take it for a leftover either.
    Repository::open(repository.folder()).unwrap();

    let vm = stage.commit(config.clone()).unwrap();
    assert_eq!((vm.uuid(), read_vm(&vm, 0, 5)), (config.uuid, b"hello".to_vec()));
    assert_eq!(vm.attachment("ova.xml").unwrap().unwrap(), b"<xml/>");
    assert_eq!(stage.commit(config.clone()).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(stage.attach("more", b"").unwrap_err().kind(), ErrorKind::InvalidState);
    drop(stage);
    assert_eq!(repository.vm("a").unwrap().uuid(), config.uuid);
    assert_eq!(repository.vms().unwrap().len(), 2);
    sound(&repository);
}

#[test]
fn a_full_file_system_fails_what_it_must_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a_full_file_system_fails_what_it_must_and_loses_nothing";
    let small = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
    let Some(mount) = Mount::new(name, &folder.path().join("small"), &small) else { return };
    let repository = Repository::open(mount.0.join("repository")).unwrap();
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Qcow2);
    disk::create(&path, ImageFormat::Qcow2, MIB).unwrap();
    write(&path, ImageFormat::Qcow2, 0, b"hello");
    let config = config("a", &path, ImageFormat::Qcow2);
    let no_space = |error: xvirt_core::Error| {
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(error.remedy(), Some("make room on the file system"));
    };

    let filler = mount.fill();
    no_space(stage.attach("ova.xml", b"<xml/>").unwrap_err());
    no_space(stage.commit(config.clone()).unwrap_err());
    fs::remove_file(filler).unwrap();
    stage.attach("ova.xml", b"<xml/>").unwrap();
    let vm = stage.commit(config).unwrap();
    assert_eq!(read_vm(&vm, 0, 5), b"hello");

    let filler = mount.fill();
    no_space(repository.seal("t", &vm, &()).unwrap_err());
    assert_eq!(read_vm(&vm, 0, 5), b"hello");
    fs::remove_file(filler).unwrap();
    let template = repository.seal("t", &vm, &()).unwrap();
    let filler = mount.fill();
    no_space(repository.instantiate(&template, "b").unwrap_err());
    no_space(repository.flatten(&repository.vm("a").unwrap(), &()).unwrap_err());
    fs::remove_file(filler).unwrap();
    let instance = repository.instantiate(&template, "b").unwrap();
    let flat = repository.flatten(&repository.vm("a").unwrap(), &()).unwrap();
    assert_eq!((read_vm(&instance, 0, 5), read_vm(&flat, 0, 5)), (b"hello".to_vec(), b"hello".to_vec()));
    assert_eq!(names(&repository, "staging").len(), 0);
    sound(&repository);
}

#[test]
fn disks_outside_stay_where_they_are() {
    let (folder, repository) = repository();
    let path = folder.path().join("outside.raw");
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    let vm = repository.stage().unwrap().commit(config("a", &path, ImageFormat::Raw)).unwrap();
    assert_eq!(image(&vm.config(), 0), (path.clone(), ImageFormat::Raw));
    repository.remove_vm(vm.uuid()).unwrap();
    assert!(path.exists());
}

#[test]
fn names_may_be_shared_and_uuids_not() {
    let (_folder, repository) = repository();
    let one = vm(&repository, "twin", ImageFormat::Raw, MIB, b"1");
    let two = vm(&repository, "twin", ImageFormat::Raw, MIB, b"2");
    let error = repository.vm("twin").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains(&two.uuid().to_string()), "{error}");
    let same = VmConfig::new("x").boot(Boot::kernel("/k")).uuid(one.uuid());
    let error = repository.stage().unwrap().commit(same).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(repository.vm("none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(repository.vms().unwrap().len(), 2);
}

#[test]
fn a_vm_in_use_is_not_removed() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"x");
    let (path, format) = image(&vm.config(), 0);
    let reader = disk::open(&path, Some(format), Access::ReadOnly).unwrap();
    assert_eq!(repository.remove_vm(vm.uuid()).unwrap_err().kind(), ErrorKind::Busy);
    drop(reader);
    repository.remove_vm(vm.uuid()).unwrap();
    assert_eq!(repository.remove_vm(vm.uuid()).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path.exists());
    assert_eq!(names(&repository, "trash").len(), 0);
}

#[test]
fn only_an_empty_folder_becomes_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter"), "dear").unwrap();
    let error = Repository::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = Repository::open(folder.path().join("letter")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

#[test]
fn a_repository_can_be_moved() {
    let (folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"moved");
    let template = repository.seal("t", &vm, &()).unwrap();
    repository.instantiate(&template, "b").unwrap();
    let new = folder.path().join("elsewhere");
    fs::rename(repository.folder(), &new).unwrap();
    let repository = Repository::open(&new).unwrap();
    for name in ["a", "b"] {
        assert_eq!(read_vm(&repository.vm(name).unwrap(), 0, 5), b"moved");
    }
    sound(&repository);
}
