//! Drivers that write random data into their rings. No device may panic, hang, or ignore pause and reset.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use xvirt_testing::random::Random;

use crate::config::IoEngine;
use crate::console::ConsolePort;
use crate::device::Device;
use crate::disk::BlockBackend;
use crate::memory::GuestSlice;
use crate::net::Offloads;
use crate::port::PortBackend;
use crate::virtio::net::NetBackend;
use crate::virtio::testing::{DATA, RAM, Rig, SIZE, base};
use crate::virtio::{Block, BlockState, Console, ConsoleState, Net, NetState, Rng, VirtioDevice, Vsock, VsockState};

/// A backend that always has input and accepts all output.
#[derive(Debug)]
pub(super) struct Everything(EventFd);

impl Everything {
    pub(super) fn new() -> Arc<Self> {
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        event.write(1).unwrap();
        Arc::new(Self(event))
    }
}

impl ConsolePort for Everything {
    fn output(&self, _: &[u8]) {}

    fn read_input(&self, buf: &mut [u8]) -> usize {
        buf.fill(b'x');
        buf.len()
    }

    fn input_event(&self) -> &EventFd {
        &self.0
    }
}

impl PortBackend for Everything {
    fn name(&self) -> &str {
        "everything"
    }

    fn set_open(&self, _: bool) {}

    /// But not all of it at once.
    fn output(&self, bytes: &[u8]) -> usize {
        bytes.len().div_ceil(2)
    }

    fn read_input(&self, buf: &mut [u8]) -> usize {
        ConsolePort::read_input(self, buf)
    }
}

impl NetBackend for Everything {
    fn input(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        frame[..900].fill(7);
        Ok(900)
    }

    fn send(&self, _: &[GuestSlice<'_>]) -> io::Result<()> {
        Ok(())
    }

    fn set_offloads(&self, _: Offloads) -> crate::Result<()> {
        Ok(())
    }
}

impl BlockBackend for Everything {
    fn capacity(&self) -> u64 {
        1 << 40
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.write(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let length: usize = buffers.iter().map(GuestSlice::len).sum();
        self.discard(offset, length as u64)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset + length <= self.capacity(), "asked for what is beyond the disk");
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _: bool) -> io::Result<()> {
        self.discard(offset, length)
    }
}

/// Writes a mostly valid ring, because a device rejects a mostly invalid one at once.
pub(super) fn scribble(rig: &mut Rig, queue: usize, random: &mut Random) {
    for index in 0..SIZE {
        let address = if random.below(40) == 0 { random.number() } else { DATA + random.below_u64(RAM - DATA) };
        let length = if random.below(30) == 0 { random.number() } else { [0, 1, 12, 16, 512, 4096][random.below(6)] };
        let write = index >= SIZE / 2;
        let flags = if random.below(20) == 0 {
            random.number() as u16
        } else {
            u16::from(write) * 2 + random.below_u64(2) as u16
        };
        let next = if random.below(20) == 0 { random.number() as u16 } else { index + 1 };
        rig.write_descriptor(base(queue) + 16 * u64::from(index), address, length as u32, flags, next);
    }
    // Headers of disk requests, some of which happen to be used as indirect tables.
    let header = [random.below_u64(15).to_le_bytes(), random.below_u64(64).to_le_bytes()].concat();
    for at in (DATA..RAM).step_by(0x1_0000) {
        rig.fill(at, &header);
    }
    for _ in 0..random.below_u64(u64::from(SIZE)) {
        let head =
            if random.below(50) == 0 { random.number() as u16 } else { random.below_u64(u64::from(SIZE)) as u16 };
        rig.offer(queue, head);
    }
    if random.below(50) == 0 {
        rig.set_available(queue, random.number() as u16);
    }
}

fn attack(device: Arc<dyn VirtioDevice>, seed: u64) {
    let queues = device.queue_sizes().len();
    let mut rig = Rig::new(device);
    let mut random = Random::new(seed);
    let features = rig.offered();
    for round in 0..300 {
        rig.start(features & !(random.number() & 0xffff_ffff));
        for _ in 0..3 {
            for queue in 0..queues {
                scribble(&mut rig, queue, &mut random);
                rig.kick(queue);
            }
        }
        rig.pci.pause();
        rig.pci.save().unwrap_or_else(|e| panic!("round {round}: the worker is gone: {e}"));
        rig.pci.resume();
    }
}

#[test]
fn the_disk_survives() {
    let everything = Everything::new();
    let state = BlockState::new(&*everything, "", 2);
    attack(Arc::new(Block::new(everything, IoEngine::Auto, Arc::new(|_| {}), state).unwrap()), 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn the_network_card_survives() {
    let state = NetState::new([2; 6], None);
    attack(Arc::new(Net::new(Everything::new(), state)), 0xd1b5_4a32_d192_ed03);
}

#[test]
fn the_console_survives() {
    attack(
        Arc::new(Console::new(Everything::new(), Everything::new(), ConsoleState::default())),
        0x94d0_49bb_1331_11eb,
    );
}

#[test]
fn the_entropy_source_survives() {
    attack(Arc::new(Rng), 0xbf58_476d_1ce4_e5b9);
}

#[test]
fn the_socket_device_survives() {
    let folder = tempfile::tempdir().unwrap();
    let state = VsockState { guest_cid: 0 };
    attack(Arc::new(Vsock::new(&folder.path().join("s"), state, false).unwrap()), 0x2545_f491_4f6c_dd1d);
}
