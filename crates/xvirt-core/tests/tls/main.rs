//! Connections of migrations over TLS.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "tls")]

mod identities;
mod refusals;
mod strangers;
mod streams;

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use xvirt_core::migrate::{Channel, Connection, Sockets, Tls};
use xvirt_testing::certificates::{Authority, Identity};

/// Long enough for a busy host where no fault is expected.
const PATIENCE: Duration = Duration::from_secs(20);

fn tls(identity: &Identity, authority: &Authority) -> Tls {
    let Identity { certificate, key } = identity;
    Tls::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate.as_bytes()).unwrap()
}

/// Good identities of a source and a target, which is host-b.
fn both() -> (Tls, Tls) {
    let authority = Authority::new("the pool");
    let host = |name| tls(&authority.sign(name, |_| {}), &authority);
    (host("host-a"), host("host-b"))
}

type Connected = io::Result<Box<dyn Connection>>;

/// The ends of a connection from `source` to `target` over `here` and `there`.
fn connect_over(
    (source, target): &(Tls, Tls),
    here: impl Channel,
    there: impl Channel,
    limit: Duration,
) -> (Connected, Connected) {
    let (here, there) = (source.connect_to("host-b", here).unwrap(), target.accept(there));
    thread::scope(|scope| {
        let accepted = scope.spawn(|| there.connect(limit));
        (here.connect(limit), accepted.join().unwrap())
    })
}

/// The same over a socket pair.
fn connect(hosts: &(Tls, Tls)) -> (Connected, Connected) {
    let (here, there) = UnixStream::pair().unwrap();
    connect_over(hosts, Sockets::new([here]).unwrap(), Sockets::new([there]).unwrap(), PATIENCE)
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn send_all(connection: &dyn Connection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match connection.send(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn receive(connection: &dyn Connection, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match connection.receive(buffer) {
            Err(error) if is_wait(&error) => {}
            done => return done,
        }
    }
}
