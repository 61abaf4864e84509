//! VMs whose disks are, or are based on, files that belong to another entry of the repository.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, BootFile, Nic, NicBackendConfig, VmConfig, Vsock};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Unused;

use crate::support::*;

/// An image outside the repository that is based on the first disk of a VM.
fn overlay(folder: &Path, vm: &StoredVm) -> PathBuf {
    let (below, format) = image(&vm.config(), 0);
    let path = folder.join("overlay.qcow2");
    disk::overlay(&below, Some(format), &path).unwrap();
    path
}

/// The configuration with another name and UUID.
fn changed(config: VmConfig) -> VmConfig {
    let mut config = config.uuid(Uuid::new_v4());
    config.name = "b".to_owned();
    config
}

/// Makes a VM use another disk, as an older version or a user may have done.
fn point_to(vm: &StoredVm, disk: &Path) {
    let record = vm.folder().join("vm.json");
    let text = fs::read_to_string(&record).unwrap();
    let name = image(&vm.config(), 0).0.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(text.contains(&name), "{text}");
    fs::write(record, text.replace(&format!("\"{name}\""), &format!("\"{}\"", disk.display()))).unwrap();
}

/// The findings of a check, as one text.
fn problems(repository: &Repository) -> String {
    let problems = repository.check(&()).unwrap().problems;
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
    problems.iter().map(|problem| format!("{}\n", problem.what)).collect()
}

#[test]
fn a_vm_of_the_disks_of_another_is_refused_with_a_way_out() {
    let (folder, repository) = repository();
    let outside = other_file_system();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"mine");
    let (disk, _) = image(&vm.config(), 0);
    let link = folder.path().join("link.raw");
    symlink(&disk, &link).unwrap();
    let strangers = repository.stage().unwrap();
    let being_made = strangers.disk_path(0, ImageFormat::Raw);
    disk::create(&being_made, ImageFormat::Raw, MIB).unwrap();
    let kernel = VmConfig::new("b").boot(Boot::kernel("/boot/vmlinuz").initrd(vm.folder().join("initrd")));
    for (config, why) in [
        (changed(vm.config()), "disk 0 is /"),
        (config("b", &link, ImageFormat::Raw), "which belongs to VM 'a' ("),
        (config("b", &overlay(outside.path(), &vm), ImageFormat::Qcow2), "based on "),
        (config("b", &being_made, ImageFormat::Raw), "which belongs to an object in preparation"),
        (kernel, "initrd is "),
    ] {
        let mut stage = repository.stage().unwrap();
        let error = stage.commit(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("the stage")), "{error}");
    }
    // A file that the VM's own stage holds under another name would not be found after the commit.
    let mut stage = repository.stage().unwrap();
    let odd = stage.disk_path(0, ImageFormat::Raw).with_file_name("root.raw");
    disk::create(&odd, ImageFormat::Raw, MIB).unwrap();
    let error = stage.commit(config("b", &odd, ImageFormat::Raw)).unwrap_err();
    assert!(error.to_string().contains("Stage::disk_path"), "{error}");
    let linked = stage.disk_path(0, ImageFormat::Raw);
    symlink(&disk, &linked).unwrap();
    let error = stage.commit(config("b", &linked, ImageFormat::Raw)).unwrap_err();
    assert!(error.to_string().contains("is not a plain file"), "{error}");
    assert_eq!(repository.vms().unwrap().len(), 1);

    // The remedy: a copy of the disk.
    let path = stage.disk_path(1, ImageFormat::Raw);
    fs::copy(&disk, &path).unwrap();
    let copy = stage.commit(config("b", &path, ImageFormat::Raw)).unwrap();
    repository.remove_vm(vm.uuid()).unwrap();
    assert_eq!(read_vm(&copy, 0, 4), b"mine");
    sound(&repository);
}

#[test]
fn a_vm_of_the_disks_of_a_template_is_refused_with_a_way_out() {
    let (_folder, repository) = repository();
    let outside = other_file_system();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"base");
    let template = repository.seal("t", &vm, &()).unwrap();
    let (below, format) = image(&template.config(), 0);
    let overlay = outside.path().join("overlay.qcow2");
    disk::overlay(&below, Some(format), &overlay).unwrap();
    for config in [changed(template.config()), config("b", &overlay, ImageFormat::Qcow2)] {
        let error = repository.stage().unwrap().commit(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains("which belongs to template 't:1'"), "{error}");
        assert!(error.remedy().unwrap().contains("Repository::instantiate"), "{error}");
    }
}

#[test]
fn what_others_use_is_neither_removed_nor_changed() {
    let outside = other_file_system();
    for based in [false, true] {
        let (_folder, repository) = repository();
        let a = vm(&repository, "a", ImageFormat::Raw, MIB, b"shared");
        let b = vm(&repository, "b", ImageFormat::Raw, MIB, b"b");
        let (disk, _) = image(&a.config(), 0);
        if based {
            let overlay = overlay(outside.path(), &a);
            point_to(&b, &overlay);
            let record = b.folder().join("vm.json");
            let text = fs::read_to_string(&record).unwrap().replace("\"raw\"", "\"qcow2\"");
            fs::write(record, text).unwrap();
        } else {
            point_to(&b, &disk);
        }
        let found = problems(&repository);
        assert!(found.contains("VM 'b'") && found.contains("belongs to VM 'a'"), "{found}");
        for error in [repository.remove_vm(a.uuid()).unwrap_err(), repository.seal("t", &a, &()).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
            assert!(error.to_string().contains(&format!("VM 'b' ({})", b.uuid())), "{error}");
            assert!(error.remedy().is_some());
        }
        assert_eq!(read(&disk, ImageFormat::Raw, 0, 6), b"shared");
        // An unreadable record does not block other operations.
        let c = vm(&repository, "c", ImageFormat::Raw, MIB, b"c");
        fs::write(c.folder().join("vm.json"), "{").unwrap();
        repository.remove_vm(b.uuid()).unwrap();
        repository.remove_vm(a.uuid()).unwrap();
        repository.remove_vm(c.uuid()).unwrap();
        sound(&repository);
        let _ = fs::remove_file(outside.path().join("overlay.qcow2"));
    }
}

#[test]
fn templates_that_others_use_without_being_instances_are_neither_removed_nor_collected() {
    let (_folder, repository) = repository();
    let root = vm(&repository, "root", ImageFormat::Raw, MIB, b"base");
    let template = repository.seal("t", &root, &()).unwrap();
    repository.flatten(&root, &()).unwrap();
    let b = vm(&repository, "b", ImageFormat::Raw, MIB, b"b");
    point_to(&b, &image(&template.config(), 0).0);
    let found = problems(&repository);
    assert!(found.contains("belongs to template 't:1'"), "{found}");
    let error = repository.remove_template(&template).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains("VM 'b'"), "{error}");
    assert_eq!(repository.collect(Unused::All).unwrap().len(), 0);
    repository.remove_vm(b.uuid()).unwrap();
    assert_eq!(repository.collect(Unused::All).unwrap().len(), 1);
}

#[test]
fn an_instance_whose_disk_was_rebased_onto_another_vm_keeps_that_one() {
    let (_folder, repository) = repository();
    let a = vm(&repository, "a", ImageFormat::Raw, MIB, b"shared");
    let b = vm(&repository, "b", ImageFormat::Qcow2, MIB, b"b");
    let (path, _) = image(&b.config(), 0);
    fs::remove_file(&path).unwrap();
    let outside = other_file_system();
    fs::rename(overlay(&b.folder(), &a), &path).unwrap();
    drop(outside);
    assert!(problems(&repository).contains("which does not belong to its template"));
    assert_eq!(repository.remove_vm(a.uuid()).unwrap_err().kind(), ErrorKind::InUse);
}

#[test]
fn what_is_missing_is_named() {
    let (folder, repository) = repository();
    let a = vm(&repository, "a", ImageFormat::Raw, MIB, b"a");
    let b = vm(&repository, "b", ImageFormat::Raw, MIB, b"b");
    point_to(&b, &image(&a.config(), 0).0);
    fs::remove_dir_all(a.folder()).unwrap();
    let found = problems(&repository);
    assert!(found.contains("VM 'b'") && found.contains(&a.uuid().to_string()) && found.contains("missing"), "{found}");

    let path = folder.path().join("outside.raw");
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    let c = repository.stage().unwrap().commit(config("c", &path, ImageFormat::Raw)).unwrap();
    repository.remove_vm(b.uuid()).unwrap();
    sound(&repository);
    fs::remove_file(&path).unwrap();
    let found = problems(&repository);
    assert!(found.contains("outside.raw is missing") && found.contains(&c.uuid().to_string()), "{found}");
    repository.remove_vm(c.uuid()).unwrap();

    let (kernel, initrd) = (folder.path().join("vmlinuz"), folder.path().join("initrd"));
    fs::write(&kernel, "x").unwrap();
    let boot = VmConfig::new("d").boot(Boot::kernel(kernel.as_path()).initrd(&initrd));
    repository.stage().unwrap().commit(boot).unwrap();
    let found = problems(&repository);
    assert!(found.contains("initrd is missing; VM 'd'") && found.contains("as its initrd"), "{found}");
    assert!(!found.contains("kernel"), "{found}");
    fs::remove_file(&kernel).unwrap();
    assert!(problems(&repository).contains("vmlinuz is missing; VM 'd'"));
}

/// All files outside the repository that a VM uses must exist at the commit, except those that only a start reads.
#[test]
fn disks_outside_are_there_when_a_vm_is_committed() {
    let (folder, repository) = repository();
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
    fs::write(at("text.qcow2"), "text").unwrap();
    for (name, format, kind) in [
        ("none.raw", ImageFormat::Raw, ErrorKind::NotFound),
        ("fifo", ImageFormat::Raw, ErrorKind::InvalidConfig),
        ("", ImageFormat::Raw, ErrorKind::InvalidConfig),
        ("text.qcow2", ImageFormat::Qcow2, ErrorKind::CorruptImage),
    ] {
        let error = repository.stage().unwrap().commit(config("a", &at(name), format)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(at(name).to_str().unwrap()), "{error}");
    }
    assert!(repository.vms().unwrap().is_empty());
}

/// A VM's files outside the repository conflict with nothing, including the VM itself.
#[test]
fn a_disk_outside_that_cannot_be_read_keeps_nothing_from_being_removed() {
    let (folder, repository) = repository();
    let path = folder.path().join("outside.qcow2");
    disk::create(&path, ImageFormat::Qcow2, MIB).unwrap();
    let a = repository.stage().unwrap().commit(config("a", &path, ImageFormat::Qcow2)).unwrap();
    let b = vm(&repository, "b", ImageFormat::Qcow2, MIB, b"b");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();

    let found = problems(&repository);
    let expected =
        format!("the backing files of VM 'a' ({}) are unknown: cannot open disk image {}", a.uuid(), path.display());
    assert!(found.starts_with(&expected), "{found}");
    let template = repository.seal("t", &b, &()).unwrap();
    repository.flatten(&repository.vm("b").unwrap(), &()).unwrap();
    repository.remove_template(&template).unwrap();
    assert_eq!(repository.collect(Unused::All).unwrap().len(), 0);
    repository.remove_vm(b.uuid()).unwrap();
    repository.remove_vm(a.uuid()).unwrap();
    assert!(path.is_dir() && repository.vms().unwrap().is_empty());
    let error = repository.stage().unwrap().commit(config("c", &path, ImageFormat::Qcow2)).unwrap_err();
    assert!(error.to_string().contains("it is a directory"), "{error}");
}

#[test]
fn what_it_names_is_found_from_any_working_directory() {
    let (_folder, repository) = repository();
    let a = vm(&repository, "a", ImageFormat::Raw, MIB, b"a");
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.ancestors().skip(1).map(|_| "..").collect();
    // The relative path is invalid from another folder.
    let relative = Path::new("..")
        .join(here.file_name().unwrap())
        .join(up)
        .join(image(&a.config(), 0).0.strip_prefix("/").unwrap());
    let boot = |kernel: &Path, initrd: &Path| VmConfig::new("b").boot(Boot::kernel(kernel).initrd(initrd));
    for config in [boot(&relative, "initrd".as_ref()), boot("vmlinuz".as_ref(), &relative)] {
        let error = repository.stage().unwrap().commit(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains("which belongs to VM 'a' ("), "{error}");
    }
    let config = boot("vmlinuz".as_ref(), "images/initrd".as_ref());
    let config = config.vsock(Vsock::new(3, "run/v.sock")).nic(Nic::stream("run/passt.sock"));
    let b = repository.stage().unwrap().commit(config).unwrap();
    assert_eq!(b.config().vsock.unwrap().path, here.join("run/v.sock"));
    let NicBackendConfig::Stream(socket) = &b.config().nics[0].backend else { panic!("{:?}", b.config().nics) };
    assert_eq!(*socket, here.join("run/passt.sock"));
    let Boot::Kernel { kernel: BootFile::Path(kernel), initrd: Some(BootFile::Path(initrd)), .. } = b.config().boot
    else {
        panic!("{:?}", b.config().boot)
    };
    assert_eq!((kernel, initrd), (here.join("vmlinuz"), here.join("images/initrd")));
}
