//! Concurrent use by many processes.

use std::thread;

use xvirt_core::disk::ImageFormat;
use xvirt_core::repository::Repository;

use crate::child;
use crate::support::*;

#[test]
fn two_hundred_instances_from_eight_threads() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "golden", ImageFormat::Qcow2, 1 << 30, b"base");
    let template = repository.seal("t", &vm, &()).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let (repository, template) = (repository.clone(), &template);
            scope.spawn(move || {
                for number in 0..25 {
                    let vm = repository.instantiate(template, format!("{thread}-{number}")).unwrap();
                    write_vm(&vm, MIB, vm.name().as_bytes());
                }
            });
        }
    });
    let mut vms = repository.vms().unwrap();
    vms.retain(|vm| vm.name() != "golden");
    assert_eq!(vms.len(), 200);
    for vm in &vms {
        assert_eq!(read_vm(vm, 0, 4), b"base");
        assert_eq!(read_vm(vm, MIB, vm.name().len()), vm.name().as_bytes());
    }
    sound(&repository);
}

#[test]
fn instances_from_several_processes() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "golden", ImageFormat::Raw, 1 << 30, b"base");
    repository.seal("t", &vm, &()).unwrap();
    let children: Vec<_> = (0..4).map(|_| child::start("instantiate50", repository.folder())).collect();
    for child in children {
        let words = child::words(child);
        assert!(words.iter().any(|line| line.contains("1 passed")), "{words:?}");
    }
    assert_eq!(repository.vms().unwrap().len(), 201);
    sound(&repository);
}

#[test]
fn one_repository_comes_of_many_that_make_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/repository");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let repository = Repository::open(&path).unwrap();
                vm(&repository, "a", ImageFormat::Raw, MIB, b"x");
            });
        }
    });
    let repository = Repository::open(&path).unwrap();
    assert_eq!(repository.vms().unwrap().len(), 8);
    sound(&repository);
}

#[test]
fn a_template_is_not_removed_while_it_is_instantiated() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "golden", ImageFormat::Qcow2, MIB, b"base");
    for _ in 0..20 {
        let template = repository.template("t").or_else(|_| repository.seal("t", &vm, &())).unwrap();
        repository.flatten(&vm, &()).unwrap();
        let (made, removed) = thread::scope(|scope| {
            let made = scope.spawn(|| repository.instantiate(&template, "racer"));
            let removed = scope.spawn(|| repository.remove_template(&template));
            (made.join().unwrap(), removed.join().unwrap())
        });
        assert_ne!(made.is_ok(), removed.is_ok(), "{made:?} {removed:?}");
        if let Ok(vm) = made {
            assert_eq!(read_vm(&vm, 0, 4), b"base");
            repository.remove_vm(vm.uuid()).unwrap();
        }
    }
    sound(&repository);
}
