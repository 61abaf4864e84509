//! Damaged and hostile files: found, named, and harmless.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use uuid::Uuid;
use xvirt_core::ErrorKind;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::Repository;

use crate::support::*;

/// The findings of a check after `harm` was done, as one text. The repository has a VM "a" based on a template "t".
fn found(harm: impl FnOnce(&Repository)) -> String {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, 4 * MIB, b"base");
    repository.seal("t", &vm, &()).unwrap();
    sound(&repository);
    harm(&repository);
    let problems = repository.check(&()).unwrap().problems;
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
    problems.iter().map(|problem| format!("{}\n", problem.what)).collect()
}

fn template_disk(repository: &Repository) -> std::path::PathBuf {
    image(&repository.template("t").unwrap().config(), 0).0
}

fn record(repository: &Repository) -> std::path::PathBuf {
    repository.vm("a").unwrap().folder().join("vm.json")
}

/// Replaces a text in a file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_changed_template_is_found() {
    let text = found(|repository| {
        let path = template_disk(repository);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write(&path, ImageFormat::Qcow2, 4, b"!");
    });
    assert!(text.contains("belongs to a template but is writable"), "{text}");
    assert!(text.contains("has changed since it was sealed"), "{text}");
}

#[test]
fn an_image_whose_tables_contradict_each_other_is_found() {
    let text = found(|repository| {
        let path = image(&repository.vm("a").unwrap().config(), 0).0;
        let mut bytes = fs::read(&path).unwrap();
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let block = number(number(48));
        bytes[block..block + 2].fill(0);
        fs::write(&path, bytes).unwrap();
    });
    assert!(text.contains("disk-0.qcow2 is damaged: its header has no refcount"), "{text}");
}

#[test]
fn an_image_in_use_is_not_called_damaged() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, 4 * MIB, b"base");
    let path = image(&vm.config(), 0).0;
    let disk = disk::open(&path, Some(ImageFormat::Qcow2), disk::Access::ReadWrite).unwrap();
    // Allocations are in the tables of the file after the next flush.
    disk.write(&[xvirt_core::disk::GuestSlice::from(&mut [1; 512][..])], 2 * MIB).unwrap();
    sound(&repository);
    drop(disk);
    sound(&repository);
}

#[test]
fn what_is_missing_is_found() {
    let text = found(|repository| fs::remove_file(template_disk(repository)).unwrap());
    assert!(text.contains("disk-0.qcow2"), "{text}");
    let text = found(|repository| {
        let id = repository.template("t").unwrap().uuid();
        fs::remove_dir_all(repository.folder().join("layers").join(id.to_string())).unwrap();
    });
    assert!(text.contains("VM 'a'") && text.contains("'t:1'"), "{text}");
    let text = found(|repository| fs::remove_file(record(repository)).unwrap());
    assert!(text.contains("its record is missing"), "{text}");
    let text = found(|repository| fs::remove_file(image(&repository.vm("a").unwrap().config(), 0).0).unwrap());
    assert!(text.contains("cannot open disk image"), "{text}");
}

#[test]
fn strangers_are_found() {
    let text = found(|repository| {
        fs::write(repository.folder().join("layers/notes.txt"), "x").unwrap();
        fs::create_dir(repository.folder().join("vms").join(Uuid::new_v4().to_string())).unwrap();
    });
    assert!(text.contains("notes.txt is not a part of the repository"), "{text}");
    assert!(text.contains("its record is missing"), "{text}");
}

#[test]
fn an_image_based_on_a_file_of_the_host_is_found() {
    let outside = other_file_system();
    let text = found(|repository| {
        let secret = outside.path().join("secret");
        fs::write(&secret, [7; 4096]).unwrap();
        let (path, _) = image(&repository.vm("a").unwrap().config(), 0);
        fs::remove_file(&path).unwrap();
        disk::overlay(&secret, Some(ImageFormat::Raw), &path).unwrap();
    });
    assert!(text.contains("which does not belong to its template"), "{text}");
}

#[test]
fn records_lead_nowhere_else() {
    for (from, to, why) in [
        ("\"disk-0.qcow2\"", "\"../../secret\"", "../../secret in its record is not a valid disk name"),
        ("\"disk-0.qcow2\"", "\"vm.json\"", "vm.json in its record is not a valid disk name"),
        ("{", "{{", "is damaged"),
        ("\"format\": 1", "\"format\": 2", "has format 2, but this version of xvirt reads formats up to 1"),
        ("\"name\": \"a\"", "\"name\": 3", "invalid type"),
    ] {
        let (_folder, repository) = repository();
        let other = vm(&repository, "other", ImageFormat::Raw, MIB, b"x");
        let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"x");
        edit(&record(&repository), from, to);
        let error = repository.vm(&vm.uuid().to_string()).unwrap_err();
        let newer = to.contains("format");
        let kind = if newer { ErrorKind::UnsupportedRepository } else { ErrorKind::CorruptRepository };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        // Other VMs are unaffected, a check reports it, and it can be removed.
        assert_eq!(repository.vms().unwrap().iter().map(|vm| vm.uuid()).collect::<Vec<_>>(), [other.uuid()]);
        let problems = repository.check(&()).unwrap().problems;
        assert!(problems.len() == 1 && problems[0].what.contains(why), "{problems:?}");
        repository.remove_vm(vm.uuid()).unwrap();
        sound(&repository);
    }
}

#[test]
fn symbolic_links_and_big_records_are_refused() {
    let (folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"x");
    let uuid = vm.uuid().to_string();
    let (disk, record) = (image(&vm.config(), 0).0, record(&repository));
    let secret = folder.path().join("secret");
    fs::rename(&disk, &secret).unwrap();
    symlink(&secret, &disk).unwrap();
    assert!(repository.vm(&uuid).unwrap_err().to_string().contains("it is not a plain file"));
    fs::rename(&secret, &disk).unwrap();
    repository.vm(&uuid).unwrap();

    fs::rename(&record, &secret).unwrap();
    symlink(&secret, &record).unwrap();
    assert!(repository.vm(&uuid).unwrap_err().to_string().contains("it is a symbolic link"));
    fs::remove_file(&record).unwrap();
    fs::File::create(&record).unwrap().set_len(1 << 40).unwrap();
    assert!(repository.vm(&uuid).unwrap_err().to_string().contains("it is larger than"));
}

/// A check requires a repository that can be opened.
#[test]
fn what_keeps_a_repository_from_being_opened_has_a_remedy_of_its_own() {
    for (file, remedy, followed) in [
        ("repository.json", "write {\"format\": 1} into it", Some("{\"format\": 1}")),
        ("change.json", "remove this file", None),
    ] {
        for garbage in ["", "{", "{\"format\": 1, \"vm\": 3}"] {
            let (_folder, repository) = repository();
            if file == "repository.json" && garbage.len() > 1 {
                continue;
            }
            let path = repository.folder().join(file);
            fs::write(&path, garbage).unwrap();
            let error = Repository::open(repository.folder()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptRepository, "{error}");
            assert!(error.to_string().contains(file), "{error}");
            assert!(error.remedy().is_some_and(|text| text.contains(remedy)), "{error}");
            match followed {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            sound(&Repository::open(repository.folder()).unwrap());
        }
    }
}

#[test]
fn findings_do_not_send_the_reader_to_the_check_that_found_them() {
    let (_folder, repository) = repository();
    let a = vm(&repository, "a", ImageFormat::Raw, MIB, b"x");
    fs::write(record(&repository), "{").unwrap();
    let error = repository.vm(&a.uuid().to_string()).unwrap_err();
    assert!(error.remedy().is_some_and(|text| text.contains("Repository::check")), "{error}");
    let problems = repository.check(&()).unwrap().problems;
    assert!(problems.len() == 1 && !problems[0].what.contains("Repository::check"), "{problems:?}");
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Repository::open(&file).unwrap_err();
    assert!(error.remedy().is_some_and(|text| text.contains("the path of a folder")), "{error}");
    let (folder, repository) = repository();
    drop(folder);
    for error in [repository.vms().unwrap_err(), repository.stage().unwrap_err(), repository.check(&()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.remedy().is_some_and(|text| text.contains("moved or removed")), "{error}");
    }
}

#[test]
fn a_newer_repository_is_refused_by_name() {
    let (_folder, repository) = repository();
    edit(&repository.folder().join("repository.json"), "1", "7");
    let error = Repository::open(repository.folder()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedRepository);
    assert!(error.to_string().contains("has format 7"), "{error}");
}
