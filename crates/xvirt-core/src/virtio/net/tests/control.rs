//! The control queue, and announcements by the driver.

use super::*;

const CONTROL: usize = 2;
const STATUS: u64 = 1 << 16;
const CONTROL_QUEUE: u64 = 1 << 17;
const ANNOUNCES: u64 = STATUS | CONTROL_QUEUE | 1 << 21;
/// The vector of configuration changes: the one after the queues'.
const CONFIG_VECTOR: usize = 3;
const LINK_UP: [u8; 2] = [1, 0];
const LINK_UP_AND_ANNOUNCE: [u8; 2] = [3, 0];
const ANNOUNCE_ACK: [u8; 2] = [3, 0];
const OK: u8 = 0;
const FAILED: u8 = 1;

/// Moves the card to another cable and announces it, as a resume does. Returns the other end too.
fn moved(rig: Rig) -> (Rig, UnixDatagram) {
    let (other, far) = cable();
    far.set_nonblocking(true).unwrap();
    let mut moved = None;
    let rig = rig.moved(|state| {
        let DeviceState::Net(state) = &state.device else { panic!("not a network card") };
        let net = Arc::new(Net::new(other, state.clone()));
        moved = Some(net.clone());
        net
    });
    if moved.unwrap().announce() {
        rig.pci.config_changed();
    }
    (rig, far)
}

/// The type field of the frame that waits at `far`, if any.
fn frame_type(far: &UnixDatagram) -> Option<[u8; 2]> {
    let mut frame = [0; 100];
    far.recv(&mut frame).ok().map(|_| [frame[24], frame[25]])
}

/// Sends a command, and returns the device's answer.
fn command(rig: &mut Rig, bytes: &[u8]) -> u8 {
    rig.fill(DATA, bytes);
    rig.fill(DATA + 0x1000, &[0xaa]);
    let pieces = [Piece::Read(DATA, bytes.len() as u32), Piece::Write(DATA + 0x1000, 1)];
    assert_eq!(rig.request(CONTROL, &pieces), 1);
    rig.bytes(DATA + 0x1000, 1)[0]
}

#[test]
fn a_driver_that_announces_is_asked_to_after_a_move_until_it_has() {
    let (rig, ..) = started(ANNOUNCES);
    assert_eq!(rig.config(6), LINK_UP);
    let (mut rig, far) = moved(rig);
    assert_eq!((rig.config(6), rig.interrupts(CONFIG_VECTOR)), (LINK_UP_AND_ANNOUNCE, 1));
    assert_eq!(frame_type(&far), None);
    rig.pci.resume();
    assert_eq!((command(&mut rig, &ANNOUNCE_ACK), rig.config(6)), (OK, LINK_UP));
    rig.pci.pause();
    let (rig, far) = moved(rig);
    assert_eq!((rig.config(6), frame_type(&far)), (LINK_UP_AND_ANNOUNCE, None));
}

/// Its acknowledgement of the first move may be in the queue, and then it would never learn of the second one.
#[test]
fn a_driver_that_is_moved_again_before_it_has_announced_is_still_asked_and_helped() {
    let (rig, ..) = started(ANNOUNCES);
    let (mut rig, _) = moved(rig);
    rig.fill(DATA, &ANNOUNCE_ACK);
    rig.post(CONTROL, &[Piece::Read(DATA, 2), Piece::Write(DATA + 0x1000, 1)]);
    let (rig, far) = moved(rig);
    assert_eq!((rig.config(6), frame_type(&far)), (LINK_UP_AND_ANNOUNCE, Some([0x80, 0x35])));
    rig.pci.resume();
    wait("the acknowledgement", || rig.config(6) == LINK_UP);
}

#[test]
fn a_driver_that_cannot_announce_is_not_asked_to() {
    for features in [0, ANNOUNCES & !STATUS, ANNOUNCES & !CONTROL_QUEUE, STATUS | CONTROL_QUEUE] {
        let (rig, far) = moved(started(features).0);
        assert_eq!((rig.config(6), rig.interrupts(CONFIG_VECTOR)), (LINK_UP, 0), "{features:#x}");
        assert_eq!(frame_type(&far), Some([0x80, 0x35]), "{features:#x}");
    }
}

#[test]
fn a_reset_ends_an_announcement() {
    let (mut rig, _) = moved(started(ANNOUNCES).0);
    rig.pci.resume();
    rig.start(CONTROL_QUEUE);
    assert_eq!(rig.config(6), LINK_UP);
    let (rig, far) = moved(rig);
    assert_eq!((rig.config(6), frame_type(&far)), (LINK_UP, Some([0x80, 0x35])));
}

#[test]
fn other_commands_are_refused() {
    let (mut rig, _) = moved(started(ANNOUNCES).0);
    rig.pci.resume();
    for class in 0..=255 {
        for number in [0, 1, 2, 255] {
            if [class, number] != ANNOUNCE_ACK {
                let answer = command(&mut rig, &[&[class, number][..], &[0xff; 300]].concat());
                assert_eq!(answer, FAILED, "{class} {number}");
            }
        }
    }
    assert_eq!(rig.config(6), LINK_UP_AND_ANNOUNCE);
    rig.start(CONTROL_QUEUE);
    assert_eq!(command(&mut rig, &ANNOUNCE_ACK), FAILED, "not negotiated");
}

#[test]
fn a_command_without_header_or_room_for_the_answer_needs_a_reset() {
    let write = Piece::Write(DATA + 0x1000, 1);
    for pieces in [&[Piece::Read(DATA, 1), write][..], &[write], &[Piece::Read(DATA, 2)]] {
        let (mut rig, ..) = started(ANNOUNCES);
        rig.post(CONTROL, pieces);
        rig.kick(CONTROL);
        rig.wait_needs_reset();
    }
}
