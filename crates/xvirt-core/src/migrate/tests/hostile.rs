//! Peers that break the protocol are given up in bounded time and memory, with a typed error.

use std::io::{Read, Write};
use std::time::Instant;

use uuid::Uuid;
use xvirt_testing::random::Random;

use super::*;
use crate::host::Host;
use crate::migrate::frame::{VERSION, frame, preamble};
use crate::migrate::message::{EndOfRound, Hello, Kind, LOCAL_HAND_OVER, Offer, encode};
use crate::migrate::testing::{PAGES, Side};
use crate::state::{MemoryRange, PAGE, ranges_of};
use crate::{Error, ErrorKind};

const SILENCE: Duration = Duration::from_millis(300);

pub(super) fn hello(connection: u8, connections: u8) -> Vec<u8> {
    // Features that do not exist are not chosen.
    let features = !LOCAL_HAND_OVER;
    let hello = Hello { migration: Uuid::nil(), connection, connections, features };
    [preamble().to_vec(), encode(Kind::Hello, &hello).unwrap()].concat()
}

pub(super) fn offer() -> Vec<u8> {
    let offer = Offer {
        uuid: Uuid::nil(),
        name: "web-1".to_owned(),
        configuration: "{}".to_owned(),
        memory: ranges_of(&memory()),
        requirements: vec![1, 2, 3],
        version: "99.0.0".to_owned(),
        check: false,
    };
    encode(Kind::Offer, &offer).unwrap()
}

fn end(round: u32, pages: u64, last: bool) -> Vec<u8> {
    encode(Kind::EndOfRound, &EndOfRound { round, pages, last }).unwrap()
}

fn pages(first: u64, bytes: usize) -> Vec<u8> {
    frame(Kind::Pages, &[first.to_le_bytes().to_vec(), vec![1; bytes]].concat())
}

fn zero_pages(first: u64, count: u64) -> Vec<u8> {
    frame(Kind::ZeroPages, &[first.to_le_bytes(), count.to_le_bytes()].concat())
}

/// The error of a target whose source sends `bytes` and then closes the connection, or keeps it open and silent.
fn target_gets(bytes: &[u8], stays: bool) -> Error {
    target_answers(bytes, stays).0
}

/// The same, with what the source is told.
fn target_answers(bytes: &[u8], stays: bool) -> (Error, String) {
    let mut answer = Vec::new();
    let (mut here, there) = UnixStream::pair().unwrap();
    let world = World::new(&[]);
    let begin = Instant::now();
    let received = std::thread::scope(|scope| {
        let channel = Sockets::new([there]).unwrap();
        let world = &world;
        let target = scope.spawn(move || run_target(world, &channel, SILENCE, &()).map(drop));
        // Fails once the target has closed the connection.
        let _ = here.write_all(bytes);
        if !stays {
            let _ = here.shutdown(std::net::Shutdown::Write);
        }
        let _ = here.read_to_end(&mut answer);
        target.join().unwrap()
    });
    assert!(begin.elapsed() < SILENCE * 20, "{:?}", begin.elapsed());
    assert_eq!(world.locked(), Some(Side::Source), "the disk was not touched");
    (received.unwrap_err(), String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_target_takes_nothing_that_breaks_the_protocol() {
    let all = |parts: &[Vec<u8>]| parts.concat();
    let ready = || all(&[hello(0, 1), offer()]);
    let page = PAGE;
    let cases = [
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "does not speak"),
        ("connection 3", hello(3, 4), "begins with connection 3 of 4"),
        ("no connections", hello(0, 0), "connection 0 of 0"),
        ("too many", hello(0, 200), "connection 0 of 200"),
        ("no offer", all(&[hello(0, 1), end(0, 0, true)]), "'EndOfRound' where 'Offer'"),
        ("bad offer", all(&[hello(0, 1), frame(Kind::Offer, &[0xc1])]), "cannot be decoded"),
        ("early commit", all(&[ready(), frame(Kind::Commit, &[])]), "'Commit' where 'Pages'"),
        ("early release", all(&[ready(), frame(Kind::Released, b"state")]), "'Released' where 'Pages'"),
        ("unknown kind", all(&[ready(), vec![99; 12]]), "unknown kind 99"),
        ("beyond the memory", all(&[ready(), pages(PAGES, page)]), "and the VM has 1200"),
        ("partly beyond", all(&[ready(), pages(PAGES - 1, 2 * page)]), "and the VM has 1200"),
        ("largest page", all(&[ready(), pages(u64::MAX, page)]), "and the VM has 1200"),
        ("part of a page", all(&[ready(), pages(0, page - 1)]), "a part of a page"),
        ("no page", all(&[ready(), pages(0, 0)]), "0 pages"),
        ("no number", all(&[ready(), frame(Kind::Pages, &[1; 7])]), "without a number"),
        ("over a chunk's end", all(&[ready(), pages(511, 2 * page)]), "where it may not be"),
        ("largest run", all(&[ready(), zero_pages(1, u64::MAX)]), "and the VM has 1200"),
        ("empty run", all(&[ready(), zero_pages(1, 0)]), "0 pages"),
        ("half a run", all(&[ready(), frame(Kind::ZeroPages, &[0; 8])]), "a part of a run"),
        ("wrong round", all(&[ready(), end(1, 0, false)]), "ended round 1"),
        ("wrong count", all(&[ready(), pages(0, page), end(0, 2, true)]), "with 2 pages"),
        ("no state", all(&[ready(), end(0, 0, true), frame(Kind::Commit, &[])]), "where 'Released'"),
        ("long commit", all(&[ready(), vec![10, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]]), "is the limit"),
        ("only closes", ready(), "closed the connection"),
    ];
    for (name, bytes, said) in cases {
        let (error, answer) = target_answers(&bytes, false);
        assert_eq!(error.kind(), ErrorKind::PeerFailed, "{name}: {error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
        assert!(answer.contains(said), "{name}: the source is told {answer}");
    }
    let mut other = hello(0, 1);
    other[8] = VERSION.0 as u8 + 1;
    assert_eq!(target_gets(&other, false).kind(), ErrorKind::MigrationRefused);
}

#[test]
fn a_silent_or_slow_source_is_given_up() {
    for bytes in [vec![], hello(0, 1), [hello(0, 1), offer()].concat(), [hello(0, 1), offer()[..30].to_vec()].concat()]
    {
        assert_eq!(target_gets(&bytes, true).kind(), ErrorKind::Timeout);
    }
    // Bytes that arrive one by one do not extend the time for their message.
    let (mut here, there) = UnixStream::pair().unwrap();
    let world = World::new(&[]);
    let channel = Sockets::new([there]).unwrap();
    std::thread::scope(|scope| {
        let target = scope.spawn(|| run_target(&world, &channel, SILENCE, &()).map(drop));
        let begin = Instant::now();
        for byte in hello(0, 1).iter().cycle() {
            if here.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(SILENCE / 20);
            assert!(begin.elapsed() < SILENCE * 20);
        }
        assert!(target.join().unwrap().is_err());
    });
}

#[test]
fn random_and_damaged_messages_never_run_a_guest() {
    let good = [
        hello(0, 1),
        offer(),
        pages(3, PAGE),
        zero_pages(3, 1),
        end(0, 2, true),
        frame(Kind::Released, b"state"),
        frame(Kind::Commit, &[]),
    ]
    .concat();
    let mut random = Random::new(77);
    for round in 0..300 {
        let mut bytes = good.clone();
        // The rest would be a good migration of a VM whose disk is free, which this one is not.
        for _ in 0..=random.below_u64(3) {
            let at = random.below_u64(bytes.len() as u64) as usize;
            bytes[at] = random.below_u64(256) as u8;
        }
        bytes.truncate(if round % 2 == 0 { bytes.len() } else { random.below_u64(bytes.len() as u64) as usize });
        let _: Error = target_gets(&bytes, false);
    }
}

#[test]
fn a_vm_with_other_memory_is_refused() {
    let mut other: Offer = rmp_serde::from_slice(&offer()[12..]).unwrap();
    other.memory.push(MemoryRange { address: 1 << 40, length: PAGE as u64 });
    let error = target_gets(&[hello(0, 1), encode(Kind::Offer, &other).unwrap()].concat(), false);
    assert_eq!(error.kind(), ErrorKind::MigrationRefused);
    assert!(error.message().contains("other memory"), "{error}");
}

#[test]
fn a_description_that_cannot_be_read_is_refused_with_both_versions() {
    let (mut here, there) = UnixStream::pair().unwrap();
    here.write_all(&[hello(0, 1), offer()].concat()).unwrap();
    let (channel, host) = (Sockets::new([there]).unwrap(), Host::probe().unwrap());
    let settings = Reception::default();
    let received = crate::migrate::receive(&channel, &host, &settings, &(), &(), &mut |_| panic!("it was offered"));
    let error = received.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MigrationRefused);
    let versions = format!("the source runs xvirt \"99.0.0\", and the target \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(error.to_string().contains(&versions), "{error}");
    let mut said = Vec::new();
    here.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains(&versions), "the source is told");
}

#[test]
fn a_source_runs_on_whatever_its_target_answers() {
    let control = |reasons: &str| {
        let reasons = crate::migrate::message::Reasons { reasons: vec![reasons.to_owned()] };
        encode(Kind::Refused, &reasons).unwrap()
    };
    for (name, answer, kind) in [
        ("nothing", vec![], ErrorKind::PeerFailed),
        ("http", b"HTTP/1.1 400 Bad Request\r\n".to_vec(), ErrorKind::PeerFailed),
        ("another migration", hello(0, 1), ErrorKind::PeerFailed),
        ("a commit", [hello(0, 1), frame(Kind::Committed, &[])].concat(), ErrorKind::PeerFailed),
        ("control characters", control("\u{1b}[2J"), ErrorKind::PeerFailed),
    ] {
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(&answer).unwrap();
        there.shutdown(std::net::Shutdown::Write).unwrap();
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 0);
        let channel = Sockets::new([here]).unwrap();
        let Outcome::Resumed(error) = migrate(&mut source, &channel, &settings(1, SILENCE), &(), &()) else {
            panic!("{name}")
        };
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{name}");
        assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
    }
}

#[test]
fn a_fault_of_one_connection_ends_all_at_once_and_is_the_one_that_is_named() {
    let (here, there): (Vec<_>, Vec<_>) = (0..2).map(|_| UnixStream::pair().unwrap()).unzip();
    let channel = Sockets::new(there).unwrap();
    (&here[0]).write_all(&[hello(0, 2), offer()].concat()).unwrap();
    // Page 0 belongs to the other connection, which stands and is silent.
    (&here[1]).write_all(&[hello(1, 2), pages(0, PAGE)].concat()).unwrap();
    let begin = Instant::now();
    let error = run_target(&World::new(&[]), &channel, PATIENCE, &()).map(drop).unwrap_err();
    assert!(error.message().contains("page 0 over connection 1"), "{error}");
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    let mut said = Vec::new();
    (&here[0]).read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("page 0 over connection 1"), "the source is told");
}
