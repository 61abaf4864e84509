//! The cases: every fault before and after every message of the protocol.

use std::time::Duration;

use xvirt_core::migrate::MemoryTransfer;

/// The protocol's documentation, whose table lists the messages. A test of the library compares the table with its code.
const PROTOCOL: &str = include_str!("../../../../../docs/migration.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// All connections of the sender break.
    Cut,
    /// The message never arrives, and the connection stands.
    Lose,
    /// The message arrives, but later than the limit for silence.
    Hold,
    /// A process is killed.
    Kill(Side),
    /// A process is stopped for longer than the limit for silence.
    Stop(Side),
    /// Another process locks a disk as soon as it is free, until both sides have given up.
    Lock,
    /// A disk is not found until both sides have given up.
    Hide,
    /// The file system of the disks is full from now on.
    Fill,
    /// The time limit of a side ends.
    Expire(Side),
}

/// Where a fault happens: when so much of the message has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Before,
    Within,
    After,
}

/// Which message of its kind and sender it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This one, from 0.
    Number(usize),
    /// The first one after the guest was stopped.
    Stopped,
    /// The first one of the last round.
    LastRound,
}

/// The kind of migration in which a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Good,
    /// The target does not take the VM.
    Refused,
    /// The source is cancelled once the disks are closed.
    CancelledHere,
    /// The target is cancelled when it is prepared.
    CancelledThere,
}

/// Who decides that the guest runs at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The two sides alone.
    Sides,
    /// A store.
    Store,
    /// A store whose answer to the transaction is lost.
    ForgetfulStore,
    /// A store that cannot be reached.
    LostStore,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub message: Message,
    pub sender: Side,
    pub when: When,
    pub scenario: Scenario,
    pub fault: Fault,
    pub place: Place,
    pub decider: Decider,
    pub memory: MemoryTransfer,
    pub connections: u8,
    /// How much longer than usual a peer may be silent, because this machine is slow.
    pub slowness: u32,
}

/// A row of the table of messages.
#[derive(Clone, Debug)]
pub struct Message {
    pub number: u8,
    pub name: &'static str,
    senders: &'static [Side],
}

/// The messages in the documentation.
pub fn messages() -> Vec<Message> {
    let row = |line: &'static str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, number, name, sender, ..] = cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let senders: &[Side] = match sender {
            "both" => &[Side::Source, Side::Target],
            "source" => &[Side::Source],
            "target" => &[Side::Target],
            _ => return None,
        };
        Some(Message { number: number.parse().ok()?, name, senders })
    };
    PROTOCOL.lines().filter_map(row).collect()
}

/// When a side sends a message. A new message has no moments until they are written here.
fn moments(sender: Side, message: &str, memory: MemoryTransfer) -> Vec<(Scenario, When)> {
    let first = vec![(Scenario::Good, When::Number(0))];
    let copies = memory == MemoryTransfer::Copy;
    let also = |more: &[When]| first.iter().copied().chain(more.iter().map(|when| (Scenario::Good, *when))).collect();
    match (sender, message) {
        (Side::Source, "Pages" | "ZeroPages" | "EndOfRound") if !copies => Vec::new(),
        (Side::Source, "Memory") if copies => Vec::new(),
        (Side::Source, "Hello" | "Memory") if !copies => first,
        (Side::Source, "Hello") => also(&[When::Number(1)]),
        (Side::Source, "Pages") => also(&[When::Number(5), When::Stopped]),
        (Side::Source, "EndOfRound") => also(&[When::Stopped, When::LastRound]),
        (Side::Source, "Offer" | "ZeroPages" | "Released" | "Commit") => first,
        (Side::Target, "Hello" | "Accepted" | "Prepared" | "Committed") => first,
        (Side::Target, "Refused") => vec![(Scenario::Refused, When::Number(0))],
        (Side::Source, "Aborted") => vec![(Scenario::CancelledHere, When::Number(0))],
        (Side::Target, "Aborted") => vec![(Scenario::CancelledThere, When::Number(0))],
        _ => panic!("'{message}' of the {sender:?} has no case"),
    }
}

/// All faults, and where they happen.
fn faults() -> Vec<(Fault, Place)> {
    use {Fault::*, Place::*, Side::*};
    let around = [Kill(Source), Kill(Target), Stop(Source), Stop(Target), Lock, Hide, Fill, Expire(Source)];
    let around = around.into_iter().chain([Cut, Expire(Target)]).flat_map(|fault| [(fault, Before), (fault, After)]);
    around
        .chain([(Cut, Within), (Kill(Source), Within), (Kill(Target), Within), (Lose, Before), (Hold, Before)])
        .collect()
}

/// All cases, in an order that is the same in all processes.
pub fn cases() -> Vec<Case> {
    [MemoryTransfer::Copy, MemoryTransfer::LocalHandOver].into_iter().flat_map(cases_of).collect()
}

fn cases_of(memory: MemoryTransfer) -> Vec<Case> {
    let mut cases = Vec::new();
    for decider in [Decider::Sides, Decider::Store, Decider::ForgetfulStore, Decider::LostStore] {
        for message in messages() {
            let matters = match decider {
                Decider::Sides | Decider::Store => true,
                Decider::ForgetfulStore => ["Prepared", "Commit", "Committed"].contains(&message.name),
                // Nothing is committed.
                Decider::LostStore => message.name == "Prepared",
            };
            if !matters {
                continue;
            }
            for sender in message.senders.iter().copied() {
                for (scenario, when) in moments(sender, message.name, memory) {
                    for (fault, place) in faults() {
                        let first_hello = (sender, message.name, when) == (Side::Source, "Hello", When::Number(0));
                        let connections = match memory {
                            MemoryTransfer::Copy if when == When::Number(1) => 2,
                            // Its source may connect no further, and the target would wait for another source.
                            MemoryTransfer::Copy if first_hello => 1,
                            MemoryTransfer::Copy => 1 + cases.len() as u8 % 2,
                            _ => 1,
                        };
                        let message = message.clone();
                        cases.push(Case {
                            message,
                            sender,
                            when,
                            scenario,
                            fault,
                            place,
                            decider,
                            memory,
                            connections,
                            slowness: 1,
                        });
                    }
                }
            }
        }
    }
    cases
}

impl Case {
    /// How long a peer may be silent: short if that is what the case waits for, else too long for it to matter.
    pub fn silence(&self) -> Duration {
        match self.fault {
            Fault::Lose | Fault::Hold | Fault::Stop(_) | Fault::Lock | Fault::Hide => {
                Duration::from_secs(1) * self.slowness
            }
            _ => Duration::from_secs(20),
        }
    }

    /// How long the migration may take on a side.
    pub fn time_limit(&self, side: Side) -> Duration {
        match self.fault {
            Fault::Expire(expiring) if expiring == side => Duration::from_secs(2) * self.slowness,
            _ => Duration::from_secs(3600),
        }
    }

    /// Whether the message is sent before the target can be prepared.
    pub fn is_early(&self) -> bool {
        !["Prepared", "Commit", "Committed", "Aborted"].contains(&self.message.name)
    }
}
