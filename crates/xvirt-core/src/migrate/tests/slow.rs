//! Peers that are slow, which are waited for, and peers that stall, which are not.

use std::io::{Read, Write};
use std::thread::{self, sleep};
use std::time::Instant;

use super::*;
use crate::ErrorKind;
use crate::migrate::frame::frame;
use crate::migrate::link::{Link, Watch};
use crate::migrate::message::Kind;

/// Long enough for a busy host to move a part, and too short for the whole message.
const SILENCE: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(300);
const PARTS: usize = 4;
const PART: usize = 1 << 20;

/// What `work` does with a link to a peer that does `there`.
fn with_peer<T>(there: impl FnOnce(UnixStream) + Send, work: impl FnOnce(&Link<'_>) -> T) -> T {
    let (here, other) = UnixStream::pair().unwrap();
    let watch = Watch::new(SILENCE, &|| Ok(()));
    thread::scope(|scope| {
        scope.spawn(move || there(other));
        let link = Link::new(Sockets::new([here]).unwrap().connect(PATIENCE).unwrap(), &watch);
        work(&link)
    })
}

#[test]
fn a_message_may_take_longer_than_the_limit_for_silence_if_it_moves() {
    let message = frame(Kind::Released, &vec![7; PARTS * PART]);
    let begin = Instant::now();
    let slow_reader = |mut stream: UnixStream| {
        let mut part = vec![0; PART];
        while stream.read_exact(&mut part).is_ok() {
            sleep(PAUSE);
        }
    };
    with_peer(slow_reader, |link| link.send(&message)).unwrap();
    assert!(begin.elapsed() > SILENCE, "{:?}: too fast to test anything", begin.elapsed());

    let begin = Instant::now();
    let slow_writer = |mut stream: UnixStream| {
        for part in message.chunks(PART) {
            stream.write_all(part).unwrap();
            sleep(PAUSE);
        }
    };
    let body = with_peer(slow_writer, |link| link.expect(Kind::Released)).unwrap();
    assert!(body.len() == PARTS * PART && body.iter().all(|byte| *byte == 7));
    assert!(begin.elapsed() > SILENCE, "{:?}: too fast to test anything", begin.elapsed());
}

#[test]
fn a_peer_that_stalls_within_a_message_is_given_up() {
    let message = frame(Kind::Released, &vec![7; PARTS * PART]);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let reads = move |mut stream: UnixStream| {
        stream.read_exact(&mut vec![0; PART]).unwrap();
        // It keeps the connection open until this side has given up.
        let _ = ended.recv();
    };
    let error = with_peer(reads, |link| {
        let sent = link.send(&message);
        drop(end);
        sent.unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("has taken no data"), "{error}");

    let (end, ended) = std::sync::mpsc::channel::<()>();
    let part = &message[..PART + PART / 2];
    let writes = move |mut stream: UnixStream| {
        stream.write_all(part).unwrap();
        let _ = ended.recv();
    };
    let error = with_peer(writes, |link| {
        let received = link.expect(Kind::Released);
        drop(end);
        received.unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("has sent nothing"), "{error}");
}
