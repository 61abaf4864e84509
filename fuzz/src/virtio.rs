//! The actions of a driver, for fuzzing queue handlers.

use arbitrary::Arbitrary;
use xvirt_core::fuzzing::virtio::{Driver, Kind, Piece, Place};

/// The step limit; more steps test nothing new.
const MAX_STEPS: usize = 64;
const MAX_PIECES: usize = 24;
/// The start of the memory that the guest uses freely.
const DATA: u64 = 0x8000;

/// All actions of a driver; `P` generates its requests.
#[derive(Arbitrary, Debug)]
pub struct Session<P = Part> {
    features: u32,
    steps: Vec<Step<P>>,
}

/// Generates a piece of a chain.
pub trait Content {
    /// Writes readable data, and returns the piece.
    fn piece(&self, driver: &mut Driver) -> Piece;
}

#[derive(Arbitrary, Debug)]
enum Step<P> {
    /// Makes a chain available and notifies.
    Request {
        queue: u8,
        pieces: Vec<P>,
        indirect: bool,
    },
    /// Makes a chain available.
    Chain {
        queue: u8,
        pieces: Vec<P>,
        indirect: bool,
    },
    Kick {
        queue: u8,
    },
    Input {
        bytes: Vec<u8>,
    },
    Frame {
        length: u16,
    },
    Wait,
    Descriptor {
        queue: u8,
        index: u8,
        address: Address,
        length: Length,
        flags: u8,
        next: u8,
    },
    Offer {
        queue: u8,
        head: u8,
    },
    Available {
        queue: u8,
        index: u16,
    },
    Fill {
        address: Address,
        bytes: Vec<u8>,
    },
    Config {
        offset: u16,
        length: u8,
    },
    Pause {
        moved: bool,
    },
    Start {
        features: u64,
    },
    StartElsewhere {
        features: u64,
        queue: u8,
        size: u16,
        descriptors: Address,
        available: Address,
        used: Address,
    },
}

/// A piece for any device.
#[derive(Arbitrary, Debug)]
pub enum Part {
    /// Readable bytes.
    Data {
        bytes: Vec<u8>,
    },
    /// Readable fields, from which headers are built.
    Words {
        words: Vec<u32>,
    },
    /// The header of a disk request.
    Disk {
        kind: u8,
        sector: u8,
    },
    Room {
        address: Address,
        length: Length,
    },
    Read {
        address: Address,
        length: Length,
    },
}

/// The address of a piece.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Address {
    Data(u16),
    Memory(u16),
    High(u16),
    Wild(u64),
}

/// The length of a piece.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Length {
    Small(u8),
    Sectors(u8),
    Some(u16),
    Wild(u32),
}

impl Address {
    fn place(self) -> u64 {
        match self {
            Self::Data(at) => DATA + u64::from(at % 0x7000),
            Self::Memory(at) => at.into(),
            // After the hole, or in it.
            Self::High(at) => 0x1_0000 + u64::from(at % 0x9000),
            Self::Wild(at) => at,
        }
    }
}

impl Length {
    fn bytes(self) -> u32 {
        match self {
            Self::Small(length) => length.into(),
            Self::Sectors(count) => 512 * u32::from(count % 16),
            Self::Some(length) => length.into(),
            Self::Wild(length) => length,
        }
    }
}

impl Content for Part {
    fn piece(&self, driver: &mut Driver) -> Piece {
        let mut data = |bytes: &[u8]| Piece { address: driver.place(bytes), length: bytes.len() as u32, write: false };
        match self {
            Self::Data { bytes } => data(bytes),
            Self::Words { words } => data(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()),
            Self::Disk { kind, sector } => {
                data(&[u64::from(*kind).to_le_bytes(), u64::from(*sector).to_le_bytes()].concat())
            }
            Self::Room { address, length } => Piece { address: address.place(), length: length.bytes(), write: true },
            Self::Read { address, length } => Piece { address: address.place(), length: length.bytes(), write: false },
        }
    }
}

impl<P: Content> Step<P> {
    fn run(&self, driver: &mut Driver) {
        let queues = driver.queues();
        let choose = |queue: u8| usize::from(queue) % queues;
        match self {
            Self::Request { queue, pieces, indirect } => {
                let queue = choose(*queue);
                offer(driver, queue, pieces, *indirect);
                driver.kick(queue);
            }
            Self::Chain { queue, pieces, indirect } => offer(driver, choose(*queue), pieces, *indirect),
            Self::Kick { queue } => driver.kick(choose(*queue)),
            Self::Input { bytes } => driver.input(bytes.clone()),
            Self::Frame { length } => driver.input(vec![7; usize::from(*length)]),
            Self::Wait => driver.wait(),
            Self::Descriptor { queue, index, address, length, flags, next } => driver.descriptor(
                choose(*queue),
                u16::from(*index % 16),
                address.place(),
                length.bytes(),
                u16::from(*flags % 8),
                u16::from(*next % 32),
            ),
            Self::Offer { queue, head } => driver.offer(choose(*queue), u16::from(*head % 32)),
            Self::Available { queue, index } => driver.set_available(choose(*queue), *index),
            Self::Fill { address, bytes } => driver.fill(address.place(), bytes),
            Self::Config { offset, length } => driver.read_config(usize::from(*offset), usize::from(*length)),
            Self::Pause { moved } => driver.pause(*moved),
            Self::Start { features } => driver.start(*features, &[]),
            Self::StartElsewhere { features, queue, size, descriptors, available, used } => {
                let mut places = vec![None; queues];
                places[choose(*queue)] = Some(Place {
                    size: *size,
                    descriptors: descriptors.place(),
                    available: available.place(),
                    used: used.place(),
                });
                driver.start(*features, &places);
            }
        }
    }
}

fn offer(driver: &mut Driver, queue: usize, parts: &[impl Content], indirect: bool) {
    let pieces: Vec<_> = parts.iter().take(MAX_PIECES).map(|part| part.piece(driver)).collect();
    if !pieces.is_empty() {
        driver.chain(queue, &pieces, indirect);
    }
}

impl<P: Content> Session<P> {
    /// A device that was just started.
    pub fn begin(&self, kind: Kind) -> Driver {
        let mut driver = Driver::new(kind);
        driver.start(self.features.into(), &[]);
        driver
    }

    /// Performs the remaining actions.
    pub fn go_on(&self, driver: &mut Driver) {
        self.steps.iter().take(MAX_STEPS).for_each(|step| step.run(driver));
    }
}

/// Performs all actions on a device.
pub fn drive(kind: Kind, session: &Session) {
    session.go_on(&mut session.begin(kind));
}
