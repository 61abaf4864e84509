//! Starting and stopping.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use xvirt_pool::ErrorKind;
use xvirt_pool::operation::Verbs;
use xvirt_pool::xenapi::{Limits, Listeners, Server};

use crate::support::{Client, LONG, Served, call};

fn start(served: &Served, path: &std::path::Path) -> xvirt_pool::Result<Server> {
    Server::start(Arc::clone(&served.fake) as Arc<dyn Verbs>, Listeners::socket(path), Limits::default())
}

#[test]
fn the_socket_is_for_its_owner_and_group_and_replaces_one_that_was_left() {
    let served = Served::new();
    let path = served.folder.path().join("other");
    // Dropping a listener leaves its file, as a killed service does.
    drop(UnixListener::bind(&path).unwrap());
    let server = start(&served, &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(Client::connect(&path).call("VM.get_all", &[]).status, 200);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_place_that_is_taken_is_left_alone() {
    let served = Served::new();
    let taken = served.server.as_ref().unwrap().path().to_owned();
    let error = start(&served, &taken).unwrap_err();
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Busy, Some("stop it, or choose another path")));
    assert_eq!(served.client().call("VM.get_all", &[]).status, 200);

    let file = served.folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert_eq!(start(&served, &file).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(start(&served, &served.folder.path().join("none/socket")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn requests_are_answered_before_the_server_has_stopped() {
    let mut served = Served::new();
    let mut idle = served.client();
    assert_eq!(idle.call("VM.get_all", &[]).status, 200);
    let mut busy = served.client();
    busy.write(call("VM.start", &[]));
    let release = served.begun.recv_timeout(LONG).unwrap();
    let server = served.server.take().unwrap();
    let path = server.path().to_owned();
    let stopping = std::thread::spawn(move || server.stop(LONG));
    // It stops: an idle connection ends while the other one is waited for.
    assert!(idle.is_closed());
    assert!(!path.exists() && !stopping.is_finished());
    release.send(()).unwrap();
    assert_eq!(busy.read().json()["result"], "started");
    stopping.join().unwrap();
    assert!(busy.is_closed());
}

#[test]
fn a_verb_that_takes_longer_than_the_server_waits_is_left_behind() {
    let mut served = Served::new();
    let mut client = served.client();
    client.write(call("VM.start", &[]));
    let _release = served.begun.recv_timeout(LONG).unwrap();
    served.server.take().unwrap().stop(Duration::ZERO);
    assert!(client.is_closed());
}
