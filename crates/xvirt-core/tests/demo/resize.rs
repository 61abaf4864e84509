//! Disks that grow while a guest runs.

use std::fs::{self, File};

use xvirt_core::ErrorKind;
use xvirt_core::config::Disk;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::vm::Event;

use crate::host;
use crate::support::{Guest, config};

const DISK_SIZE: u64 = 16 << 20;
const GROWN: u64 = 24 << 20;

fn sector(disk: &dyn BlockBackend, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0xee; 512];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
    bytes
}

#[test]
fn a_guest_sees_a_grown_disk_at_once_and_goes_on_with_it() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    disk::create(path("a.raw"), ImageFormat::Raw, DISK_SIZE).unwrap();
    disk::create(path("b.qcow2"), ImageFormat::Qcow2, DISK_SIZE).unwrap();
    fs::write(path("base"), vec![0xaa; DISK_SIZE as usize]).unwrap();
    disk::overlay(path("base"), Some(ImageFormat::Raw), path("c.qcow2")).unwrap();
    let line = CommandLine::new([Mode::BlkLoad]).blocks(20).every(1);
    let config = ["a.raw", "b.qcow2", "c.qcow2"]
        .iter()
        .fold(config(&line), |config, name| config.disk(Disk::open(path(name)).unwrap()));
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect_event(&Event::Started);
    guest.expect("blk 2: round 1");
    let view = guest.vm.snapshot_views(folder.path()).unwrap().swap_remove(0);
    for (disk, size) in [(0, GROWN), (1, GROWN), (2, GROWN)] {
        guest.vm.resize_disk(disk, size).unwrap();
        guest.expect_event(&Event::DiskResized { disk, size });
        guest.expect(&format!("blk {disk}: resized sectors={}", size / 512));
        guest.expect(&format!("blk {disk}: round"));
    }
    // If the size is unchanged, there is no event.
    guest.vm.resize_disk(0, GROWN).unwrap();
    assert_eq!(view.capacity(), DISK_SIZE);
    sector(&*view, DISK_SIZE - 512);
    for (size, what) in [(GROWN - 512, "cannot shrink"), (GROWN + 1, "cannot have")] {
        let error = guest.vm.resize_disk(0, size).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(what) && error.remedy().is_some(), "{error}");
    }
    assert_eq!(guest.vm.resize_disk(3, GROWN).unwrap_err().kind(), ErrorKind::NotFound);
    guest.vm.hard_shutdown().unwrap();
    guest.expect_event(&Event::HardShutdown);
    drop(view);
    for (name, size) in [("a.raw", GROWN), ("b.qcow2", GROWN), ("c.qcow2", GROWN)] {
        let disk = disk::open(path(name), None, Access::ReadOnly).unwrap();
        assert_eq!(disk.capacity(), size, "{name}");
        assert_eq!(sector(&*disk, size - 512), vec![0; 512], "{name}");
    }
}

#[test]
fn a_disk_of_a_halted_vm_grows() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2, fixed) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
    disk::create(&raw, ImageFormat::Raw, DISK_SIZE).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK_SIZE).unwrap();
    File::create(&fixed).unwrap().set_len(DISK_SIZE).unwrap();
    let vm = config(&CommandLine::new([Mode::Hello]))
        .disk(Disk::raw(&raw))
        .disk(Disk::qcow2(&qcow2))
        .disk(Disk::raw(&fixed).read_only())
        .build(&host)
        .unwrap();
    for (disk, path) in [(0, &raw), (1, &qcow2)] {
        vm.resize_disk(disk, GROWN).unwrap();
        assert_eq!(disk::inspect(path, None).unwrap().virtual_size, GROWN);
    }
    assert_eq!(vm.resize_disk(2, GROWN).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(fs::metadata(&fixed).unwrap().len(), DISK_SIZE);
    let held = disk::open(&raw, None, Access::ReadOnly).unwrap();
    assert_eq!(vm.resize_disk(0, 2 * GROWN).unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    vm.start().unwrap();
}
