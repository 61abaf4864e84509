//! Disks and network interfaces that are plugged and unplugged while a guest runs, and while none does.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Disk, Nic, VmConfig};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_core::vm::{Device, Event, PowerState};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const DISK_SIZE: u64 = 1 << 20;

fn image(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    disk::create(&path, ImageFormat::Raw, DISK_SIZE).unwrap();
    path
}

fn listening() -> CommandLine {
    CommandLine::new([Mode::HotPlug, Mode::Echo]).blocks(4)
}

/// A guest that supports hot plug, with the disks of these names.
fn start(host: &xvirt_core::host::Host, folder: &Path, names: &[&str]) -> Guest {
    let config = names.iter().fold(config(&listening()), |config, name| config.disk(Disk::raw(image(folder, name))));
    let mut guest = Guest::start(config, host).unwrap();
    guest.expect("echo: ready");
    guest.expect_event(&Event::Started);
    guest
}

fn is_free(path: &Path) -> bool {
    disk::open(path, Some(ImageFormat::Raw), Access::ReadWrite).is_ok()
}

#[test]
fn a_disk_comes_works_and_goes_and_others_keep_their_positions() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = start(&host, folder.path(), &["a", "b"]);
    let path = image(folder.path(), "c");
    assert_eq!(guest.vm.plug_disk(Disk::raw(&path).serial("third")).unwrap(), 2);
    guest.expect_event(&Event::DiskPlugged { disk: 2 });
    let text = guest.expect("hotplug: slot 3 plugged");
    assert!(text.contains("serial=third sectors=2048") && text.contains("blk 0: ok"), "{text}");
    assert!(!is_free(&path));

    guest.vm.unplug_disk(2, PATIENCE).unwrap();
    guest.expect("hotplug: slot 3 let go");
    guest.expect_event(&Event::DiskUnplugged { disk: 2 });
    assert!(is_free(&path));

    guest.vm.plug_disk(Disk::raw(&path)).unwrap();
    guest.expect("hotplug: slot 3 plugged");
    // Unplugging the first does not move the last, and its position is the next to be used.
    guest.vm.unplug_disk(0, PATIENCE).unwrap();
    assert_eq!(guest.vm.disk_positions(), [1, 2]);
    assert_eq!(guest.vm.snapshot_views(folder.path()).unwrap().len(), 2);
    assert_eq!(guest.vm.plug_disk(Disk::raw(folder.path().join("a"))).unwrap(), 0);
    guest.expect("hotplug: slot 1 plugged");
}

#[test]
fn a_plugged_disk_stays_across_reboots_and_starts() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = start(&host, folder.path(), &["a"]);
    guest.vm.plug_disk(Disk::raw(image(folder.path(), "b"))).unwrap();
    guest.expect("hotplug: slot 2 plugged");
    // The guest finds it by a scan, so there is no notification.
    guest.vm.hard_reboot().unwrap();
    assert!(!guest.expect("echo: ready").contains("hotplug: slot"));
    guest.vm.unplug_disk(1, PATIENCE).unwrap();
    guest.vm.plug_disk(Disk::raw(folder.path().join("b"))).unwrap();
    guest.expect("hotplug: slot 2 plugged");
    guest.vm.hard_shutdown().unwrap();
    guest.vm.start().unwrap();
    guest.expect("echo: ready");
    assert!(!is_free(&folder.path().join("b")));
}

#[test]
fn a_halted_vm_has_its_new_disks_at_the_next_start() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let line = CommandLine::new([Mode::Blk, Mode::PowerOff]).blocks(4);
    let vm = config(&line).disk(Disk::raw(image(folder.path(), "a")).serial("first")).build(&host).unwrap();
    assert_eq!(vm.plug_disk(Disk::raw(image(folder.path(), "b")).serial("second")).unwrap(), 1);
    vm.unplug_disk(0, Duration::ZERO).unwrap();
    assert_eq!(vm.disk_positions(), [1]);
    let error = vm.unplug_disk(0, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.remedy().is_some(), "{error}");
    vm.start().unwrap();
    let text = vm.console().reader().wait_for("demo: done", PATIENCE).unwrap();
    assert!(text.contains("blk 0: serial=second") && !text.contains("blk 1"), "{text}");
    vm.wait_halted(PATIENCE).unwrap();
}

#[test]
fn a_guest_that_does_not_answer_keeps_its_disk_until_it_does() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a");
    let line = CommandLine::new([Mode::Echo]);
    let mut guest = Guest::start(config(&line).disk(Disk::raw(&path)), &host).unwrap();
    guest.expect("echo: ready");
    guest.expect_event(&Event::Started);
    let error = guest.vm.unplug_disk(0, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("did not eject disk 0 within 20ms; stop what uses it"), "{error}");
    assert!(!is_free(&path));
    assert_eq!(guest.vm.disk_positions(), [0]);
    // Nothing waits for its removal any more, so a reset does not remove it.
    guest.vm.hard_reboot().unwrap();
    guest.expect_event(&Event::HardReset);
    guest.expect("echo: ready");
    assert_eq!(guest.vm.disk_positions(), [0]);

    guest.vm.console().write_all(b"eject 1\n").unwrap();
    guest.expect_event(&Event::DiskUnplugged { disk: 0 });
    assert!(is_free(&path));
    // The guest cannot eject the devices of every VM, nor an empty slot.
    guest.vm.console().write_all(b"eject 31\neject 0\neject 1\neject 7\nping\n").unwrap();
    guest.expect("pong");
    guest.vm.clean_shutdown(PATIENCE).unwrap();
    guest.expect_event(&Event::GuestShutdown);
}

#[test]
fn whatever_ends_the_guest_ends_its_use_of_a_disk() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| image(folder.path(), name));
    // It does not handle hot plug.
    let config = paths.iter().fold(config(&CommandLine::new([Mode::Echo])), |c, path| c.disk(Disk::raw(path)));
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect("echo: ready");
    std::thread::scope(|scope| {
        let unplugged = scope.spawn(|| guest.vm.unplug_disk(0, PATIENCE));
        // Whether the reset comes before the request or after it, the next reset ejects the disk.
        while !unplugged.is_finished() {
            guest.vm.hard_reboot().unwrap();
        }
        unplugged.join().unwrap().unwrap();
        assert_eq!(guest.vm.disk_positions(), [1]);
        let unplugged = scope.spawn(|| guest.vm.unplug_disk(1, PATIENCE));
        guest.vm.hard_shutdown().unwrap();
        unplugged.join().unwrap().unwrap();
    });
    assert_eq!(guest.vm.disk_positions(), [0; 0]);
    assert!(paths.iter().all(|path| is_free(path)));
    guest.vm.start().unwrap();
}

#[test]
fn a_paused_vm_takes_a_disk_and_shows_it_when_it_goes_on() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = start(&host, folder.path(), &[]);
    guest.vm.pause().unwrap();
    guest.vm.plug_disk(Disk::raw(image(folder.path(), "a"))).unwrap();
    assert_eq!(guest.vm.unplug_disk(0, Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::Timeout);
    guest.vm.unpause().unwrap();
    let text = guest.expect("hotplug: slot 1 plugged");
    assert!(text.contains("blk 0: ok") && !text.contains("let go"), "{text}");
    assert_eq!(guest.vm.power_state(), PowerState::Running);
}

#[test]
fn a_network_card_comes_sends_and_goes() {
    let host = host!();
    if let Err(error) = Tap::create(None) {
        return println!("SKIPPED a_network_card_comes_sends_and_goes: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut guest = start(&host, folder.path(), &["a"]);
    let mac = "02:00:00:00:00:09".parse().unwrap();
    assert_eq!(guest.vm.plug_nic(Nic::new_tap().mac(mac)).unwrap(), 0);
    let text = guest.expect("hotplug: slot 2 plugged");
    assert!(text.contains("mac=02:00:00:00:00:09") && text.contains("net 0: sent"), "{text}");
    assert_eq!(guest.vm.plug_nic(Nic::new_tap()).unwrap(), 1);
    guest.expect("hotplug: slot 3 plugged");
    let [first, second] = &guest.vm.nics()[..] else { panic!("not two NICs") };
    assert_eq!((first.position, first.mac, second.position), (0, mac, 1));
    let interface = first.interface.clone();

    guest.vm.unplug_nic(0, PATIENCE).unwrap();
    assert!(!Path::new("/sys/class/net").join(interface).exists());
    assert_eq!(guest.vm.nics().iter().map(|nic| nic.position).collect::<Vec<_>>(), [1]);
    guest.vm.set_link(1, false).unwrap();
    guest.expect("net 1: link=down");
    assert_eq!(guest.vm.set_link(0, false).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_device_that_the_host_cannot_serve_is_told() {
    let host = host!();
    let tap = match Tap::create(None) {
        Ok(tap) => tap,
        Err(error) => return println!("SKIPPED a_device_that_the_host_cannot_serve_is_told: {error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let guest = start(&host, folder.path(), &["a"]);
    guest.vm.pause().unwrap();
    guest.expect_event(&Event::Paused);
    let nic = Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap());
    guest.vm.plug_nic(nic).unwrap();
    guest.expect_event(&Event::NicPlugged { nic: 0 });
    // The interface is removed before the guest has detected it.
    let removed = Command::new("ip").args(["link", "delete", tap.name()]).status();
    if !removed.is_ok_and(|status| status.success()) {
        return println!("SKIPPED a_device_that_the_host_cannot_serve_is_told: the tap cannot be removed");
    }
    guest.vm.unpause().unwrap();
    guest.expect_event(&Event::Unpaused);
    match guest.events.next_timeout(PATIENCE).map(|record| record.event) {
        Ok(Event::DeviceFailed { device: Device::Nic(0), reason }) => {
            assert!(reason.contains("cannot set offloads"), "{reason}");
        }
        other => panic!("{other:?} is not that the NIC cannot be served"),
    }
    assert_eq!(guest.vm.power_state(), PowerState::Running);
}

#[test]
fn what_cannot_be_plugged_in_leaves_all_as_it_was() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = start(&host, folder.path(), &["a"]);
    let missing = Disk::raw(folder.path().join("missing"));
    assert_eq!(guest.vm.plug_disk(missing).unwrap_err().kind(), ErrorKind::NotFound);
    let taken = Disk::raw(folder.path().join("a"));
    let error = guest.vm.plug_disk(taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("is used twice by the VM"), "{error}");
    std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("link")).unwrap();
    let taken = Disk::raw(folder.path().join("link"));
    assert_eq!(guest.vm.plug_disk(taken).unwrap_err().kind(), ErrorKind::Busy);
    let odd = Disk::raw(image(folder.path(), "b")).serial("x".repeat(21));
    assert_eq!(guest.vm.plug_disk(odd).unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert_eq!(guest.vm.disk_positions(), [0]);
    let more = (0..26).map(|n| Disk::raw(image(folder.path(), &format!("more{n}"))).read_only());
    for disk in more {
        guest.vm.plug_disk(disk).unwrap();
    }
    let error = guest.vm.plug_disk(Disk::raw(folder.path().join("b"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("unplug one"), "{error}");
    assert!(is_free(&folder.path().join("b")));
    guest.vm.console().write_all(b"ping\n").unwrap();
    guest.expect("pong");
}

#[test]
fn verbs_come_between() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let config: VmConfig = config(&listening()).disk(Disk::raw(image(folder.path(), "a")));
    let vm = config.build(&host).unwrap();
    let allowed = [ErrorKind::InvalidState, ErrorKind::Timeout, ErrorKind::NotFound];
    std::thread::scope(|scope| {
        for name in ["b", "c"] {
            let (path, vm) = (image(folder.path(), name), &vm);
            scope.spawn(move || {
                for _ in 0..20 {
                    let position = vm.plug_disk(Disk::raw(&path)).unwrap();
                    if vm.unplug_disk(position, Duration::from_millis(20)).is_err() {
                        vm.unplug_disk(position, PATIENCE).unwrap();
                    }
                    assert!(is_free(&path));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                let verbs = [vm.start(), vm.pause(), vm.unpause(), vm.hard_reboot(), vm.hard_shutdown()];
                for error in verbs.into_iter().filter_map(Result::err) {
                    assert!(allowed.contains(&error.kind()), "{error}");
                }
            }
        });
    });
    assert_eq!(vm.disk_positions(), [0]);
}
