//! Data in both directions.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use xvirt_core::disk::GuestSlice;
use xvirt_core::migrate::{CONNECTION_WAIT, Channel, Connection, Sockets};
use xvirt_testing::random::Random;

use crate::{PATIENCE, both, connect, connect_over, is_wait, receive, send_all};

/// How much is sent in each direction.
const TOTAL: usize = 6 << 20;

fn contents(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..TOTAL / 8).flat_map(|_| random.number().to_le_bytes()).collect()
}

/// Sends `bytes` in pieces of random sizes, and says that this is all.
fn send_pieces(connection: &dyn Connection, mut bytes: &[u8], longest: u64) {
    let mut random = Random::new(3);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(1 + random.below_u64(longest) as usize));
        send_all(connection, piece).unwrap();
        bytes = rest;
    }
    connection.finish();
}

/// Receives in pieces of random sizes until the peer has finished.
fn receive_pieces(connection: &dyn Connection, longest: u64) -> Vec<u8> {
    let (mut random, mut bytes) = (Random::new(5), Vec::new());
    loop {
        let mut piece = vec![0; 1 + random.below_u64(longest) as usize];
        match receive(connection, &mut piece).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn exchange(here: &dyn Connection, there: &dyn Connection, longest: u64) {
    let (forth, back) = (contents(1), contents(2));
    thread::scope(|scope| {
        scope.spawn(|| send_pieces(here, &forth, longest));
        scope.spawn(|| send_pieces(there, &back, longest));
        let returned = scope.spawn(|| receive_pieces(here, longest));
        assert!(receive_pieces(there, longest) == forth, "the bytes to the target differ");
        assert!(returned.join().unwrap() == back, "the bytes to the source differ");
    });
}

#[test]
fn both_directions_at_once_are_exact_with_pieces_of_any_size() {
    for longest in [3000, 100_000, 2 << 20] {
        let (here, there) = connect(&both());
        exchange(&*here.unwrap(), &*there.unwrap(), longest);
    }
}

/// A channel that takes and gives bytes in short parts, and none at times.
struct Short(Sockets<UnixStream>);

struct ShortConnection(Box<dyn Connection>, Mutex<Random>);

impl ShortConnection {
    /// How many of `length` bytes are moved now.
    fn part(&self, length: usize) -> io::Result<usize> {
        let mut random = self.1.lock().unwrap();
        match random.below_u64(4) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(length.min(1 + random.below_u64(40_000) as usize)),
        }
    }
}

impl Channel for Short {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new(ShortConnection(self.0.connect(limit)?, Mutex::new(Random::new(8)))))
    }
}

impl Connection for ShortConnection {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(&bytes[..self.part(bytes.len())?])
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.part(buffer.len())?;
        self.0.receive(&mut buffer[..length])
    }

    fn finish(&self) {
        self.0.finish();
    }

    fn close(&self) {
        self.0.close();
    }
}

#[test]
fn data_is_exact_over_a_channel_that_moves_short_parts() {
    let (here, there) = UnixStream::pair().unwrap();
    let [here, there] = [here, there].map(|socket| Short(Sockets::new([socket]).unwrap()));
    let (here, there) = connect_over(&both(), here, there, PATIENCE);
    exchange(&*here.unwrap(), &*there.unwrap(), 300_000);
}

#[test]
fn memory_that_is_written_while_it_is_sent_arrives_as_it_once_was() {
    let (here, there) = UnixStream::pair().unwrap();
    set_socket_send_buffer_size(&here, 16 << 10).unwrap();
    let (here, there) = (Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap());
    let (here, there) = connect_over(&both(), here, there, PATIENCE);
    let (here, there) = (here.unwrap(), there.unwrap());
    let mut memory = vec![1; 100_000];
    let waits = here.send_memory(b"pages", GuestSlice::from(&mut memory[..])).unwrap_err();
    assert!(is_wait(&waits), "{waits}");
    memory.fill(2);
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sent = |bytes: &mut [u8]| loop {
                match here.send_memory(b"pages", GuestSlice::from(&mut *bytes)) {
                    Err(error) if is_wait(&error) => {}
                    sent => break sent.unwrap(),
                }
            };
            assert_eq!(sent(&mut memory), 5 + 100_000);
        });
        let mut bytes = [0; 4096];
        while received.len() < 5 + 100_000 {
            match there.receive(&mut bytes) {
                Err(error) if is_wait(&error) => {}
                count => received.extend_from_slice(&bytes[..count.unwrap()]),
            }
        }
    });
    assert!(received.starts_with(b"pages") && received[5..].iter().all(|byte| *byte == 1));
}

#[test]
fn a_message_that_was_given_up_never_arrives() {
    let (here, there) = UnixStream::pair().unwrap();
    set_socket_send_buffer_size(&here, 16 << 10).unwrap();
    let (here, there) = (Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap());
    let (here, there) = connect_over(&both(), here, there, PATIENCE);
    let (here, there) = (here.unwrap(), there.unwrap());
    // Fill the connection, whose peer takes nothing.
    let mut accepted = 0;
    let error = loop {
        match here.send(&[1; 100]) {
            Ok(sent) => accepted += sent,
            Err(error) => break error,
        }
    };
    assert!(is_wait(&error), "{error}");
    assert!(here.send(&[1; 100]).is_err_and(|error| is_wait(&error)), "the same message may go on");
    let error = here.send(b"another message").unwrap_err();
    assert!(!is_wait(&error), "{error}");
    thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (mut all, mut buffer) = (0, [0; 1000]);
            loop {
                match receive(&*there, &mut buffer) {
                    Ok(count) => {
                        assert!(count > 0, "the peer closed the connection as if it had sent everything");
                        all += count;
                    }
                    Err(error) => return (all, error),
                }
            }
        });
        here.finish();
        let (all, error) = received.join().unwrap();
        assert_eq!((all, error.kind()), (accepted, io::ErrorKind::UnexpectedEof));
    });
}

#[test]
fn a_cut_connection_is_told_from_one_that_its_peer_has_finished() {
    let (here, there) = connect(&both());
    let (here, there) = (here.unwrap(), there.unwrap());
    send_all(&*here, b"the end").unwrap();
    here.finish();
    let mut buffer = [0; 100];
    assert_eq!(receive(&*there, &mut buffer).unwrap(), 7);
    assert_eq!(receive(&*there, &mut buffer).unwrap(), 0);
    // The other direction goes on.
    send_all(&*there, b"the answer").unwrap();
    assert_eq!(receive(&*here, &mut buffer).unwrap(), 10);
    there.close();
    assert_eq!(receive(&*here, &mut buffer).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn data_before_damage_arrives_and_the_damage_is_named_by_every_call() {
    let (here, there) = UnixStream::pair().unwrap();
    let raw = here.try_clone().unwrap();
    let (here, there) = (Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap());
    let (here, there) = connect_over(&both(), here, there, PATIENCE);
    let (here, there) = (here.unwrap(), there.unwrap());
    send_all(&*here, b"the data").unwrap();
    (&raw).write_all(&[23, 3, 3, 0, 20]).unwrap();
    (&raw).write_all(&[0; 20]).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(receive(&*there, &mut buffer).unwrap(), 8);
    for _ in 0..2 {
        let error = receive(&*there, &mut buffer).unwrap_err().to_string();
        assert!(error.contains("the TLS connection to the host that connected broke"), "{error}");
    }
}

#[test]
fn waits_are_short_and_closing_ends_them() {
    let (here, there) = connect(&both());
    let (here, _there) = (here.unwrap(), there.unwrap());
    let begin = Instant::now();
    assert!(here.receive(&mut [0; 10]).is_err_and(|error| is_wait(&error)));
    assert!(begin.elapsed() >= CONNECTION_WAIT / 2, "it polls: {:?}", begin.elapsed());
    assert!(begin.elapsed() < CONNECTION_WAIT + Duration::from_secs(2), "{:?}", begin.elapsed());
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&*here, &mut [0; 10]));
        here.close();
        assert!(receiver.join().unwrap().is_err());
    });
    assert!(here.send(&[1]).is_err_and(|error| !is_wait(&error)));
}
