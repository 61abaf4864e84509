//! Snapshot views of the disks of a running VM.

use std::path::Path;
use std::sync::Arc;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::vm::{Event, PowerState};

use crate::host;
use crate::support::{Guest, config};

const DISK_SIZE: u64 = 16 << 20;

fn load() -> VmConfig {
    config(&CommandLine::new([Mode::BlkLoad]).blocks(40).every(1)).vcpus(2)
}

fn image(folder: &Path, name: &str, format: ImageFormat) -> std::path::PathBuf {
    let path = folder.join(name);
    disk::create(&path, format, DISK_SIZE).unwrap();
    path
}

fn all(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut bytes = vec![0xee; disk.capacity() as usize];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], 0).unwrap();
    bytes
}

/// Waits until the guest has begun and ended a whole round on both disks.
fn wait_for_a_round(guest: &mut Guest) {
    for text in ["blk 1: round", "blk 0: round", "blk 1: round"] {
        guest.expect(text);
    }
}

#[test]
fn a_view_is_the_state_at_the_point_while_the_guest_overwrites_everything() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let open = |path| disk::open(path, None, Access::ReadWrite).unwrap();
    let backends = [("a.raw", ImageFormat::Raw), ("b.qcow2", ImageFormat::Qcow2)]
        .map(|(name, format)| open(image(folder.path(), name, format)));
    let config = backends.iter().fold(load(), |config, disk| config.disk(Disk::backend(Arc::clone(disk))));
    let mut guest = Guest::start(config, &host).unwrap();
    wait_for_a_round(&mut guest);
    guest.vm.pause().unwrap();
    let states = [0, 1].map(|disk: usize| all(&*backends[disk]));
    let views = guest.vm.snapshot_views(folder.path()).unwrap();
    guest.vm.unpause().unwrap();
    for _ in 0..2 {
        for (view, state) in views.iter().zip(&states) {
            assert!(all(&**view) == *state);
        }
        wait_for_a_round(&mut guest);
    }
    for (view, (state, disk)) in views.iter().zip(states.iter().zip(&backends)) {
        assert!(all(&**view) == *state);
        assert!(all(&**disk) != *state, "the guest did not write");
    }
}

#[test]
fn a_point_of_a_running_vm_does_not_stop_it_and_does_not_change() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let paths = [("a.raw", ImageFormat::Raw), ("b.qcow2", ImageFormat::Qcow2)]
        .map(|(name, format)| image(folder.path(), name, format));
    let config = paths.iter().fold(load(), |config, path| config.disk(Disk::open(path).unwrap()));
    let mut guest = Guest::start(config, &host).unwrap();
    wait_for_a_round(&mut guest);
    let views = guest.vm.snapshot_views(folder.path()).unwrap();
    assert_eq!(guest.vm.power_state(), PowerState::Running);
    let first = [0, 1].map(|disk: usize| all(&*views[disk]));
    wait_for_a_round(&mut guest);
    let second = [0, 1].map(|disk: usize| all(&*views[disk]));
    assert!(first == second);
    let later = guest.vm.snapshot_views(folder.path()).unwrap();
    assert!((0..2).all(|disk| all(&*later[disk]) != first[disk]));
    drop(later);

    // A view may be kept after the run, and the VM can still be started again.
    guest.vm.hard_shutdown().unwrap();
    assert_eq!(disk::open(&paths[0], None, Access::ReadOnly).unwrap_err().kind(), ErrorKind::Busy);
    guest.vm.start().unwrap();
    guest.expect("blk 1: round");
    assert!([0, 1].map(|disk: usize| all(&*views[disk])) == first);
    let events = std::iter::from_fn(|| guest.events.try_next().unwrap()).map(|record| record.event).collect::<Vec<_>>();
    assert_eq!(events, [Event::Started, Event::HardShutdown, Event::Started]);
    guest.vm.hard_shutdown().unwrap();
    drop(views);
    disk::open(&paths[0], None, Access::ReadWrite).unwrap();
}

#[test]
fn the_disks_of_a_halted_vm_are_read_as_they_are() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "a.raw", ImageFormat::Raw);
    let vm = load().disk(Disk::open(&path).unwrap()).build(&host).unwrap();
    let views = vm.snapshot_views(folder.path()).unwrap();
    assert!(all(&*views[0]).iter().all(|byte| *byte == 0));
    assert_eq!(views[0].next_data(0).unwrap(), None);
    assert_eq!(vm.start().unwrap_err().kind(), ErrorKind::Busy);
    drop(views);
    vm.start().unwrap();
}
