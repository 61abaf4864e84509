//! The frame that tells switches where a card is: a reverse ARP request (RFC 903), broadcast, for the card's own
//! address.

use crate::net::VNET_HEADER_LEN;

/// The shortest frame of Ethernet, without its checksum.
const SHORTEST: usize = 60;
const REVERSE_ARP: u16 = 0x8035;
const ETHERNET: u16 = 1;
const IPV4: u16 = 0x0800;
const REQUEST_REVERSE: u16 = 3;

/// The frame for the card of this address, behind an empty header of virtio-net.
pub(super) fn announcement(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0; VNET_HEADER_LEN];
    frame.extend([0xff; 6]);
    frame.extend(mac);
    for field in [REVERSE_ARP, ETHERNET, IPV4] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend([6, 4]);
    frame.extend(REQUEST_REVERSE.to_be_bytes());
    // Sender and target are the card; neither has a known IPv4 address.
    for _ in 0..2 {
        frame.extend(mac);
        frame.extend([0; 4]);
    }
    frame.resize(VNET_HEADER_LEN + SHORTEST, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_announces_its_own_address() {
        let mac = [2, 0, 0, 1, 2, 3];
        let frame = announcement(mac);
        assert_eq!((frame.len(), &frame[..12]), (72, &[0; 12][..]));
        let expected =
            [&[0xff; 6][..], &mac, &[0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3], &mac, &[0; 4], &mac, &[0; 4], &[0; 18]];
        assert_eq!(frame[12..], expected.concat());
    }
}
