//! Too few file descriptors.

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xvirt_core::disk::ImageFormat;
use xvirt_core::repository::Repository;
use xvirt_core::{ErrorKind, Result};

use crate::child;
use crate::support::*;

/// More than any operation here needs.
const ENOUGH: u64 = 40;

/// The result of `work` with so many descriptors left.
fn with<T>(free: u64, work: impl FnOnce() -> T) -> T {
    // The kernel always assigns the lowest free number.
    let lowest = File::open("/dev/null").unwrap().as_raw_fd();
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(u64::try_from(lowest).unwrap() + free), maximum: before.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let result = work();
    setrlimit(Resource::Nofile, before).unwrap();
    result
}

/// Whether it succeeded; if not, it must have failed for lack of descriptors.
fn worked<T>(result: Result<T>) -> bool {
    let error = match result {
        Ok(_) => return true,
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::OutOfDescriptors, "{error}");
    false
}

/// In a separate process, because all threads share the limit.
pub fn meet(repository: &Repository) {
    let template = repository.template("t").unwrap();
    let vm = repository.vm("a").unwrap();
    let mut last = [false; 5];
    for free in (0..ENOUGH).chain([ENOUGH]) {
        let checked = with(free, || repository.check(&()));
        assert!(checked.as_ref().map_or(true, |check| check.problems.is_empty()), "{free}: {checked:?}");
        let listed = with(free, || repository.vms());
        assert!(listed.as_ref().map_or(true, |vms| vms.len() == 1), "{free}: {listed:?}");
        let made = with(free, || repository.instantiate(&template, "b"));
        let copied = with(free, || repository.copy_vm(&vm, "c", &()));
        let updated = with(free, || repository.update(vm.uuid(), |_| Ok(())));
        assert_eq!(names(repository, "staging"), [""; 0], "{free}: {made:?} {copied:?} {updated:?}");
        for made in [&made, &copied].into_iter().flatten() {
            repository.remove_vm(made.uuid()).unwrap();
        }
        let now = [worked(checked), worked(listed), worked(made), worked(copied), worked(updated)];
        assert!(free > 0 || now == [false; 5], "{now:?}");
        last = now;
    }
    assert_eq!(last, [true; 5]);
    println!("met all");
}

#[test]
fn a_shortage_is_not_taken_for_damage_and_leaves_nothing_behind() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"base");
    repository.seal("t", &vm, &()).unwrap();
    let words = child::words(child::start("shortage", repository.folder()));
    assert!(words.iter().any(|line| line == "met all"), "{words:#?}");
    sound(&repository);
}
