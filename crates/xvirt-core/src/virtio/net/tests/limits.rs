//! Cards with a rate limit.

use super::*;

/// A card limited in both directions to a burst of one frame and one frame per `interval`.
fn limited(interval: Duration) -> (Rig, UnixDatagram, Arc<Net>) {
    let (rig, far, net, _) = started(MERGEABLE);
    let slow = RateLimit::none().operations_per_second(1000 / interval.as_millis() as u64).operations_burst(1);
    net.set_limit(NicLimit::none().receive(slow).transmit(slow));
    (rig, far, net)
}

#[test]
fn frames_over_the_limit_wait_and_none_is_lost() {
    let (mut rig, far, _) = limited(Duration::from_millis(20));
    let began = Instant::now();
    for i in 0..8 {
        far.send(&frame(50 + i, i as u8)).unwrap();
        rig.fill(DATA + 0x8000 + 0x1000 * i as u64, &frame(60 + i, i as u8));
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * i as u64, 1000)]);
        rig.post(TX, &[Piece::Read(DATA + 0x8000 + 0x1000 * i as u64, 72 + i as u32)]);
    }
    rig.kick(RX);
    rig.kick(TX);
    for i in 0..8 {
        assert_eq!(rig.used(RX).1, 62 + i);
        assert_eq!(far.recv(&mut [0; 100]).unwrap(), 72 + i as usize);
        rig.used(TX);
    }
    assert!(began.elapsed() >= Duration::from_millis(7 * 20), "{:?}", began.elapsed());
}

#[test]
fn bytes_count_without_the_header_that_is_not_sent() {
    let (mut rig, far, net, _) = started(MERGEABLE);
    let hour = RateLimit::none().bytes_per_second(ByteSize::new(1)).bytes_burst(ByteSize::new(3600));
    net.set_limit(NicLimit::none().transmit(hour));
    for _ in 0..3 {
        rig.fill(DATA, &frame(1200, 0));
        rig.request(TX, &[Piece::Read(DATA, 1212)]);
        far.recv(&mut [0; 2000]).unwrap();
    }
    rig.post(TX, &[Piece::Read(DATA, 14)]);
    rig.kick(TX);
    far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(far.recv(&mut [0; 2000]).is_err(), "the fourth frame is over the limit");
}

#[test]
fn a_limit_is_lifted_for_what_waits_already() {
    let (mut rig, far, net) = limited(Duration::from_secs(1));
    for i in 0..4 {
        far.send(&frame(50, i)).unwrap();
        rig.post(RX, &[Piece::Write(DATA + 0x1000 * u64::from(i), 1000)]);
        rig.post(TX, &[Piece::Read(DATA + 0x8000, 62)]);
    }
    let began = Instant::now();
    rig.kick(RX);
    rig.kick(TX);
    rig.used(RX);
    rig.used(TX);
    net.set_limit(NicLimit::none());
    rig.pci.kick();
    for _ in 0..3 {
        rig.used(RX);
        rig.used(TX);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_driver_gains_nothing_by_resetting_its_card() {
    let (mut rig, far, net) = limited(Duration::from_secs(1));
    let began = Instant::now();
    for _ in 0..3 {
        rig.start(MERGEABLE);
        rig.fill(DATA, &frame(60, 0));
        rig.request(TX, &[Piece::Read(DATA, 72)]);
        far.recv(&mut [0; 100]).unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(net.limit().transmit.operations_per_second, Some(1));
}

#[test]
fn a_limited_card_pauses_at_once_and_goes_on() {
    let (mut rig, far, _) = limited(Duration::from_millis(200));
    for _ in 0..3 {
        rig.post(TX, &[Piece::Read(DATA, 62)]);
    }
    rig.kick(TX);
    rig.used(TX);
    rig.pci.pause();
    assert_eq!(rig.used_index(TX), 1);
    rig.pci.resume();
    rig.used(TX);
    rig.used(TX);
    for _ in 0..3 {
        far.recv(&mut [0; 100]).unwrap();
    }
}
