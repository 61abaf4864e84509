//! Local hand-overs: no memory is copied, and hostile descriptors are refused.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use rustix::fs::SealFlags;
use rustix::io::{FdFlags, fcntl_getfd};
use uuid::Uuid;

use super::hostile::offer;
use super::*;
use crate::ErrorKind;
use crate::memory::MemoryFile;
use crate::migrate::ancillary;
use crate::migrate::frame::preamble;
use crate::migrate::message::{Hello, Kind, LOCAL_HAND_OVER, MemoryFiles, encode};
use crate::migrate::testing::{Side, memory_file};
use crate::state::PAGE;

fn local_hand_over() -> Migration {
    settings(1, PATIENCE).memory(MemoryTransfer::LocalHandOver)
}

/// What happens to a source with this memory.
fn run(source: &mut FakeSource, world: &Arc<World>) -> (Outcome, Result<()>) {
    run_both(world, source, &local_hand_over(), &())
}

#[test]
fn the_target_has_the_memory_of_the_source_and_no_page_is_sent() {
    let world = World::new(&[]);
    let mut source = source_for(MemoryTransfer::LocalHandOver, &world, 40);
    let guest = Arc::clone(&source.guest);
    let (here, there) = sockets(1);
    std::thread::scope(|scope| {
        let target = scope.spawn(|| run_target(&world, &there, PATIENCE, &()).unwrap().ram.clone());
        let Outcome::Migrated(summary) = migrate(&mut source, &here, &local_hand_over(), &(), &()) else { panic!() };
        assert_eq!((summary.report.bytes, summary.report.zero_pages), (0, 0), "{summary:?}");
        let there = target.join().unwrap();
        // It is the same memory, not a copy.
        vm_memory::Bytes::write_slice(&guest.ram, b"shared", vm_memory::GuestAddress(0x1_0000_0000)).unwrap();
        assert!(contents(&there) == contents(&guest.ram), "the memory differs");
    });
    assert_eq!((world.running(), world.locked()), (Some(Side::Target), Some(Side::Target)));
    assert!(source.is_clean());
}

/// What a source says that cannot do a local hand-over, whose guest runs on.
fn refused(source: &mut FakeSource, world: &Arc<World>, here: &dyn Channel) -> String {
    let Outcome::Resumed(error) = migrate(source, here, &local_hand_over(), &(), &()) else { panic!() };
    assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    error.to_string()
}

#[test]
fn private_memory_and_other_connections_are_refused_before_anything_is_sent() {
    let world = World::new(&[]);
    let copied = "; or let the memory be copied: MemoryTransfer::Copy";
    let (here, there) = UnixStream::pair().unwrap();
    let said = refused(&mut FakeSource::new(&world, 0), &world, &Sockets::new([here]).unwrap());
    let expected = "a local hand-over is not possible: the VM's memory is private to this process; build the VM with \
                    memory in a file: VmConfig::shared_memory";
    assert_eq!(said, format!("{expected}{copied}"));
    assert_eq!(std::io::Read::read(&mut &there, &mut [0]).unwrap(), 0, "nothing was sent");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (there, _) = listener.accept().unwrap();
    let mut source = source_for(MemoryTransfer::LocalHandOver, &world, 0);
    let said = refused(&mut source, &world, &Sockets::new([here]).unwrap());
    assert!(said.contains("passes no descriptors; connect to the target over a unix socket"), "{said}");
    assert!(said.ends_with(copied), "{said}");
    assert_eq!(std::io::Read::read(&mut &there, &mut [0]).unwrap(), 0, "nothing was sent");
}

#[test]
fn a_target_that_does_not_choose_the_feature_gets_no_memory() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let answers = std::thread::spawn(move || {
        let mut hello = vec![0; 12];
        std::io::Read::read_exact(&mut there, &mut hello).unwrap();
        let mut header = [0; 12];
        std::io::Read::read_exact(&mut there, &mut header).unwrap();
        let mut body = vec![0; header[4] as usize];
        std::io::Read::read_exact(&mut there, &mut body).unwrap();
        let theirs: Hello = rmp_serde::from_slice(&body).unwrap();
        assert_eq!(theirs.features, LOCAL_HAND_OVER);
        let answer = encode(Kind::Hello, &Hello { features: 0, ..theirs }).unwrap();
        there.write_all(&[hello, answer].concat()).unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut there, &mut rest).unwrap();
        rest
    });
    let world = World::new(&[]);
    let mut source = source_for(MemoryTransfer::LocalHandOver, &world, 0);
    let channel = Sockets::new([here]).unwrap();
    let Outcome::Resumed(error) = migrate(&mut source, &channel, &local_hand_over(), &(), &()) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::MigrationRefused);
    assert!(error.to_string().contains("the target does not take descriptors of memory"), "{error}");
    let rest = answers.join().unwrap();
    assert_eq!(Kind::from_number(rest[0]), Some(Kind::Aborted), "no offer was sent");
}

#[test]
fn a_local_hand_over_can_be_cancelled() {
    let world = World::new(&[]);
    let mut source = source_for(MemoryTransfer::LocalHandOver, &world, 0);
    let cancelled = AtomicBool::new(true);
    let (outcome, target) = run_both(&world, &mut source, &local_hand_over(), &cancelled);
    let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
    assert!(error.kind() == ErrorKind::Cancelled && target.is_err(), "{error}");
}

#[test]
fn descriptors_arrive_close_on_exec_and_too_many_at_once_are_closed() {
    let (here, there) = UnixStream::pair().unwrap();
    assert!(ancillary::is_possible(&here));
    let file = File::open("/dev/null").unwrap();
    let many: Vec<_> = (0..ancillary::MAX_DESCRIPTORS + 1).map(|_| file.as_fd()).collect();
    let error = ancillary::send(&here, b"x", &many).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(ancillary::send(&here, b"abc", &many[1..]).unwrap(), 3);
    let (mut bytes, mut arrived) = ([0; 8], Vec::new());
    assert_eq!(ancillary::receive(&there, &mut bytes, &mut arrived).unwrap(), 3);
    assert_eq!(arrived.len(), ancillary::MAX_DESCRIPTORS);
    assert!(arrived.iter().all(|one| fcntl_getfd(one).unwrap().contains(FdFlags::CLOEXEC)));

    // A peer that is not this code can pass more.
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    let many = [file.as_fd(); 100];
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&many)));
    let flags = rustix::net::SendFlags::empty();
    rustix::net::sendmsg(&here, &[std::io::IoSlice::new(b"x")], &mut control, flags).unwrap();
    let mut arrived = Vec::new();
    let error = ancillary::receive(&there, &mut bytes, &mut arrived).unwrap_err();
    assert!(error.to_string().starts_with("descriptors were lost"), "{error}");
    assert!(arrived.len() <= 2 * ancillary::MAX_DESCRIPTORS, "{}", arrived.len());
}

/// The start of a local hand-over with `connections` connections.
fn start(connections: u8) -> Vec<u8> {
    let hello = Hello { migration: Uuid::nil(), connection: 0, connections, features: LOCAL_HAND_OVER };
    [preamble().to_vec(), encode(Kind::Hello, &hello).unwrap(), offer()].concat()
}

fn offsets(offsets: &[u64]) -> Vec<u8> {
    encode(Kind::Memory, &MemoryFiles { offsets: offsets.to_vec() }).unwrap()
}

/// What a target says to a source that passes these descriptors with this message, and then closes the connection.
fn target_gets(message: &[u8], descriptors: &[BorrowedFd<'_>]) -> crate::Error {
    let (here, there) = UnixStream::pair().unwrap();
    let world = World::new(&[]);
    let channel = Sockets::new([there]).unwrap();
    (&here).write_all(&start(1)).unwrap();
    match descriptors {
        [] => (&here).write_all(message).unwrap(),
        _ => assert_eq!(ancillary::send(&here, message, descriptors).unwrap(), message.len()),
    }
    here.shutdown(std::net::Shutdown::Write).unwrap();
    let error = run_target(&world, &channel, PATIENCE, &()).map(drop).unwrap_err();
    assert_eq!(world.locked(), Some(Side::Source), "the disk was not touched");
    error
}

#[test]
fn a_target_takes_only_one_descriptor_for_each_range() {
    let files = memory_files();
    let [low, high] = [files[0].file.as_fd(), files[1].file.as_fd()];
    let (message, offset) = (offsets(&[0, files[1].offset]), files[1].offset);
    for (name, error, said) in [
        ("none", target_gets(&message, &[]), "passes 0 descriptors and names 2, for 2 ranges"),
        ("one", target_gets(&message, &[low]), "passes 1 descriptors and names 2, for 2 ranges"),
        ("three", target_gets(&message, &[low, high, low]), "passes 3 descriptors and names 2, for 2 ranges"),
        ("unnamed", target_gets(&offsets(&[0]), &[low, high]), "passes 2 descriptors and names 1, for 2 ranges"),
        ("another message", target_gets(&offer(), &[low, high]), "'Offer' where 'Memory'"),
        ("no map", target_gets(&crate::migrate::frame::frame(Kind::Memory, b"x"), &[low, high]), "cannot be decoded"),
        ("good, but then closed", target_gets(&message, &[low, high]), "closed the connection"),
        ("twice", target_gets(&[message.clone(), offsets(&[0, offset])].concat(), &[low, high]), "'Memory' where"),
    ] {
        assert_eq!(error.kind(), ErrorKind::PeerFailed, "{name}: {error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}

#[test]
fn descriptors_that_cannot_hold_the_memory_are_refused() {
    let size = 300 * PAGE as u64;
    let shrink = SealFlags::SHRINK;
    let plain = |file: OwnedFd| MemoryFile { file: file.into(), offset: 0 };
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut on_disk = tempfile::tempfile().unwrap();
    on_disk.write_all(&vec![0; size as usize]).unwrap();
    for (hostile, said) in [
        (memory_file(size, SealFlags::GROW, 0), "others could shrink it, which would kill a process that uses it"),
        (plain(on_disk.into()), "others could shrink it"),
        (memory_file(size - 1, shrink, 0), "it has 1228799 bytes, and the VM 1200 KiB"),
        (memory_file(size, shrink, 2 * PAGE as u64), "and the VM 1208 KiB"),
        (memory_file(size, shrink, u64::MAX - 4095), "no file is as long as its offset"),
        (memory_file(2 * size, shrink, 1), "are not whole pages"),
        (memory_file(size, shrink | SealFlags::FUTURE_WRITE, 0), "it is sealed against writing"),
        (plain(reader.into()), "it is a FIFO"),
        (plain(UnixStream::pair().unwrap().0.into()), "it is a socket"),
        (plain(File::open("/dev/null").unwrap().into()), "it is a character device"),
        (plain(File::open("/proc/self/exe").unwrap().into()), "it is not open for writing"),
    ] {
        let good = &memory_files()[1];
        let message = offsets(&[hostile.offset, good.offset]);
        let error = target_gets(&message, &[hostile.file.as_fd(), good.file.as_fd()]);
        assert_eq!(error.kind(), ErrorKind::MigrationRefused, "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[test]
fn a_refusal_of_the_memory_reaches_the_source_and_its_guest_runs_on() {
    let world = World::new(&[Task::Accept]);
    let mut source = source_for(MemoryTransfer::LocalHandOver, &world, 0);
    let (outcome, target) = run(&mut source, &world);
    let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.kind(), ErrorKind::MigrationRefused, "{error}");
    assert!(target.is_err() && source.is_clean());
    assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
}

#[test]
fn several_connections_are_never_chosen_for_a_local_hand_over() {
    let (mut here, there) = UnixStream::pair().unwrap();
    let world = World::new(&[]);
    let channel = Sockets::new([there]).unwrap();
    here.write_all(&start(2)).unwrap();
    here.shutdown(std::net::Shutdown::Write).unwrap();
    run_target(&world, &channel, PATIENCE, &()).map(drop).unwrap_err();
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut here, &mut said).unwrap();
    let body = &said[24..24 + said[16] as usize];
    let answer: Hello = rmp_serde::from_slice(body).unwrap();
    assert_eq!(answer.features, 0);
}
