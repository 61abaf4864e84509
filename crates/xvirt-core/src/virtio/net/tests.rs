mod control;
mod copies;
mod limits;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::Result;
use crate::config::{ByteSize, NicLimit, RateLimit};
use crate::device::Device;
use crate::memory::GuestSlice;
use crate::net::{FrameStream, Offloads, Tap};
use crate::virtio::testing::{DATA, EVENT_IDX, Piece, Rig, SIZE, base, wait};
use crate::virtio::{DeviceState, NetState, VirtioDevice};

const MERGEABLE: u64 = 1 << 15;
const RX: usize = 0;
const TX: usize = 1;

/// A backend whose other end is a socket.
#[derive(Debug)]
struct Cable {
    end: UnixDatagram,
    offloads: Mutex<Offloads>,
    broken: AtomicBool,
}

impl NetBackend for Cable {
    fn input(&self) -> Option<RawFd> {
        Some(self.end.as_raw_fd())
    }

    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::SeqCst) { Err(io::Error::other("gone")) } else { self.end.recv(frame) }
    }

    fn send(&self, frame: &[GuestSlice<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for piece in frame {
            let mut part = vec![0_u8; piece.len()];
            piece.copy_to(&mut part);
            bytes.extend(part);
        }
        self.end.send(&bytes).map(|_| ())
    }

    fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        *self.offloads.lock().unwrap() = offloads;
        Ok(())
    }
}

fn cable() -> (Arc<Cable>, UnixDatagram) {
    let (end, far) = UnixDatagram::pair().unwrap();
    end.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (Arc::new(Cable { end, offloads: Mutex::default(), broken: AtomicBool::new(false) }), far)
}

fn card(cable: &Arc<Cable>) -> Arc<Net> {
    Arc::new(Net::new(cable.clone(), NetState::new([2, 0, 0, 1, 2, 3], Some(1400))))
}

fn started(features: u64) -> (Rig, UnixDatagram, Arc<Net>, Arc<Cable>) {
    let (cable, far) = cable();
    let net = card(&cable);
    let mut rig = Rig::new(net.clone());
    rig.start(EVENT_IDX | features);
    (rig, far, net, cable)
}

/// A frame of `length` bytes behind a header.
fn frame(length: usize, seed: u8) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend((0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)));
    frame
}

#[test]
fn an_announced_card_is_heard_on_its_cable() {
    let (cable, far) = cable();
    card(&cable).announce();
    let mut frame = [0; 100];
    assert_eq!(far.recv(&mut frame).unwrap(), 72);
    assert_eq!((&frame[12..18], &frame[18..24]), (&[0xff; 6][..], &[2, 0, 0, 1, 2, 3][..]));
}

#[test]
fn the_driver_sees_address_link_and_mtu() {
    let (rig, _, net, _) = started(0);
    assert_eq!((rig.config(0), rig.config(6), rig.config(10)), ([2, 0, 0, 1, 2, 3], [1, 0], 1400_u16.to_le_bytes()));
    net.set_link(false);
    rig.pci.config_changed();
    assert_eq!((rig.config(6), rig.interrupts(3)), ([0, 0], 1));
    let without = Net::new(cable().0, NetState::new([0; 6], None));
    assert_eq!(without.features() & 1 << 3, 0);
    assert_eq!(rig.offered() & 1 << 3, 1 << 3);
}

#[test]
fn frames_go_out_as_they_are() {
    let (mut rig, far, ..) = started(0);
    for (i, length) in [14, 60, 1514, 65_000].into_iter().enumerate() {
        let sent = frame(length, i as u8);
        rig.fill(DATA, &sent);
        let pieces = [Piece::Read(DATA, 5), Piece::Read(DATA + 5, 7), Piece::Read(DATA + 12, length as u32)];
        assert_eq!(rig.request(TX, &pieces), 0);
        let mut got = vec![0; 70_000];
        let count = far.recv(&mut got).unwrap();
        assert!(got[..count] == sent, "{length}");
    }
}

#[test]
fn frames_come_in_whole_and_in_order() {
    let (mut rig, far, ..) = started(0);
    for round in 0..40_u8 {
        let sent = frame(100 + usize::from(round), round);
        far.send(&sent).unwrap();
        rig.post(RX, &[Piece::Write(DATA, 12), Piece::Write(DATA + 0x1000, 2000)]);
        rig.kick(RX);
        assert_eq!(rig.used(RX).1 as usize, sent.len());
        assert_eq!(rig.bytes(DATA, 12)[10..], [1, 0], "one buffer");
        assert!(rig.bytes(DATA + 0x1000, sent.len() - 12) == sent[12..], "{round}");
    }
}

#[test]
fn a_large_frame_is_spread_over_merged_buffers() {
    let (mut rig, far, ..) = started(MERGEABLE);
    let sent = frame(5000, 3);
    for i in 0..4 {
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 2000)]);
    }
    rig.kick(RX);
    far.send(&sent).unwrap();
    let lengths: Vec<_> = (0..3).map(|_| rig.used(RX).1).collect();
    assert_eq!(lengths, [2000, 2000, 1012]);
    let got = [rig.bytes(DATA, 2000), rig.bytes(DATA + 0x1000, 2000), rig.bytes(DATA + 0x2000, 1012)].concat();
    assert_eq!(got[10..12], [3, 0]);
    assert!(got[12..] == sent[12..]);
    far.send(&frame(50, 9)).unwrap();
    assert_eq!(rig.used(RX).1, 62, "the fourth buffer");
}

#[test]
fn a_driver_that_looks_at_any_time_sees_whole_frames() {
    const FRAMES: u16 = 2000;
    let (mut rig, far, ..) = started(MERGEABLE);
    let sent = frame(7000, 5);
    let memory = rig.memory.clone();
    let watching = std::thread::spawn(move || {
        let (mut seen, deadline) = (BTreeSet::new(), Instant::now() + Duration::from_secs(60));
        loop {
            let used: u16 = memory.load(GuestAddress(base(RX) + 0x2002), Ordering::Acquire).unwrap();
            seen.insert(used % 8);
            if used == 8 * FRAMES || Instant::now() > deadline {
                return seen;
            }
        }
    });
    for _ in 0..FRAMES {
        for i in 0..8 {
            rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 1000)]);
        }
        rig.kick(RX);
        far.send(&sent).unwrap();
        for _ in 0..8 {
            rig.used(RX);
        }
    }
    assert_eq!(watching.join().unwrap(), BTreeSet::from([0]), "places within a frame");
}

#[test]
fn a_frame_waits_for_room_and_keeps_its_place() {
    let (mut rig, far, ..) = started(MERGEABLE);
    far.send(&frame(3000, 1)).unwrap();
    far.send(&frame(20, 2)).unwrap();
    rig.post(RX, &[Piece::Write(DATA, 1024)]);
    rig.kick(RX);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(rig.used_index(RX), 0);
    for i in 1..4 {
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 1024)]);
        rig.kick(RX);
    }
    assert_eq!([rig.used(RX).1, rig.used(RX).1, rig.used(RX).1, rig.used(RX).1], [1024, 1024, 964, 32]);
}

#[test]
fn frames_that_never_fit_are_dropped_alone() {
    for (features, buffer) in [(0, 100), (MERGEABLE, 12)] {
        let (mut rig, far, ..) = started(features);
        for i in 0..u64::from(SIZE) {
            rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, buffer)]);
        }
        rig.kick(RX);
        far.send(&frame(500, 1)).unwrap();
        far.send(&frame(8, 2)).unwrap();
        rig.used(RX);
        let got = [rig.bytes(DATA, 12), rig.bytes(DATA + 0x1000, 8)].concat();
        let first = if buffer == 100 { rig.bytes(DATA, 20) } else { got };
        assert!(first[12..] == frame(8, 2)[12..]);
    }
}

#[test]
fn a_lowered_link_loses_frames_both_ways() {
    let (mut rig, far, net, _) = started(0);
    rig.post(RX, &[Piece::Write(DATA, 2000)]);
    rig.kick(RX);
    net.set_link(false);
    far.send(&frame(30, 1)).unwrap();
    rig.fill(DATA + 0x1000, &frame(30, 4));
    rig.request(TX, &[Piece::Read(DATA + 0x1000, 42)]);
    std::thread::sleep(Duration::from_millis(10));
    net.set_link(true);
    far.send(&frame(40, 2)).unwrap();
    assert_eq!(rig.used(RX).1, 52);
    rig.fill(DATA + 0x1000, &frame(31, 5));
    rig.request(TX, &[Piece::Read(DATA + 0x1000, 43)]);
    assert_eq!(far.recv(&mut [0; 100]).unwrap(), 43);
}

#[test]
fn offloads_follow_what_was_negotiated() {
    for (features, expected) in [
        (0, Offloads::default()),
        (1 << 1, Offloads { checksum: true, ..Default::default() }),
        (1 << 1 | 1 << 7 | 1 << 9, Offloads { checksum: true, tso4: true, tso_ecn: true, ..Default::default() }),
        (1 << 7 | 1 << 8, Offloads::default()),
    ] {
        let (_rig, _far, _net, cable) = started(features);
        assert_eq!(*cable.offloads.lock().unwrap(), expected, "{features:#x}");
    }
}

#[test]
fn a_frame_without_header_needs_a_reset_and_a_huge_one_is_lost() {
    let (mut rig, far, ..) = started(0);
    rig.request(TX, &[Piece::Read(DATA, 0x10_0000), Piece::Read(DATA, 0x10_0000)]);
    rig.fill(DATA, &frame(1, 0));
    rig.request(TX, &[Piece::Read(DATA, 13)]);
    assert_eq!(far.recv(&mut [0; 100]).unwrap(), 13);
    rig.post(TX, &[Piece::Read(DATA, 11)]);
    rig.kick(TX);
    rig.wait_needs_reset();
}

/// Collects the reported failures of a card.
fn told(rig: &Rig) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    rig.pci.on_failure(move |error| hears.lock().unwrap().push(error.to_string()));
    told
}

/// The host's administrator removes a tap while the driver waits for frames.
#[test]
fn a_tap_that_is_removed_is_told() {
    crate::net::tests::isolated("a_tap_that_is_removed_is_told", || {
        let tap = Arc::new(Tap::create(None).unwrap());
        let net = Net::new(tap.clone(), NetState::new([2, 0, 0, 1, 2, 3], None));
        let mut rig = Rig::new(Arc::new(net));
        let told = told(&rig);
        rig.start(EVENT_IDX);
        rig.post(RX, &[Piece::Write(DATA, 2000)]);
        rig.kick(RX);
        match Command::new("ip").args(["link", "delete", tap.name()]).status() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return println!("SKIPPED ip is not installed"),
            removed => assert!(removed.unwrap().success()),
        }
        rig.wait_needs_reset();
        rig.set_status(0);
        let reason = told.lock().unwrap()[0].clone();
        assert!(reason.starts_with("cannot read from the network interface: File descriptor in bad state"), "{reason}");
    });
}

#[test]
fn an_interface_that_is_gone_is_told_once() {
    let (mut rig, far, _, cable) = started(0);
    let told = told(&rig);
    rig.post(RX, &[Piece::Write(DATA, 2000)]);
    rig.kick(RX);
    cable.broken.store(true, Ordering::SeqCst);
    far.send(&frame(30, 1)).unwrap();
    rig.wait_needs_reset();
    for _ in 0..100 {
        rig.start(EVENT_IDX);
        rig.wait_needs_reset();
    }
    rig.set_status(0);
    let reason =
        "cannot read from the network interface: gone; unplug it from the VM, and plug in one that exists on the host";
    assert_eq!(*told.lock().unwrap(), [reason]);
}

#[test]
fn a_card_moves_to_another_cable() {
    let (mut rig, far, net, _) = started(MERGEABLE);
    rig.post(RX, &[Piece::Write(DATA, 1000)]);
    rig.kick(RX);
    far.send(&frame(100, 1)).unwrap();
    rig.used(RX);
    rig.post(RX, &[Piece::Write(DATA, 1000)]);
    net.set_link(false);
    let (other, far) = cable();
    let mut moved = None;
    let mut rig = rig.moved(|state| {
        let DeviceState::Net(state) = &state.device else { panic!("not a network card") };
        assert!(!state.link_up);
        let net = Arc::new(Net::new(other.clone(), state.clone()));
        moved = Some(net.clone());
        net
    });
    rig.pci.resume();
    moved.unwrap().set_link(true);
    far.send(&frame(200, 2)).unwrap();
    assert_eq!(rig.used(RX).1, 212);
}

#[test]
fn both_directions_at_once_lose_nothing() {
    let (mut rig, far, ..) = started(MERGEABLE);
    let far_out = far.try_clone().unwrap();
    const FRAMES: u32 = 3000;
    let sender = std::thread::spawn(move || {
        for i in 0..FRAMES {
            far_out.send(&[frame(60, 0), i.to_le_bytes().to_vec()].concat()).unwrap();
        }
    });
    let receiver = std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        for i in 0..FRAMES {
            let count = far.recv(&mut buffer).unwrap();
            assert_eq!((count, &buffer[72..76]), (76, &i.to_le_bytes()[..]));
        }
    });
    for i in 0..u64::from(SIZE) {
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 1000)]);
    }
    rig.kick(RX);
    for i in 0..FRAMES {
        rig.fill(DATA + 0x10_0000, &[frame(60, 0), i.to_le_bytes().to_vec()].concat());
        rig.request(TX, &[Piece::Read(DATA + 0x10_0000, 76)]);
        let at = DATA + 0x1000 * u64::from(i % u32::from(SIZE));
        assert_eq!(rig.used(RX).1, 76);
        assert_eq!(rig.bytes(at + 72, 4), i.to_le_bytes());
        rig.post(RX, &[Piece::Write(at, 1000)]);
        rig.kick(RX);
    }
    sender.join().unwrap();
    receiver.join().unwrap();
    wait("the last frame", || rig.used_index(RX) == FRAMES as u16);
}

/// The host's network stack at the other end answers ARP requests.
#[test]
fn a_host_answers_on_a_tap() {
    crate::net::tests::isolated("a_host_answers_on_a_tap", || {
        let tap = Arc::new(Tap::create(None).unwrap());
        let host_mac = tap.mac().unwrap();
        tap.set_address([198, 51, 100, 1].into(), 24).unwrap();
        tap.set_up().unwrap();
        let mac = [2, 0, 0, 1, 2, 3];
        let net = Net::new(tap.clone(), NetState::new(mac, None));
        let mut rig = Rig::new(Arc::new(net));
        rig.start(EVENT_IDX | MERGEABLE | 1 << 1 | 1 << 7);
        for i in 0..u64::from(SIZE) {
            rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 2000)]);
        }
        rig.kick(RX);
        let mut request = vec![0; 12];
        request.extend([0xff; 6].iter().chain(&mac).chain(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]));
        request.extend(mac.iter().chain(&[198, 51, 100, 2]).chain(&[0; 6]).chain(&[198, 51, 100, 1]));
        rig.fill(DATA + 0x10_0000, &request);
        rig.request(TX, &[Piece::Read(DATA + 0x10_0000, request.len() as u32)]);
        // The host also sends frames by itself, such as IPv6 router solicitations.
        for i in 0..u64::from(SIZE) {
            let length = rig.used(RX).1 as usize;
            let frame = rig.bytes(DATA + 0x1000 * i, length);
            if frame[12..18] == mac && frame[24..26] == [8, 6] {
                assert_eq!((&frame[32..34], &frame[40..44]), (&[0, 2][..], &[198, 51, 100, 1][..]));
                assert_eq!(frame[34..40], host_mac.octets());
                return;
            }
        }
        panic!("no answer");
    });
}

#[test]
fn frames_for_one_driver_are_not_given_to_the_next() {
    let (mut rig, far, net, _) = started(0);
    for seed in 0..5 {
        far.send(&frame(60, seed)).unwrap();
    }
    rig.start(EVENT_IDX);
    far.send(&frame(80, 9)).unwrap();
    rig.post(RX, &[Piece::Write(DATA, 1000)]);
    rig.kick(RX);
    assert_eq!(rig.used(RX).1, 92, "a frame that came before the reset");
    assert!(net.counters().received.read().2 >= 4, "they are counted, but for one that was in hand");
}

#[test]
fn frames_on_a_socket_for_one_driver_are_not_given_to_the_next() {
    let (mut rig, mut far, _) = on_a_socket();
    let whole = on_the_wire(&frame(60, 1));
    far.write_all(&whole).unwrap();
    far.write_all(&whole[..20]).unwrap();
    rig.start(EVENT_IDX | MERGEABLE);
    // The frame arrives only now, and the stream stays in sync.
    far.write_all(&whole[20..]).unwrap();
    far.write_all(&on_the_wire(&frame(80, 2))).unwrap();
    for length in [72, 92] {
        rig.post(RX, &[Piece::Write(DATA, 1000)]);
        rig.kick(RX);
        assert_eq!(rig.used(RX).1, length);
    }
    assert_eq!(rig.used_index(RX), 2);
}

#[test]
fn a_card_that_moves_keeps_the_frames_for_its_driver() {
    let (rig, far, _, cable) = started(0);
    rig.pci.pause();
    far.send(&frame(60, 1)).unwrap();
    let mut rig = rig.moved(|_| card(&cable));
    rig.pci.resume();
    rig.post(RX, &[Piece::Write(DATA, 1000)]);
    rig.kick(RX);
    assert_eq!(rig.used(RX).1, 72);
}

/// A card on a unix socket, and the other end.
fn on_a_socket() -> (Rig, UnixStream, Arc<Net>) {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = Arc::new(FrameStream::new(near).unwrap());
    let net = Arc::new(Net::new(stream, NetState::new([2, 0, 0, 1, 2, 3], None)));
    let mut rig = Rig::new(net.clone());
    rig.start(EVENT_IDX | MERGEABLE);
    (rig, far, net)
}

/// The bytes on the socket for a frame with its header.
fn on_the_wire(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32 - 12).to_be_bytes()[..], &frame[12..]].concat()
}

#[test]
fn a_socket_carries_finished_frames_behind_their_length() {
    let (mut rig, mut far, _) = on_a_socket();
    assert_eq!(rig.offered() & 0x7fff, 1 << 5, "nothing but an address");
    let sent = frame(300, 3);
    rig.fill(DATA, &sent);
    // A header as a driver would fill it for offloads that were not offered.
    rig.fill(DATA, &[1; 12]);
    rig.request(TX, &[Piece::Read(DATA, 7), Piece::Read(DATA + 7, 305)]);
    let mut got = vec![0; 304];
    far.read_exact(&mut got).unwrap();
    assert!(got == on_the_wire(&sent));
    // More frames than one turn serves; once read, the socket is not readable again.
    let count = 3 * SIZE;
    let bytes: Vec<u8> = (0..count).flat_map(|i| on_the_wire(&frame(60, i as u8))).collect();
    far.write_all(&bytes).unwrap();
    for i in 0..count {
        let at = DATA + 0x1000 * u64::from(i % SIZE);
        rig.post(RX, &[Piece::Write(at, 1000)]);
        rig.kick(RX);
        assert_eq!(rig.used(RX).1, 72);
        let mut expected = frame(60, i as u8);
        expected[10] = 1;
        assert!(rig.bytes(at, 72) == expected, "{i}");
    }
}

#[test]
fn a_turn_of_frames_that_came_at_once_is_gone_on_with() {
    let (mut rig, mut far, _) = on_a_socket();
    let small = on_the_wire(&frame(20, 0));
    far.write_all(&small.repeat(2 * usize::from(SIZE))).unwrap();
    // All buffers are posted before the first frame is read.
    for i in 0..u64::from(SIZE) {
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 1000)]);
    }
    rig.kick(RX);
    for _ in 0..SIZE {
        rig.used(RX);
    }
    for i in 0..u64::from(SIZE) {
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i, 1000)]);
    }
    rig.kick(RX);
    for _ in 0..SIZE {
        rig.used(RX);
    }
}

#[test]
fn frames_wait_for_a_peer_that_does_not_read() {
    let (mut rig, mut far, _) = on_a_socket();
    let sent = frame(60_000, 5);
    rig.fill(DATA, &sent);
    let mut posted = 0_u16;
    // Fills the socket; then the frames stay in the queue.
    while posted - rig.used_index(TX) < SIZE {
        rig.post(TX, &[Piece::Read(DATA, 60_012)]);
        posted += 1;
        rig.kick(TX);
        std::thread::sleep(Duration::from_millis(1));
    }
    let expected = on_the_wire(&sent);
    for i in 0..posted {
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).unwrap();
        assert!(got == expected, "{i}");
    }
    wait("the last frame", || rig.used_index(TX) == posted);
}

#[test]
fn a_peer_that_goes_takes_the_link_down_and_one_that_comes_puts_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let stream = Arc::new(FrameStream::connect(&path).unwrap());
    let net = Arc::new(Net::new(stream, NetState::new([2, 0, 0, 1, 2, 3], None)));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    net.on_connection(move |connected| ear.lock().unwrap().push(connected));
    let mut rig = Rig::new(net.clone());
    rig.start(EVENT_IDX | MERGEABLE);
    rig.post(RX, &[Piece::Write(DATA, 1000)]);
    rig.kick(RX);
    drop(listener.accept().unwrap());
    wait("the link to go down", || rig.config::<1>(6) == [0]);
    assert!(!net.link_up() && net.state().link_up, "unplugged it is not");
    // Frames sent meanwhile are dropped and block nothing.
    rig.fill(DATA + 0x8000, &frame(60, 0));
    rig.request(TX, &[Piece::Read(DATA + 0x8000, 72)]);
    let (mut far, _) = listener.accept().unwrap();
    wait("the link to come up", || rig.config::<1>(6) == [1]);
    far.write_all(&on_the_wire(&frame(80, 0))).unwrap();
    assert_eq!(rig.used(RX).1, 92);
    assert_eq!(*heard.lock().unwrap(), [false, true]);
}
