//! Changes of a stored VM.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xvirt_core::config::{Boot, ByteSize, Disk, Nic, Uuid, VmConfig, Vsock};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::{Error, ErrorKind, Result};

use crate::support::*;

type Change<'a> = &'a dyn Fn(&mut VmConfig);

/// The error of a refused update; the VM must be unchanged.
fn refused(repository: &Repository, vm: &StoredVm, mut change: impl FnMut(&mut VmConfig)) -> Error {
    let record = fs::read(vm.folder().join("vm.json")).unwrap();
    let result = repository.update(vm.uuid(), |config| {
        change(config);
        Ok(())
    });
    assert_eq!(fs::read(vm.folder().join("vm.json")).unwrap(), record);
    assert_eq!(names(repository, "staging"), [""; 0]);
    let error = result.unwrap_err();
    assert!(error.remedy().is_some(), "{error}");
    error
}

fn add_disk(repository: &Repository, vm: &StoredVm) -> Result<StoredVm> {
    let path = vm.new_disk_path(ImageFormat::Qcow2);
    disk::create(&path, ImageFormat::Qcow2, MIB)?;
    repository.update(vm.uuid(), |config| {
        config.disks.push(Disk::qcow2(&path));
        Ok(())
    })
}

#[test]
fn everything_but_the_uuid_can_be_changed() {
    let (folder, repository) = repository();
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    write(&path, ImageFormat::Raw, 0, b"mine");
    stage.attach("note", b"text").unwrap();
    let vm = stage.commit(config("a", &path, ImageFormat::Raw)).unwrap();
    let outside = folder.path().join("outside.raw");
    disk::create(&outside, ImageFormat::Raw, MIB).unwrap();
    let changed = repository.update(vm.uuid(), |config| {
        config.name = "b".to_owned();
        config.description = "text".to_owned();
        config.labels.insert("k".to_owned(), "v".to_owned());
        config.cpus.count = 4;
        config.memory = ByteSize::gib(1);
        config.boot = Boot::kernel("/boot/other");
        config.nics.push(Nic::new_tap());
        config.vsock = Some(Vsock::new(3, "v"));
        config.disks.push(Disk::raw(&outside).read_only());
        Ok(())
    });
    for vm in [changed.unwrap(), Repository::open(repository.folder()).unwrap().vm("b").unwrap()] {
        let config = vm.config();
        assert_eq!((vm.uuid(), vm.name(), config.description.as_str()), (vm.uuid(), "b", "text"));
        assert_eq!((vm.labels()["k"].as_str(), config.cpus.count, config.memory), ("v", 4, ByteSize::gib(1)));
        assert!(config.nics.iter().all(|nic| nic.mac.is_some()) && config.nics.len() == 2);
        assert_eq!(config.vsock.unwrap().path, std::env::current_dir().unwrap().join("v"));
        assert_eq!(image(&vm.config(), 1).0, outside);
        assert_eq!(vm.attachment("note").unwrap().unwrap(), b"text");
        assert_eq!(read_vm(&vm, 0, 4), b"mine");
        assert_eq!(image(&vm.config(), 0).0, vm.folder().join("disk-0.raw"));
    }
    assert_eq!(repository.vm("a").unwrap_err().kind(), ErrorKind::NotFound);
    for room in ["staging", "trash"] {
        assert_eq!(names(&repository, room), [""; 0]);
    }
    assert!(!vm.folder().join("alive").exists());
}

#[test]
fn disks_are_added_and_removed() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"root");
    let vm = add_disk(&repository, &vm).unwrap();
    let vm = add_disk(&repository, &vm).unwrap();
    let paths = [0, 1, 2].map(|index| image(&vm.config(), index).0);
    assert!(paths.iter().all(|path| path.starts_with(vm.folder()) && path.exists()));
    write(&paths[2], ImageFormat::Qcow2, 0, b"last");
    sound(&repository);

    // A disk in use cannot be removed.
    let held = disk::open(&paths[1], Some(ImageFormat::Qcow2), Access::ReadOnly).unwrap();
    let drop_second = |config: &mut VmConfig| drop(config.disks.remove(1));
    assert_eq!(refused(&repository, &vm, drop_second).kind(), ErrorKind::Busy);
    drop(held);
    let vm = repository
        .update(vm.uuid(), |config| {
            drop_second(config);
            Ok(())
        })
        .unwrap();
    assert!(!paths[1].exists() && paths[0].exists());
    assert_eq!(image(&vm.config(), 1).0, paths[2]);
    // Other operations of the VM still work.
    repository.seal("t", &vm, &()).unwrap();
    let vm = repository.flatten(&vm, &()).unwrap();
    let (path, format) = image(&vm.config(), 1);
    assert_eq!(read(&path, format, 0, 4), b"last");
    sound(&repository);
}

/// An added disk is not in the template, so it has no counterpart in another version of it.
#[test]
fn an_instance_with_an_added_disk_is_not_rebased() {
    let (_folder, repository) = repository();
    let golden = vm(&repository, "golden", ImageFormat::Raw, MIB, b"root");
    let template = repository.seal("t", &golden, &()).unwrap();
    let newer = repository.seal("t", &golden, &()).unwrap();
    let vm = add_disk(&repository, &repository.instantiate(&template, "a").unwrap()).unwrap();
    let error = repository.rebase(&vm, &newer, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("disk 1 was added to it"), "{error}");
    sound(&repository);
}

#[test]
fn changes_that_cannot_be_kept_are_refused() {
    let (folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"mine");
    let other = self::vm(&repository, "other", ImageFormat::Raw, MIB, b"x");
    let (foreign, _) = image(&other.config(), 0);
    let link = vm.folder().join("disk-7.raw");
    std::os::unix::fs::symlink(&foreign, &link).unwrap();
    let overlay = vm.folder().join("disk-8.qcow2");
    let made = other_file_system();
    disk::overlay(&foreign, Some(ImageFormat::Raw), made.path().join("o")).unwrap();
    fs::copy(made.path().join("o"), &overlay).unwrap();
    let cases: [(&str, ErrorKind, Change<'_>); 10] = [
        ("cannot become VM", ErrorKind::InvalidConfig, &|config| config.uuid = Uuid::new_v4()),
        ("has no name", ErrorKind::InvalidConfig, &|config| config.name.clear()),
        ("cannot have 0 vCPUs", ErrorKind::InvalidConfig, &|config| config.cpus.count = 0),
        ("belongs to VM 'other'", ErrorKind::InvalidConfig, &|config| config.disks.push(Disk::raw(&foreign))),
        ("twice", ErrorKind::InvalidConfig, &|config| config.disks.push(config.disks[0].clone())),
        ("has the format raw, which cannot change to qcow2", ErrorKind::InvalidConfig, &|config| {
            config.disks = vec![Disk::qcow2(image(config, 0).0)];
        }),
        ("not a plain file", ErrorKind::InvalidConfig, &|config| config.disks.push(Disk::raw(&link))),
        ("is based on", ErrorKind::InvalidConfig, &|config| config.disks.push(Disk::qcow2(&overlay))),
        ("No such file", ErrorKind::NotFound, &|config| config.disks.push(Disk::raw(folder.path().join("none")))),
        ("contains open objects", ErrorKind::InvalidConfig, &|config| config.boot = Boot::kernel(&b"\x7fELF"[..])),
    ];
    for (why, kind, change) in cases {
        let error = refused(&repository, &vm, change);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    // The error of the closure itself is returned.
    let no = || Error::new(ErrorKind::InvalidState, "no");
    assert_eq!(repository.update(vm.uuid(), |_| Err(no())).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(repository.update(Uuid::new_v4(), |_| Ok(())).unwrap_err().kind(), ErrorKind::NotFound);
    // Disks on which others are based.
    let (mine, _) = image(&vm.config(), 0);
    let record = other.folder().join("vm.json");
    let text = fs::read_to_string(&record).unwrap().replace("\"disk-0.raw\"", &format!("\"{}\"", mine.display()));
    fs::write(&record, text).unwrap();
    let without = |config: &mut VmConfig| (config.disks, config.boot) = (Vec::new(), Boot::kernel("k"));
    assert_eq!(refused(&repository, &vm, without).kind(), ErrorKind::InUse);
    assert_eq!(read_vm(&vm, 0, 4), b"mine");
}

#[test]
fn no_update_is_lost() {
    const EACH: usize = 12;
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"x");
    thread::scope(|scope| {
        for _ in 0..4 {
            // As in several processes.
            let repository = Repository::open(repository.folder()).unwrap();
            let uuid = vm.uuid();
            scope.spawn(move || {
                for _ in 0..EACH {
                    let add = |config: &mut VmConfig| {
                        let count: usize = config.description.parse().unwrap_or(0);
                        config.description = (count + 1).to_string();
                        Ok(())
                    };
                    repository.update(uuid, add).unwrap();
                }
            });
        }
    });
    assert_eq!(repository.vm("a").unwrap().config().description, (4 * EACH).to_string());
    sound(&repository);
}

/// A VM that starts or runs meanwhile finds its files.
#[test]
fn disks_are_in_their_place_at_any_moment() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"root");
    let running = disk::open(image(&vm.config(), 0).0, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (path, record) = (image(&vm.config(), 0).0, vm.folder().join("vm.json"));
            while !done.load(Ordering::Relaxed) {
                fs::metadata(&path).unwrap();
                fs::metadata(&record).unwrap();
            }
        });
        for number in 0..200 {
            let updated = repository.update(vm.uuid(), |config| {
                config.description = number.to_string();
                Ok(())
            });
            if let Err(error) = updated {
                done.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    // It is the same file, and still locked.
    let error = disk::open(image(&vm.config(), 0).0, Some(ImageFormat::Raw), Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(running);
    assert_eq!(read_vm(&vm, 0, 4), b"root");
}
