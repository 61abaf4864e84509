//! Virtio devices of a whole VM.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Disk, Nic};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, BlockBackend, ImageFormat};
use xvirt_core::net::{MacAddress, Tap};
use xvirt_core::vm::{Event, IoOperation};

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

/// A full disk: it reads as zeroes and cannot be written.
#[derive(Debug)]
struct Full {
    size: u64,
}

impl BlockBackend for Full {
    fn capacity(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        buffers.iter().for_each(|buffer| buffer.copy_from(&vec![0u8; buffer.len()]));
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_backend_of_broken_sectors_is_refused() {
    let host = host!();
    for size in [0, 511, (1 << 20) + 1] {
        let config = config(&CommandLine::new([Mode::PowerOff])).disk(Disk::backend(Arc::new(Full { size })));
        let error = config.build(&host).unwrap().start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(&format!("has {size} bytes")), "{error}");
    }
}

#[test]
fn a_full_disk_is_an_error_to_the_guest_and_an_event_to_the_embedder() {
    let host = host!();
    let line = CommandLine::new([Mode::Blk, Mode::PowerOff]);
    let mut guest = Guest::start(config(&line).disk(Disk::backend(Arc::new(Full { size: DISK_SIZE }))), &host).unwrap();
    let text = guest.expect(demo::FAILED);
    assert!(text.contains("blk 0: write error status=1"), "{text}");
    guest.expect_event(&Event::Started);
    match guest.events.next_timeout(PATIENCE).map(|record| record.event) {
        Ok(Event::IoError { disk: 0, operation: IoOperation::Write, reason, .. }) => {
            assert!(reason.contains("No space left"), "{reason}");
        }
        other => panic!("{other:?} is not an I/O error"),
    }
}

#[test]
fn frames_cross_the_tap_both_ways_and_the_link_goes_down_and_up() {
    let host = host!();
    let skip = |why: &str| println!("SKIPPED frames_cross_the_tap_both_ways_and_the_link_goes_down_and_up: {why}");
    if Command::new("ping").arg("-V").output().is_err() {
        return skip("ping is not installed");
    }
    let tap = match Tap::create(None) {
        Ok(tap) => tap,
        Err(error) => return skip(&error.to_string()),
    };
    tap.set_address(Ipv4Addr::new(10, 91, 7, 1), 24).unwrap();
    tap.set_up().unwrap();
    let mac: MacAddress = "02:00:00:00:00:07".parse().unwrap();
    let nic = Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap()).mac(mac).mtu(1400);
    let line = CommandLine::new([Mode::Net, Mode::Echo]).ip(Ipv4Addr::new(10, 91, 7, 2));
    let mut guest = Guest::start(config(&line).nic(nic), &host).unwrap();
    let text = guest.expect(demo::ECHO_READY);
    assert!(text.contains("net 0: mac=02:00:00:00:00:07 mtu=1400 link=up"), "{text}");
    let ping = Command::new("ping").args(["-c", "3", "-W", "20", "10.91.7.2"]).output().unwrap();
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    let [status] = &guest.vm.nics()[..] else { panic!("not one NIC") };
    assert_eq!((status.interface.as_str(), status.mac, status.link_up), (tap.name(), mac, true));
    guest.vm.set_link(0, false).unwrap();
    guest.expect("net 0: link=down");
    guest.vm.set_link(0, true).unwrap();
    guest.expect("net 0: link=up");
}
