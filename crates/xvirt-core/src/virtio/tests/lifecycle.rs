//! The machine's operations on every virtio device: pause, save, restore, reset.

use std::sync::Arc;

use super::hostile::Everything;
use crate::config::IoEngine;
use crate::device::Device;
use crate::pci::PciFunction;
use crate::virtio::testing::{DATA, Piece, Rig};
use crate::virtio::{
    Balloon, BalloonState, Block, BlockState, Console, ConsoleState, DeviceState, Net, NetState, Rng, VirtioDevice,
    Vsock, VsockState,
};

/// Saves a device that a guest has used, restores it with `make`, and resets it.
fn go_round(make: impl Fn(Option<DeviceState>) -> Arc<dyn VirtioDevice>) {
    let mut rig = Rig::new(make(None));
    rig.pci.pause();
    let new = rig.pci.save().unwrap();
    rig.pci.resume();
    rig.start(rig.offered());
    rig.write(0x2004, &7_u32.to_le_bytes());
    rig.pci.config_write(0x3c, &[11]);
    rig.pci.config_changed();
    rig.post(0, &[Piece::Write(DATA, 64)]);
    rig.kick(0);
    rig.pci.pause();
    let used = rig.pci.save().unwrap();
    assert_ne!(used, new);
    // The restored device works, and saves the same state.
    let rig = rig.moved(|state| {
        assert_eq!(*state, used);
        make(Some(state.device.clone()))
    });
    rig.pci.reset().unwrap();
    assert_eq!(rig.pci.save().unwrap(), new);
    rig.pci.resume();
}

#[test]
fn a_disk_goes_round() {
    go_round(|state| {
        let state = match state {
            Some(DeviceState::Block(state)) => state,
            _ => BlockState::new(&*Everything::new(), "one", 2),
        };
        Arc::new(Block::new(Everything::new(), IoEngine::Auto, Arc::new(|_| {}), state).unwrap())
    });
}

#[test]
fn a_network_card_goes_round() {
    go_round(|state| {
        let state = match state {
            Some(DeviceState::Net(state)) => state,
            _ => NetState::new([2; 6], Some(1400)),
        };
        Arc::new(Net::new(Everything::new(), state))
    });
}

#[test]
fn a_console_and_an_entropy_source_go_round() {
    go_round(|state| {
        let state = match state {
            Some(DeviceState::Console(state)) => state,
            _ => ConsoleState::default(),
        };
        Arc::new(Console::new(Everything::new(), Everything::new(), state))
    });
    go_round(|_| Arc::new(Rng));
}

#[test]
fn a_balloon_goes_round() {
    go_round(|state| {
        let state = match state {
            Some(DeviceState::Balloon(state)) => state,
            _ => BalloonState::new(3, true),
        };
        Arc::new(Balloon::new(None, state).unwrap())
    });
}

#[test]
fn a_socket_device_goes_round() {
    go_round(|state| {
        let moved = state.is_some();
        let state = match state {
            Some(DeviceState::Vsock(state)) => state,
            _ => VsockState { guest_cid: 3 },
        };
        let folder = tempfile::tempdir().unwrap();
        Arc::new(Vsock::new(&folder.path().join("s"), state, moved).unwrap())
    });
}
