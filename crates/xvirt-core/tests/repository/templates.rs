//! Sealing, instantiating, layers.

use std::fs;
use std::os::unix::fs::MetadataExt;

use xvirt_core::ErrorKind;
use xvirt_core::config::NicBackendConfig;
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::repository::Repository;
use xvirt_core::template::{Seal, Unused};

use crate::support::*;

#[test]
fn instances_share_and_do_not_disturb() {
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let (_folder, repository) = repository();
        let vm = vm(&repository, "golden", format, 4 * MIB, b"base");
        let inode = fs::metadata(image(&vm.config(), 0).0).unwrap().ino();
        let template = repository.seal(Seal::new("debian").description("text"), &vm, &()).unwrap();
        assert_eq!((template.name(), template.version(), template.description()), ("debian", "1", "text"));
        let (path, _) = image(&template.config(), 0);
        // The same file: nothing was copied, and nothing may write to it.
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.ino(), metadata.mode() & 0o777), (inode, 0o444));

        let one = repository.instantiate(&template, "one").unwrap();
        let two = repository.instantiate(&template, "two").unwrap();
        let golden = repository.vm("golden").unwrap();
        for vm in [&one, &two, &golden] {
            assert_eq!(vm.layer().unwrap(), &template.lineage());
            assert_eq!(read_vm(vm, 0, 4), b"base");
        }
        let (a, b, g) = (one.config(), two.config(), golden.config());
        assert!(a.uuid != b.uuid && a.generation_id != b.generation_id && a.generation_id != g.generation_id);
        assert!(a.nics[0].mac != b.nics[0].mac && a.nics[0].mac != g.nics[0].mac && a.nics[0].mac.is_some());
        assert!(matches!(a.nics[0].backend, NicBackendConfig::NewTap));
        assert_eq!(a.nics[0].bridge.as_deref(), Some("br0"));
        assert!(matches!(&g.nics[0].backend, NicBackendConfig::Tap(name) if name == "tap-of-mine"));

        write_vm(&one, 0, b"ONE!");
        write_vm(&golden, 0, b"GOLD");
        assert_eq!(read_vm(&two, 0, 4), b"base");
        assert_eq!(read_vm(&one, 0, 4), b"ONE!");
        sound(&repository);
    }
}

#[test]
fn layers_lie_on_one_another() {
    let (_folder, repository) = repository();
    let os = vm(&repository, "os", ImageFormat::Qcow2, 16 * MIB, b"os");
    let os = repository.seal("os", &os, &()).unwrap();
    let vm = repository.instantiate(&os, "patching").unwrap();
    write_vm(&vm, MIB, b"patches");
    let patched = repository.seal("patched", &vm, &()).unwrap();
    let vm = repository.instantiate(&patched, "installing").unwrap();
    write_vm(&vm, 2 * MIB, b"application");
    let ready = repository.seal(Seal::new("ready").version("2024-06"), &vm, &()).unwrap();
    let names: Vec<_> = ready.chain().unwrap().iter().map(|layer| layer.name().to_owned()).collect();
    assert_eq!(names, ["ready", "patched", "os"]);
    assert_eq!(repository.template("ready:2024-06").unwrap().uuid(), ready.uuid());

    let vm = repository.instantiate(&ready, "web").unwrap();
    let contents = |vm| (read_vm(vm, 0, 2), read_vm(vm, MIB, 7), read_vm(vm, 2 * MIB, 11));
    let expected = (b"os".to_vec(), b"patches".to_vec(), b"application".to_vec());
    assert_eq!(contents(&vm), expected);

    let error = repository.remove_template(&patched).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    for user in ["VM 'patching'", "template 'ready:2024-06'"] {
        assert!(error.to_string().contains(user), "{error}");
    }

    // Once flattened, it no longer needs its layers.
    let flat = repository.flatten(&vm, &()).unwrap();
    assert_eq!((flat.uuid(), flat.layer()), (vm.uuid(), None));
    for name in ["os", "patching", "installing"] {
        repository.remove_vm(repository.vm(name).unwrap().uuid()).unwrap();
    }
    let removed = repository.collect(Unused::All).unwrap();
    assert_eq!(removed.iter().map(|layer| layer.name()).collect::<Vec<_>>(), ["ready", "patched", "os"]);
    assert_eq!(contents(&flat), expected);
    assert_eq!(fs::read_dir(repository.folder().join("layers")).unwrap().count(), 0);
    sound(&repository);
}

#[test]
fn only_unused_and_superseded_layers_are_collected() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"1");
    let first = repository.seal("t", &vm, &()).unwrap();
    let second = repository.seal("t", &vm, &()).unwrap();
    let third = repository.seal("t", &vm, &()).unwrap();
    assert_eq!([&first, &second, &third].map(|template| template.version().to_owned()), ["1", "2", "3"]);
    assert_eq!(repository.template("t").unwrap().uuid(), third.uuid());
    // Each is based on the previous one, and the VM on the last.
    assert_eq!(repository.collect(Unused::All).unwrap().len(), 0);
    repository.flatten(&vm, &()).unwrap();
    assert_eq!(repository.collect(Unused::Superseded).unwrap().len(), 0);
    let extra = repository.seal("t", &repository.vm("a").unwrap(), &()).unwrap();
    let removed = repository.collect(Unused::Superseded).unwrap();
    assert_eq!(removed.iter().map(|template| template.version()).collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(repository.templates().unwrap().len(), 1);
    assert_eq!((extra.version(), repository.template("t").unwrap().uuid()), ("4", extra.uuid()));
    assert_eq!(repository.instantiate(&third, "late").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(repository.remove_template(&third).unwrap_err().kind(), ErrorKind::NotFound);
    sound(&repository);
}

#[test]
fn the_hash_is_that_of_the_contents() {
    let (folder, repository) = repository();
    // A raw file without a hole, a sparse one, a qcow2 image, and one whose data is spread over two layers.
    let full = folder.path().join("full.raw");
    let mut bytes = vec![0; 4 * MIB as usize];
    bytes[..4].copy_from_slice(b"text");
    bytes[3 * MIB as usize..][..4].copy_from_slice(b"more");
    fs::write(&full, &bytes).unwrap();
    let hash = |template: xvirt_core::Result<xvirt_core::template::Template>| template.unwrap().hash();
    let dense = hash(repository.seal("dense", &config("x", &full, ImageFormat::Raw), &()));
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let vm = vm(&repository, &format.to_string(), format, 4 * MIB, b"text");
        let base = hash(repository.seal(Seal::new(format.to_string()).version("base"), &vm, &()));
        let vm = repository.vm(vm.name()).unwrap();
        write_vm(&vm, 3 * MIB, b"more");
        assert_eq!(hash(repository.seal(Seal::new(format.to_string()).version("top"), &vm, &())), dense);
        assert_ne!(base, dense);
    }
    // The hash, computed independently from its definition.
    use sha2::{Digest, Sha256};
    let hex = |hash: Sha256| {
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    };
    let mut one = Sha256::new();
    one.update(b"xvirt disk\0\0\0\0\0\x01");
    one.update((4 * MIB).to_le_bytes());
    for at in [0, 3 * MIB] {
        one.update(at.to_le_bytes());
        one.update(&bytes[at as usize..][..65536]);
    }
    let one = hex(one);
    assert_eq!(repository.template("dense").unwrap().disks()[0].hash, one);
    let mut all = Sha256::new();
    all.update(b"xvirt template\0\x01");
    all.update(&one);
    assert_eq!(dense, hex(all));
}

#[test]
fn images_from_outside_are_copied_without_their_holes() {
    let (folder, repository) = repository();
    let outside = other_file_system();
    let (base, top) = (outside.path().join("base.raw"), folder.path().join("top.qcow2"));
    disk::create(&base, ImageFormat::Raw, 1 << 40).unwrap();
    write(&base, ImageFormat::Raw, 5 * MIB, b"below");
    disk::overlay(&base, Some(ImageFormat::Raw), &top).unwrap();
    write(&top, ImageFormat::Qcow2, 700 << 30, b"above");
    for (name, path, format) in [("raw", &base, ImageFormat::Raw), ("qcow2", &top, ImageFormat::Qcow2)] {
        let template = repository.seal(name, &config("x", path, format), &()).unwrap();
        let (copy, copy_format) = image(&template.config(), 0);
        assert_eq!((copy_format, template.disks()[0].size), (format, 1 << 40));
        assert!(disk::inspect(&copy, Some(format)).unwrap().backing.is_empty());
        let metadata = fs::metadata(&copy).unwrap();
        assert!(metadata.blocks() * 512 < 4 * MIB && metadata.mode() & 0o222 == 0, "{metadata:?}");
        assert_eq!(read(&copy, format, 5 * MIB, 5), b"below");
        if name == "qcow2" {
            assert_eq!(read(&copy, format, 700 << 30, 5), b"above");
        }
    }
    fs::remove_file(&base).unwrap();
    sound(&repository);
}

#[test]
fn rebase_moves_what_was_not_written_to() {
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let (_folder, repository) = repository();
        let vm = vm(&repository, "golden", format, 4 * MIB, b"old");
        let old = repository.seal("os", &vm, &()).unwrap();
        let fresh = repository.instantiate(&old, "fresh").unwrap();
        let used = repository.instantiate(&old, "used").unwrap();
        write_vm(&used, MIB, b"mine");
        let vm = repository.vm("golden").unwrap();
        write_vm(&vm, 0, b"new");
        let new = repository.seal("os", &vm, &()).unwrap();
        let other = repository.seal("other", &vm, &()).unwrap();

        let moved = repository.rebase(&fresh, &new, &()).unwrap();
        assert_eq!((moved.uuid(), moved.layer().unwrap()), (fresh.uuid(), &new.lineage()));
        assert_eq!(read_vm(&moved, 0, 3), b"new");
        assert_eq!(moved.config().generation_id, fresh.config().generation_id);

        let error = repository.rebase(&used, &new, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains(&image(&used.config(), 0).0.display().to_string()), "{error}");
        assert_eq!(read_vm(&repository.vm("used").unwrap(), MIB, 4), b"mine");
        let error = repository.rebase(&moved, &other, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        sound(&repository);
    }
}

#[test]
fn what_is_in_use_is_not_touched() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Qcow2, MIB, b"x");
    let template = repository.seal("t", &vm, &()).unwrap();
    let vm = repository.vm("a").unwrap();
    let (path, format) = image(&vm.config(), 0);
    let running = disk::open(&path, Some(format), Access::ReadWrite).unwrap();
    for error in [
        repository.seal("u", &vm, &()).unwrap_err(),
        repository.flatten(&vm, &()).unwrap_err(),
        repository.remove_vm(vm.uuid()).unwrap_err(),
        repository
            .rebase(&vm, &repository.seal("t", &repository.instantiate(&template, "b").unwrap(), &()).unwrap(), &())
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    }
    drop(running);
    sound(&repository);
    assert_eq!(names(&repository, "staging").len(), 0);
}

#[test]
fn names_and_versions_are_unique_and_plain() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, MIB, b"x");
    repository.seal(Seal::new("t").version("2"), &vm, &()).unwrap();
    let error = repository.seal(Seal::new("t").version("2"), &vm, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    // The second would be number 2, which is taken.
    assert_eq!(repository.seal("t", &vm, &()).unwrap().version(), "3");
    for name in ["", "a:b", "a\nb", "7c6c8c0e-58e8-4a3f-9d5e-0f2c0d9e1a2b"] {
        assert_eq!(repository.seal(name, &vm, &()).unwrap_err().kind(), ErrorKind::InvalidConfig, "{name}");
    }
    assert_eq!(repository.template("u").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn cancelled_work_leaves_everything_as_it_was() {
    let (_folder, repository) = repository();
    let vm = vm(&repository, "a", ImageFormat::Raw, 4 * MIB, b"x");
    let cancelled = std::sync::atomic::AtomicBool::new(true);
    assert_eq!(repository.seal("t", &vm, &cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(repository.vm("a").unwrap().layer(), None);
    repository.seal("t", &vm, &()).unwrap();
    assert_eq!(repository.flatten(&vm, &cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(repository.vm("a").unwrap().layer().is_some());
    assert_eq!(names(&repository, "staging").len(), 0);
    sound(&repository);
}

#[test]
fn sealing_what_was_not_written_again_reads_no_disk() {
    let folder = other_file_system();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let golden = vm(&repository, "golden", ImageFormat::Qcow2, 16 * MIB, b"contents");
    let first = repository.seal("golden", &golden, &()).unwrap();
    let instance = repository.instantiate(&first, "instance").unwrap();
    assert_eq!(image(&instance.config(), 0).1, ImageFormat::Qcow2, "not an overlay");
    let again = repository.seal("again", &instance, &Cancelled).unwrap();
    assert_eq!(again.disks()[0].hash, first.disks()[0].hash);
    sound(&repository);

    let written = repository.instantiate(&again, "written").unwrap();
    write_vm(&written, MIB, b"more");
    let error = repository.seal("more", &written, &Cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let more = repository.seal("more", &written, &()).unwrap();
    assert_ne!(more.disks()[0].hash, first.disks()[0].hash);
    sound(&repository);
}
