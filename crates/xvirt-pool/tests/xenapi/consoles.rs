//! Consoles.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::support::{LONG, Served};

#[test]
fn a_console_is_carried_both_ways_after_the_answer_that_clients_compare() {
    let served = Served::new();
    let mut client = served.client();
    client.write("CONNECT /console?session_id=x&ref=OpaqueRef%3Aruns HTTP/1.0\r\n\r\n");
    let expected = b"HTTP/1.0 200 OK\r\n";
    let status = client.bytes(expected.len());
    assert!(status == expected || status == b"HTTP/1.1 200 OK\r\n", "{}", String::from_utf8_lossy(&status));
    while !client.bytes(1).ends_with(b"\n") || client.bytes(2) != b"\r\n" {}
    let mut console = served.consoles.recv_timeout(LONG).unwrap();
    console.write_all(b"login: ").unwrap();
    assert_eq!(client.bytes(7), b"login: ");
    client.write("root\n");
    let mut typed = [0; 5];
    console.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"root\n");
    drop(console);
    assert!(client.is_closed());
}

#[test]
fn a_console_that_cannot_be_opened_says_why() {
    let served = Served::new();
    for (query, status, code) in [
        ("?ref=OpaqueRef:off", 409, "VM_BAD_POWER_STATE"),
        ("?uuid=none", 404, "HANDLE_INVALID"),
        ("?ref=%zz", 400, "INTERNAL_ERROR"),
        ("", 400, "INTERNAL_ERROR"),
    ] {
        let mut client = served.client();
        client.write(format!("CONNECT /console{query} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.read();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{query}");
    }
}

#[test]
fn a_console_ends_with_the_server() {
    let mut served = Served::new();
    let mut client = served.client();
    client.write("CONNECT /console?uuid=runs HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut console = served.consoles.recv_timeout(LONG).unwrap();
    served.server.take().unwrap().stop(Duration::from_secs(60));
    assert_eq!(console.read(&mut [0]).unwrap(), 0);
    assert_eq!(client.bytes(15), b"HTTP/1.1 200 OK");
}
