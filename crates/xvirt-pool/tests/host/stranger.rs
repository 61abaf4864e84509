//! A program in place of a worker that speaks another version of the protocol.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use xvirt_worker::protocol::{NumberedRequest, Outcome, Reply, VERSIONS, Versions, decode, encode, receive, send};

/// The other process; does nothing when run as an ordinary test. It writes its number once it listens.
#[test]
fn speaks_another_version() {
    let Some(number) = std::env::var_os("XVIRT_TEST_STRANGER") else { return };
    // SAFETY: a worker inherits its socket with this number, and nothing else here knows it.
    let socket = UnixListener::from(unsafe { OwnedFd::from_raw_fd(3) });
    rustix::net::listen(&socket, 16).unwrap();
    let unfinished = std::path::Path::new(&number).with_extension("new");
    std::fs::write(&unfinished, std::process::id().to_string()).unwrap();
    std::fs::rename(unfinished, number).unwrap();
    let theirs = Versions { oldest: VERSIONS.newest + 1, newest: VERSIONS.newest + 1 };
    for client in socket.incoming().map_while(Result::ok) {
        let Ok(Some(frame)) = receive(&client, Duration::from_secs(60)) else { continue };
        let asked: NumberedRequest = decode(&frame.bytes).unwrap();
        let outcome = Outcome::Failed(theirs.common(VERSIONS).unwrap_err());
        let _ = send(&client, &encode(&Reply { id: asked.id, outcome }).unwrap(), &[]);
    }
}
