//! The machine's operations on every virtio device: pause, save, restore, reset.

use std::iter::successors;
use std::sync::Arc;

use xvirt_testing::random::Random;

use super::hostile::{Everything, scribble};
use crate::config::IoEngine;
use crate::device::Device;
use crate::device::testing::RoundTrip;
use crate::pci::PciFunction;
use crate::virtio::testing::{DATA, Piece, Rig};
use crate::virtio::{
    Balloon, BalloonState, Block, BlockState, Console, ConsoleState, DeviceKind, DeviceState, Net, NetState, Rng,
    VirtioDevice, VirtioPciState, Vsock, VsockState,
};

/// How often a device is saved while its driver keeps it busy.
const ROUNDS: usize = 100;

/// The kind of device that is tested after `kind`. A kind that is not here does not compile.
fn next(kind: &DeviceKind) -> Option<DeviceKind> {
    match kind {
        DeviceKind::Net => Some(DeviceKind::Block),
        DeviceKind::Block => Some(DeviceKind::Console),
        DeviceKind::Console => Some(DeviceKind::Rng),
        DeviceKind::Rng => Some(DeviceKind::Balloon),
        DeviceKind::Balloon => Some(DeviceKind::Vsock),
        DeviceKind::Vsock => None,
    }
}

/// A device of a kind, new or from a saved state.
fn device(kind: DeviceKind, state: Option<DeviceState>) -> Arc<dyn VirtioDevice> {
    let moved = state.is_some();
    let new = || match kind {
        DeviceKind::Net => DeviceState::Net(NetState::new([2; 6], Some(1400))),
        DeviceKind::Block => DeviceState::Block(BlockState::new(&*Everything::new(), "one", 2)),
        DeviceKind::Console => DeviceState::Console(ConsoleState::default()),
        DeviceKind::Rng => DeviceState::Rng,
        DeviceKind::Balloon => DeviceState::Balloon(BalloonState::new(3, true)),
        DeviceKind::Vsock => DeviceState::Vsock(VsockState { guest_cid: 3 }),
    };
    let everything = Everything::new();
    match state.unwrap_or_else(new) {
        DeviceState::Net(state) => Arc::new(Net::new(everything, state)),
        DeviceState::Block(state) => Arc::new(Block::new(everything, IoEngine::Auto, Arc::new(|_| {}), state).unwrap()),
        DeviceState::Console(state) => Arc::new(Console::new(everything.clone(), everything, state)),
        DeviceState::Rng => Arc::new(Rng),
        DeviceState::Balloon(state) => Arc::new(Balloon::new(None, state).unwrap()),
        DeviceState::Vsock(state) => {
            let folder = tempfile::tempdir().unwrap();
            Arc::new(Vsock::new(&folder.path().join("s"), state, moved).unwrap())
        }
    }
}

/// Saves a device that a guest has used, restores it, and resets it.
fn go_round(kind: DeviceKind) {
    let mut rig = Rig::new(device(kind, None));
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
        device(kind, Some(state.device.clone()))
    });
    rig.pci.reset().unwrap();
    assert_eq!(rig.pci.save().unwrap(), new);
    rig.pci.resume();
}

/// Saves a device again and again at moments at which its driver keeps it busy, and goes on with the restored one.
fn save_under_load(kind: DeviceKind) {
    let mut random = Random::new(kind as u64);
    let mut rig = Rig::new(device(kind, None));
    let queues = device(kind, None).queue_sizes().len();
    for round in 0..ROUNDS {
        // A driver that has violated the protocol has to start again.
        if round % 4 == 0 {
            rig.start(rig.offered());
        }
        for queue in 0..queues {
            scribble(&mut rig, queue, &mut random);
            rig.kick(queue);
        }
        rig.pci.pause();
        let saved = rig.pci.save().unwrap();
        assert_eq!(rig.pci.save().unwrap(), saved, "round {round}");
        rig = rig.moved(|state| {
            assert_eq!(*state, saved, "round {round}");
            device(kind, Some(state.device.clone()))
        });
        rig.pci.resume();
    }
}

impl RoundTrip for VirtioPciState {
    fn round_trip() {
        for kind in successors(Some(DeviceKind::Net), next) {
            println!("{}", kind.name());
            go_round(kind);
            save_under_load(kind);
        }
    }
}
