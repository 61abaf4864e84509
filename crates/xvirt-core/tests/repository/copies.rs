//! Clones and copies of VMs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use xvirt_core::ErrorKind;
use xvirt_core::config::{NicBackendConfig, VmConfig, Vsock};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::progress::Progress;
use xvirt_core::repository::{Repository, StoredVm};

use crate::support::*;

type Make = fn(&Repository, &StoredVm, &str, &dyn Progress) -> xvirt_core::Result<StoredVm>;

const VERBS: [Make; 2] = [
    |repository, vm, name, progress| repository.clone_vm(vm, name, progress),
    |repository, vm, name, progress| repository.copy_vm(vm, name, progress),
];

#[test]
fn copies_are_independent_and_have_an_identity_of_their_own() {
    for (verb, format) in VERBS.into_iter().flat_map(|verb| [(verb, ImageFormat::Raw), (verb, ImageFormat::Qcow2)]) {
        let (_folder, repository) = repository();
        let mut stage = repository.stage().unwrap();
        let path = stage.disk_path(0, format);
        disk::create(&path, format, 4 * MIB).unwrap();
        write(&path, format, 0, b"base");
        stage.attach("note", b"text").unwrap();
        let config = config("a", &path, format).label("role", "web").vsock(Vsock::new(3, "/run/a.vsock"));
        let vm = stage.commit(config).unwrap();

        let copy = verb(&repository, &vm, "b", &()).unwrap();
        assert_eq!((copy.name(), copy.layer()), ("b", None));
        let (old, new) = (vm.config(), copy.config());
        assert!(old.uuid != new.uuid && old.generation_id != new.generation_id);
        assert!(old.nics[0].mac != new.nics[0].mac && new.nics[0].mac.is_some());
        assert!(matches!(new.nics[0].backend, NicBackendConfig::NewTap));
        assert_ne!(old.vsock, new.vsock);
        assert_eq!((copy.labels(), copy.attachment("note").unwrap().unwrap()), (vm.labels(), b"text".to_vec()));

        write_vm(&vm, 0, b"old!");
        write_vm(&copy, MIB, b"new!");
        assert_eq!((read_vm(&copy, 0, 4), read_vm(&vm, MIB, 4)), (b"base".to_vec(), vec![0; 4]));
        repository.remove_vm(vm.uuid()).unwrap();
        assert_eq!((read_vm(&copy, 0, 4), read_vm(&copy, MIB, 4)), (b"base".to_vec(), b"new!".to_vec()));
        sound(&repository);
    }
}

#[test]
fn a_clone_shares_the_template_and_a_copy_does_not() {
    let (_folder, repository) = repository();
    let golden = vm(&repository, "golden", ImageFormat::Qcow2, 64 * MIB, b"base");
    write_vm(&golden, 8 * MIB, &vec![7; 16 << 20]);
    let template = repository.seal("t", &golden, &()).unwrap();
    let vm = repository.instantiate(&template, "a").unwrap();
    write_vm(&vm, MIB, b"data");

    let clone = repository.clone_vm(&vm, "clone", &()).unwrap();
    let copy = repository.copy_vm(&vm, "copy", &()).unwrap();
    assert_eq!((clone.layer(), copy.layer()), (Some(&template.lineage()), None));
    let below = |vm: &StoredVm| {
        let (path, format) = image(&vm.config(), 0);
        disk::inspect(path, Some(format)).unwrap().backing.len()
    };
    assert_eq!((below(&clone), below(&copy)), (below(&vm), 0));
    if below(&vm) > 0 {
        // Data of the template was not copied.
        assert!(fs::metadata(image(&clone.config(), 0).0).unwrap().blocks() * 512 < 4 * MIB);
    }
    write_vm(&vm, MIB, b"old!");
    for vm in [&clone, &copy] {
        assert_eq!((read_vm(vm, 0, 4), read_vm(vm, MIB, 4)), (b"base".to_vec(), b"data".to_vec()));
        assert_eq!(read_vm(vm, 23 * MIB, 4), [7; 4]);
    }
    repository.remove_vm(vm.uuid()).unwrap();
    repository.remove_vm(golden.uuid()).unwrap();
    let error = repository.remove_template(&template).unwrap_err();
    assert!(error.to_string().contains("VM 'clone'") && !error.to_string().contains("VM 'copy'"), "{error}");
    repository.remove_vm(clone.uuid()).unwrap();
    repository.remove_template(&template).unwrap();
    assert_eq!(read_vm(&copy, MIB, 4), b"data");
    sound(&repository);
}

#[test]
fn a_disk_outside_is_copied_into_the_repository() {
    for verb in VERBS {
        let (folder, repository) = repository();
        let path = folder.path().join("outside.raw");
        disk::create(&path, ImageFormat::Raw, MIB).unwrap();
        write(&path, ImageFormat::Raw, 0, b"mine");
        let vm = repository.stage().unwrap().commit(config("a", &path, ImageFormat::Raw)).unwrap();
        let copy = verb(&repository, &vm, "b", &()).unwrap();
        assert!(image(&copy.config(), 0).0.starts_with(copy.folder()));
        fs::remove_file(&path).unwrap();
        assert_eq!(read_vm(&copy, 0, 4), b"mine");
    }
}

#[test]
fn nothing_is_left_of_a_copy_that_fails() {
    for verb in VERBS {
        let (_folder, repository) = repository();
        let vm = vm(&repository, "a", ImageFormat::Qcow2, 4 * MIB, b"base");
        let running = disk::open(image(&vm.config(), 0).0, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap();
        assert_eq!(verb(&repository, &vm, "b", &()).unwrap_err().kind(), ErrorKind::Busy);
        drop(running);
        assert_eq!(verb(&repository, &vm, "two\nlines", &()).unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert_eq!(verb(&repository, &vm, "b", &Cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!((repository.vms().unwrap().len(), names(&repository, "staging").len()), (1, 0));
        repository.remove_vm(vm.uuid()).unwrap();
        assert_eq!(verb(&repository, &vm, "b", &()).unwrap_err().kind(), ErrorKind::NotFound);
        sound(&repository);
    }
}

#[test]
fn a_vm_without_disks_is_copied() {
    let (_folder, repository) = repository();
    let config = VmConfig::new("a").boot(xvirt_core::config::Boot::kernel("/k")).label("k", "v");
    let vm = repository.stage().unwrap().commit(config).unwrap();
    for verb in VERBS {
        assert_eq!(verb(&repository, &vm, "b", &()).unwrap().labels()["k"], "v");
    }
}
