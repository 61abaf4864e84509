//! Control messages (section 5.3.6.2), which tell the driver the ports of the device.
//!
//! At most one of each message is pending for the driver, whatever the driver sends. So pending messages are bits of a
//! number, and a hostile driver cannot make the device store more.

/// The ports. The console is the only one that exists without control messages, too.
pub(super) const CONSOLE: u32 = 0;
pub(super) const AGENT: u32 = 1;
pub(super) const PORTS: u32 = 2;

/// The length of a message without a name: `struct virtio_console_control`.
pub(super) const LENGTH: usize = 8;

const DEVICE_READY: u16 = 0;
const DEVICE_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_CONSOLE: u16 = 4;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// The messages of the device, in the order in which they are sent.
const ANSWERS: [(u32, u16); 6] = [
    (CONSOLE, DEVICE_ADD),
    (AGENT, DEVICE_ADD),
    (CONSOLE, PORT_CONSOLE),
    (AGENT, PORT_NAME),
    // A program on the host always listens. A driver refuses to write to a port that is closed on the host.
    (CONSOLE, PORT_OPEN),
    (AGENT, PORT_OPEN),
];

/// The relevant messages of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// It has provided buffers for messages, and can be told of the ports.
    DriverReady,
    /// It has set up this port.
    PortReady(u32),
    /// A program in the guest has opened or closed this port.
    Open(u32, bool),
}

impl Message {
    /// Parses a message; `None` if it needs no action or is unknown.
    pub(super) fn read(bytes: &[u8; LENGTH]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *bytes;
        let (port, event, value) =
            (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
        match (event, value) {
            // The port number has no meaning in this message.
            (DEVICE_READY, 1) => Some(Self::DriverReady),
            _ if port >= PORTS => None,
            (PORT_READY, 1) => Some(Self::PortReady(port)),
            (PORT_OPEN, _) => Some(Self::Open(port, value != 0)),
            // A device or port that could not be set up is not used.
            _ => None,
        }
    }

    /// The messages that the device sends in reply.
    pub(super) fn answers(self) -> u8 {
        let asks_for = |&(port, event): &(u32, u16)| match self {
            Self::DriverReady => event == DEVICE_ADD,
            Self::PortReady(ready) => event != DEVICE_ADD && port == ready,
            Self::Open(..) => false,
        };
        let bits = ANSWERS.iter().enumerate().filter(|(_, answer)| asks_for(answer)).map(|(at, _)| 1_u8 << at);
        bits.fold(0, |all, bit| all | bit)
    }
}

/// The first of the pending messages in `owed`: its bit, and its bytes, with `name` as the name of the agent's port.
pub(super) fn first(owed: u8, name: &str) -> Option<(u8, Vec<u8>)> {
    let (at, (port, event)) = ANSWERS.iter().enumerate().find(|(at, _)| owed >> at & 1 != 0)?;
    let mut bytes = [&port.to_le_bytes()[..], &event.to_le_bytes(), &1_u16.to_le_bytes()].concat();
    if *event == PORT_NAME {
        // Without a terminating zero.
        bytes.extend(name.as_bytes());
    }
    Some((1 << at, bytes))
}
