//! Cards of VMs that are copies of others.

use super::*;

#[test]
fn nothing_is_sent_from_the_addresses_of_the_originals() {
    let address = |last: u8| [2, 0, 0, 0, 0, last];
    let (cable, far) = cable();
    // A copy of a copy.
    let state = NetState::new(address(1), None).copied_as(address(2)).copied_as(address(3));
    let mut rig = Rig::new(Arc::new(Net::new(cable, state)));
    rig.start(EVENT_IDX);
    for (from, passes) in [(1, false), (2, false), (3, true), (4, true), (1, false), (3, true)] {
        let mut sent = frame(60, from);
        // Behind a header of 12 bytes and the address of the receiver.
        sent[18..24].copy_from_slice(&address(from));
        rig.fill(DATA, &sent);
        // The addresses may be in several pieces.
        for at in [1, 12, 17, 18, 19, 23, 24, 30] {
            let rest = Piece::Read(DATA + at, (sent.len() as u64 - at) as u32);
            assert_eq!(rig.request(TX, &[Piece::Read(DATA, at as u32), rest]), 0);
            if passes {
                let mut got = [0; 100];
                let count = far.recv(&mut got).unwrap();
                assert!(got[..count] == sent, "from {from}, in pieces of {at} and more");
            }
        }
    }
    far.set_nonblocking(true).unwrap();
    assert_eq!(far.recv(&mut [0; 100]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
