//! The configuration that a VM returns builds the same VM.

use std::fs;

use xvirt_core::config::{Boot, CpuLimit, Disk, RateLimit, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::Repository;

use crate::host;
use crate::support::{PATIENCE, config};

#[test]
fn the_configuration_of_a_vm_is_what_it_is_now() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "b", "c"] {
        disk::create(path(name), ImageFormat::Raw, 1 << 20).unwrap();
    }
    let line = CommandLine::new([Mode::HotPlug]);
    // A kernel in memory could not be serialized.
    fs::write(path("kernel"), demo::kernel()).unwrap();
    let boot = Boot::kernel(path("kernel")).command_line(line.to_string());
    let vm = config(&line).boot(boot).disk(Disk::raw(path("a"))).disk(Disk::raw(path("b"))).build(&host).unwrap();
    vm.start().unwrap();
    let plugged = vm.plug_disk(Disk::raw(path("c")).serial("late")).unwrap();
    vm.unplug_disk(0, PATIENCE).unwrap();
    let limit = RateLimit::none().operations_per_second(40);
    vm.set_disk_limit(plugged, limit).unwrap();
    let now = vm.config().unwrap();
    let source = |disk: &Disk| serde_json::to_value(disk).unwrap()["source"].clone();
    assert_eq!(now.disks.iter().map(source).collect::<Vec<_>>(), ["b", "c"].map(|name| source(&Disk::raw(path(name)))));
    assert_eq!((now.disks[1].serial.as_str(), now.disks[1].limit), ("late", limit));
    assert_eq!((now.name.as_str(), now.uuid, now.cpus.limit), ("demo", vm.uuid(), CpuLimit::none()));

    assert_eq!((vm.disk_positions(), vm.nic_positions()), (vec![1, 2], vec![]));
    let text = serde_json::to_string(&now).unwrap();
    vm.hard_shutdown().unwrap();
    let again = serde_json::from_str::<VmConfig>(&text).unwrap().build(&host).unwrap();
    again.start().unwrap();
    assert_eq!(again.disks().len(), 2);
    assert_eq!(again.disk_limit(1).unwrap(), limit);
}

#[test]
fn what_was_changed_while_it_ran_is_kept_by_an_update() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let repository = Repository::open(path("repository")).unwrap();
    let mut stage = repository.stage().unwrap();
    let own = [0, 1].map(|index| stage.disk_path(index, ImageFormat::Raw));
    for path in own.iter().chain([&path("outside")]) {
        disk::create(path, ImageFormat::Raw, 1 << 20).unwrap();
    }
    let line = CommandLine::new([Mode::HotPlug]);
    fs::write(path("kernel"), demo::kernel()).unwrap();
    let boot = Boot::kernel(path("kernel")).command_line(line.to_string());
    let first = own.into_iter().fold(config(&line).boot(boot), |config, path| config.disk(Disk::raw(path)));
    let stored = stage.commit(first).unwrap();
    let vm = stored.config().build(&host).unwrap();
    vm.start().unwrap();
    vm.plug_disk(Disk::raw(path("outside"))).unwrap();
    let twice = vm.plug_disk(Disk::raw(path("outside"))).unwrap_err();
    assert!(twice.to_string().contains("is used twice by the VM"), "{twice}");
    vm.unplug_disk(0, PATIENCE).unwrap();
    let limit = RateLimit::none().operations_per_second(40);
    vm.set_disk_limit(1, limit).unwrap();

    let now = vm.config().unwrap();
    let changed = repository.update(vm.uuid(), |config| {
        *config = now.clone();
        Ok(())
    });
    let source = |disk: &Disk| serde_json::to_value(disk).unwrap()["source"].clone();
    let expected = [stored.folder().join("disk-1.raw"), path("outside")].map(|path| source(&Disk::raw(path)));
    let config = changed.unwrap().config();
    assert_eq!(config.disks.iter().map(source).collect::<Vec<_>>(), expected);
    assert_eq!(config.disks[0].limit, limit);
    // The file belonged to the VM, which no longer needs it.
    assert!(!stored.folder().join("disk-0.raw").exists());
    assert!(fs::read_to_string(stored.folder().join("vm.json")).unwrap().contains("\"disk-1.raw\""));
    vm.hard_shutdown().unwrap();
    let again = config.build(&host).unwrap();
    let twice = again.plug_disk(Disk::raw(path("outside"))).unwrap_err();
    assert!(twice.to_string().contains("is used twice by the VM"), "{twice}");
    again.start().unwrap();
    assert_eq!(repository.check(&()).unwrap().problems, []);
}
