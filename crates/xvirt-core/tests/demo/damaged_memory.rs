//! Saved memory in a repository of which a byte has changed: a check finds it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use xvirt_core::config::DiskSource;
use xvirt_core::repository::Repository;
use xvirt_core::snapshot::NewSnapshot;

use crate::hot::{networked, sound};
use crate::{host, mappable_folder};

/// Where memory begins: see docs/snapshot-format.md.
const MEMORY: usize = 2 << 20;

/// Changes the first byte of the memory in a file that is not zero, and calls `look`; then changes it back.
fn with_damage(path: &Path, look: impl FnOnce()) {
    let bytes = fs::read(path).unwrap();
    let at = MEMORY + bytes[MEMORY..].iter().position(|byte| *byte != 0).unwrap();
    let write = |byte: u8| {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        File::options().write(true).open(path).unwrap().write_all_at(&[byte], at as u64).unwrap();
        fs::set_permissions(path, before).unwrap();
    };
    write(!bytes[at]);
    look();
    write(bytes[at]);
}

fn problems(repository: &Repository) -> Vec<String> {
    repository.check(&()).unwrap().problems.into_iter().map(|problem| problem.what).collect()
}

#[test]
fn a_check_finds_memory_that_has_changed() {
    let host = host!();
    let folder = mappable_folder!();
    let (_hub, repository, guest) = networked(&host, folder.path());
    let template = repository.seal_hot("booted", &guest.vm, &()).unwrap();
    let copy = repository.instantiate(&template, "copy").unwrap();
    let incremental = || NewSnapshot::new("checkpoint").incremental(true);
    repository.checkpoint(&guest.vm, incremental(), &()).unwrap();
    let checkpoint = repository.checkpoint(&guest.vm, incremental(), &()).unwrap();
    repository.suspend(&guest.vm, &()).unwrap();
    sound(&repository);
    let stored = repository.vm(&guest.vm.uuid().to_string()).unwrap();
    let DiskSource::Image { path, .. } = &checkpoint.config().disks[0].source else { panic!("no image") };
    let of_checkpoint = path.parent().unwrap().to_owned();
    let of_template = repository.folder().join("layers").join(template.uuid().to_string());
    let damaged: [(PathBuf, &str); 4] = [
        (stored.folder().join("saved-state"), "VM 'demo'"),
        (of_checkpoint.join("saved-state"), "snapshot 'checkpoint'"),
        (of_checkpoint.join("saved-state-base-1"), "snapshot 'checkpoint'"),
        // Its instance has the same file.
        (of_template.join("saved-state"), "template 'booted:1'"),
    ];
    assert!(copy.is_suspended());
    for (path, title) in damaged {
        with_damage(&path, || {
            let found = problems(&repository);
            let [problem] = &found[..] else { panic!("{}: {found:?}", path.display()) };
            assert!(problem.starts_with(&format!("the memory of {title}")), "{problem}");
        });
        sound(&repository);
    }
}
