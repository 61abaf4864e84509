//! Sealing what a guest has written, and running instances of it.
#![cfg(feature = "qcow2")]

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, Disk, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::vm::Event;

use crate::host;
use crate::support::*;

const DISK_SIZE: u64 = 1 << 20;

/// A repository with a VM with three empty disks, which boots the demo guest from a file.
fn repository(folder: &std::path::Path) -> (Repository, StoredVm) {
    let repository = Repository::open(folder.join("repository")).unwrap();
    let kernel = folder.join("demo.elf");
    std::fs::write(&kernel, demo::kernel()).unwrap();
    let mut stage = repository.stage().unwrap();
    let mut config = config(&CommandLine::new([])).boot(Boot::kernel(kernel));
    for (index, format) in [ImageFormat::Raw, ImageFormat::Qcow2, ImageFormat::Qcow2].into_iter().enumerate() {
        let path = stage.disk_path(index, format);
        disk::create(&path, format, DISK_SIZE).unwrap();
        config = config.disk(Disk::open(path).unwrap().serial(format!("disk-{index}")));
    }
    let vm = stage.commit(config).unwrap();
    (repository, vm)
}

fn with_line(vm: &StoredVm, line: &CommandLine) -> VmConfig {
    let mut config = vm.config();
    config.boot = config.boot.command_line(line.to_string());
    config
}

/// Runs a VM until its guest has finished its task and powered off.
fn run(vm: &StoredVm, line: &CommandLine, host: &Host) -> Guest {
    let mut guest = Guest::start(with_line(vm, line), host).unwrap();
    guest.expect(demo::DONE);
    guest.vm.wait_halted(PATIENCE).unwrap();
    guest
}

/// Writes to one disk.
fn write(disk: u32, seed: u64) -> CommandLine {
    CommandLine::new([Mode::Blk, Mode::PowerOff]).seed(seed).disk(disk)
}

#[test]
fn instances_of_three_layers_run_side_by_side() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (repository, vm) = repository(folder.path());

    // Every layer adds the contents of one disk. The first is sealed from the handle of the halted VM.
    let guest = run(&vm, &write(0, 5), &host);
    let os = repository.seal("os", &guest.vm, &()).unwrap();
    drop(guest);
    let patching = repository.instantiate(&os, "patching").unwrap();
    run(&patching, &write(1, 5), &host);
    let patched = repository.seal("patched", &patching, &()).unwrap();
    let installing = repository.instantiate(&patched, "installing").unwrap();
    run(&installing, &write(2, 5), &host);
    let ready = repository.seal("ready", &installing, &()).unwrap();
    let chain: Vec<_> = ready.chain().unwrap().iter().map(|layer| layer.name().to_owned()).collect();
    assert_eq!(chain, ["ready", "patched", "os"]);

    // Both see all three, at the same time.
    let all = CommandLine::new([Mode::BlkVerify, Mode::Echo]).seed(5);
    let one = repository.instantiate(&ready, "one").unwrap();
    let two = repository.instantiate(&ready, "two").unwrap();
    let mut guests = [&one, &two].map(|vm| Guest::start(with_line(vm, &all), &host).unwrap());
    for guest in &mut guests {
        guest.expect(demo::ECHO_READY);
    }
    // A running VM is unaffected, and the layers below it are not removed.
    for error in [
        repository.remove_vm(one.uuid()).unwrap_err(),
        repository.flatten(&one, &()).unwrap_err(),
        repository.seal("busy", &one, &()).unwrap_err(),
        repository.seal("busy", &guests[1].vm, &()).unwrap_err(),
    ] {
        assert!([ErrorKind::Busy, ErrorKind::InvalidState].contains(&error.kind()), "{error}");
    }
    assert_eq!(repository.remove_template(&ready).unwrap_err().kind(), ErrorKind::InUse);
    for guest in guests {
        guest.vm.hard_shutdown().unwrap();
        guest.expect_event(&Event::Started);
        guest.expect_event(&Event::HardShutdown);
    }

    // Neither the other nor the template sees what one writes.
    run(&one, &write(0, 9), &host);
    let verify = |seed| CommandLine::new([Mode::BlkVerify, Mode::PowerOff]).seed(seed);
    run(&one, &verify(9).disk(0), &host);
    run(&two, &verify(5), &host);
    assert_eq!(repository.check(&()).unwrap().problems, []);

    // Once independent, it still has all its data.
    let flat = repository.flatten(&two, &()).unwrap();
    run(&flat, &verify(5), &host);
}
