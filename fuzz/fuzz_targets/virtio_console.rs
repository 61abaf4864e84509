//! The queues of the console and of the port beside it, against any driver.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::virtio::{Driver, Kind, Piece};
use xvirt_fuzz::virtio::{Content, Part, Session};

const CONTROL_TRANSMIT: usize = 3;
const MULTIPORT: u64 = 1 << 1;
const PORT_OPEN: u8 = 6;

fuzz_target!(|input: Input| {
    let mut driver = input.session.begin(Kind::Console);
    if input.open {
        open(&mut driver);
    }
    input.session.go_on(&mut driver);
});

#[derive(Arbitrary, Debug)]
struct Input {
    /// Begins with a program that has the port open.
    open: bool,
    session: Session<Message>,
}

fn open(driver: &mut Driver) {
    driver.start(MULTIPORT, &[]);
    let message = Message::Control { port: 1, event: PORT_OPEN, value: 1 }.piece(driver);
    driver.chain(CONTROL_TRANSMIT, &[message], false);
    driver.kick(CONTROL_TRANSMIT);
}

#[derive(Arbitrary, Debug)]
enum Message {
    /// A control message (virtio 1.2, section 5.3.6.2).
    Control {
        port: u8,
        event: u8,
        value: u8,
    },
    Other(Part),
}

impl Content for Message {
    fn piece(&self, driver: &mut Driver) -> Piece {
        match self {
            Self::Control { port, event, value } => {
                let bytes = [port % 3, 0, 0, 0, event % 9, 0, value % 2, 0];
                Piece { address: driver.place(&bytes), length: 8, write: false }
            }
            Self::Other(part) => part.piece(driver),
        }
    }
}
