//! Copies of a running VM that are checkpointed, reverted, forked and sealed before they run themselves.

use xvirt_core::repository::{Repository, StoredVm};

use crate::hot::{mac, networked, resumed, sound};
use crate::{host, mappable_folder};

fn again(repository: &Repository, vm: &StoredVm) -> StoredVm {
    repository.vm(&vm.uuid().to_string()).unwrap()
}

#[test]
fn a_copy_that_has_not_run_yet_is_reverted_forked_and_sealed() {
    let host = host!();
    let folder = mappable_folder!();
    let (hub, repository, guest) = networked(&host, folder.path());
    let progress = guest.progress;
    let template = repository.seal_hot("booted", &guest.vm, &()).unwrap();
    drop(guest);
    let copy = repository.instantiate(&template, "copy").unwrap();
    let by_record = repository.checkpoint(&copy, "by record", &()).unwrap();
    let vm = again(&repository, &copy).build(&host).unwrap();
    let by_handle = repository.checkpoint(&vm, "by handle", &()).unwrap();
    let mut copies = repository.fork(&vm, 2, "fork", &()).unwrap();
    let second = repository.seal_hot("again", &vm, &()).unwrap();
    drop(vm);
    copies.push(repository.instantiate(&second, "of the second").unwrap());
    copies.push(again(&repository, &copy));
    sound(&repository);

    let goes_on = |stored: &StoredVm| {
        let mut guest = resumed(stored, progress, &host);
        guest.goes_on();
        hub.expect(&[mac(stored)]);
        sound(&repository);
    };
    copies.iter().for_each(goes_on);
    for checkpoint in [by_record, by_handle] {
        let reverted = repository.revert(&checkpoint).unwrap();
        sound(&repository);
        goes_on(&reverted);
    }
}
