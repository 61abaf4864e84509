//! Peers that say nothing, little, or anything.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::migrate::{Channel, Sockets};
use xvirt_core::{Error, ErrorKind};
use xvirt_testing::random::Random;

use crate::{PATIENCE, both, receive, send_all};

/// The limit for a handshake that never ends.
const LIMIT: Duration = Duration::from_millis(300);

/// What a stranger does with its end of a connection. It ends when the other end is closed.
type Behaviour = fn(UnixStream);

fn silent(mut stream: UnixStream) {
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// Begins a record and goes on with a byte at a time.
fn slow(mut stream: UnixStream) {
    let mut next: &[u8] = &[22, 3, 3, 64, 0, 1];
    while stream.write_all(&next[..1]).is_ok() {
        next = if next.len() > 1 { &next[1..] } else { &[0] };
        thread::sleep(Duration::from_millis(1));
    }
}

fn random(mut stream: UnixStream) {
    let mut random = Random::new(4);
    while stream.write_all(&[random.below_u64(256) as u8; 7]).is_ok() {}
}

/// Sends a handshake message that is 16 MiB long, in records of the longest size.
fn huge(mut stream: UnixStream) {
    let mut record = vec![0; 5 + (16 << 10)];
    record[..5].copy_from_slice(&[22, 3, 3, 64, 0]);
    record[5..9].copy_from_slice(&[1, 255, 255, 255]);
    while stream.write_all(&record).is_ok() {
        record[5..9].fill(0);
    }
}

fn closes(stream: UnixStream) {
    stream.shutdown(Shutdown::Both).unwrap();
}

/// Speaks the protocol without TLS.
fn plain(mut stream: UnixStream) {
    let _ = stream.write_all(b"XVMIGRAT\x01\0\0\0").and_then(|()| io::copy(&mut stream, &mut io::sink()));
}

const STRANGERS: [(Behaviour, ErrorKind, &str); 6] = [
    (silent, ErrorKind::Timeout, "has not completed the TLS handshake in time"),
    (slow, ErrorKind::Timeout, "has not completed the TLS handshake in time"),
    (random, ErrorKind::PeerFailed, "does not speak TLS 1.3"),
    (huge, ErrorKind::PeerFailed, "does not speak TLS 1.3"),
    (closes, ErrorKind::PeerFailed, "closed the connection during the TLS handshake"),
    (plain, ErrorKind::PeerFailed, "speaks the migration protocol without TLS"),
];

#[test]
fn a_source_gives_every_stranger_up_in_time() {
    let (source, _) = both();
    for (behaviour, kind, expected) in STRANGERS {
        let (here, there) = UnixStream::pair().unwrap();
        let channel = source.connect_to("host-b", Sockets::new([here]).unwrap()).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || behaviour(there));
            let begin = Instant::now();
            let error = channel.connect(LIMIT).err().unwrap();
            assert!(begin.elapsed() < LIMIT + Duration::from_secs(2), "{expected}: {:?}", begin.elapsed());
            assert!(error.to_string().contains(expected), "{expected}: {error}");
            let error: &Error = error.get_ref().unwrap().downcast_ref().unwrap();
            assert_eq!(error.kind(), kind);
        });
    }
}

#[test]
fn a_target_names_the_last_stranger_when_time_is_over() {
    let (_, target) = both();
    for (behaviour, _, expected) in STRANGERS {
        let (here, there) = UnixStream::pair().unwrap();
        let channel = target.accept(Sockets::new([there]).unwrap());
        thread::scope(|scope| {
            scope.spawn(move || behaviour(here));
            let begin = Instant::now();
            let error = channel.connect(LIMIT).err().unwrap().to_string();
            assert!(begin.elapsed() < LIMIT + Duration::from_secs(2), "{expected}: {:?}", begin.elapsed());
            assert!(error.contains(expected), "{expected}: {error}");
            drop(channel);
        });
    }
}

#[test]
fn a_source_that_comes_after_strangers_is_accepted() {
    let (source, target) = both();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = target.accept(listener);
    // One more than the handshakes that go on at a time; all of them stay connected.
    let silent: Vec<_> = (0..17).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut random = TcpStream::connect(address).unwrap();
    random.write_all(&[7; 100]).unwrap();
    let here = source.connect_to("host-b", move |limit| TcpStream::connect_timeout(&address, limit)).unwrap();
    thread::scope(|scope| {
        let accepted = scope.spawn(|| [target.connect(PATIENCE).unwrap(), target.connect(PATIENCE).unwrap()]);
        let connections = [here.connect(PATIENCE).unwrap(), here.connect(PATIENCE).unwrap()];
        for (number, (here, there)) in connections.iter().zip(accepted.join().unwrap()).enumerate() {
            send_all(&**here, &[number as u8]).unwrap();
            let mut byte = [9];
            assert_eq!(receive(&*there, &mut byte).unwrap(), 1);
            assert_eq!(byte, [number as u8]);
        }
    });
    // It was told that it does not speak TLS.
    let mut alert = Vec::new();
    let _ = random.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    drop(silent);
}
