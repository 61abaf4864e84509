//! Virtio devices in a whole VM.

use std::fs::File;

use xvirt_core::ErrorKind;
use xvirt_core::config::Disk;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const DISK_SIZE: u64 = 64 << 20;

#[test]
fn both_consoles_the_disks_and_the_entropy_device_work() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2, fixed) = (folder.path().join("a.raw"), folder.path().join("b.qcow2"), folder.path().join("c.raw"));
    disk::create(&raw, ImageFormat::Raw, DISK_SIZE).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK_SIZE).unwrap();
    File::create(&fixed).unwrap().set_len(DISK_SIZE).unwrap();
    let line = CommandLine::new([Mode::Rng, Mode::Blk, Mode::PowerOff]).seed(7);
    let config = config(&line)
        .vcpus(2)
        .disk(Disk::open(&raw).unwrap().serial("root"))
        .disk(Disk::open(&qcow2).unwrap())
        .disk(Disk::raw(&fixed).read_only());
    let mut guest = Guest::start(config, &host).unwrap();
    let text = guest.expect(demo::DONE);
    for expected in [
        "rng 0: bytes=",
        "blk 0: serial=root sectors=131072 queues=2 readonly=no",
        "blk 0: ok",
        "blk 1: ok",
        "readonly=yes",
        "blk 2: ok",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    guest.vm.wait_halted(PATIENCE).unwrap();
    let virtio = guest.vm.virtio_console().reader().wait_for(demo::DONE, PATIENCE).unwrap();
    assert!(virtio.contains("blk 0: ok"), "{virtio}");
}

#[test]
fn what_a_guest_wrote_is_there_at_the_next_start() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let disks: Vec<_> = [("a.raw", ImageFormat::Raw), ("b.qcow2", ImageFormat::Qcow2)]
        .map(|(name, format)| {
            let path = folder.path().join(name);
            disk::create(&path, format, DISK_SIZE).unwrap();
            Disk::open(path).unwrap()
        })
        .into();
    for mode in [Mode::Blk, Mode::BlkVerify] {
        let line = CommandLine::new([mode, Mode::PowerOff]).seed(3).blocks(100);
        let config = disks.iter().fold(config(&line), |config, disk| config.disk(disk.clone()));
        let mut guest = Guest::start(config, &host).unwrap();
        let text = guest.expect(demo::DONE);
        guest.vm.wait_halted(PATIENCE).unwrap();
        assert!(text.contains("blk 0: ok") && text.contains("blk 1: ok"), "{text}");
    }
}

#[test]
fn the_disk_of_a_running_vm_is_locked() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, DISK_SIZE).unwrap();
    let config = || config(&CommandLine::new([Mode::Hello])).disk(Disk::open(&path).unwrap());
    let first = Guest::start(config(), &host).unwrap();
    let second = config().build(&host).unwrap();
    let error = second.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    first.vm.hard_shutdown().unwrap();
    second.start().unwrap();
}
