//! Slow, greedy and hostile clients.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{LONG, Served, call, post};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn heads_and_bodies_that_are_too_large_are_refused() {
    let served = Served::with(|limits| limits.body = 1000);
    let large = " ".repeat(1001);
    let chunked = "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (request, status) in [
        (post(&large, ""), 413),
        (format!("{chunked}3e9\r\n{large}\r\n0\r\n\r\n").into_bytes(), 413),
        // Refused by what it announces.
        (b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n".to_vec(), 413),
        (post("", &format!("X: {}\r\n", "y".repeat(20_000))), 431),
        (post("", &"X: y\r\n".repeat(100)), 431),
    ] {
        let mut client = served.client();
        // The server may close the connection before it has read everything.
        let _ = client.try_write(&request);
        assert_eq!(client.read().status, status);
        assert!(client.is_closed());
    }
    assert_eq!(served.client().call("VM.get_all", &[]).status, 200);
}

#[test]
fn bytes_that_are_not_http_end_their_connection_only() {
    let served = Served::new();
    let mut other = served.client();
    for bytes in
        [&b"\0\0\0\0\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"POST\r\n\r\n", b"POST /jsonrpc HTTP/9.9\r\n\r\n"]
    {
        let mut client = served.client();
        client.write(bytes);
        let answer = client.try_read();
        assert!(answer.is_none_or(|answer| answer.status >= 400), "{bytes:?}");
        assert_eq!(other.call("VM.get_all", &[]).status, 200);
    }
}

#[test]
fn slow_clients_are_ended() {
    let served = Served::with(|limits| (limits.idle, limits.receive) = (SHORT, SHORT));
    let (mut idle, mut head, mut body) = (served.client(), served.client(), served.client());
    head.write("POST /jsonrpc HTTP/1.1\r\nHo");
    body.write("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
    assert_eq!(body.read().status, 408);
    assert!(body.is_closed() && head.is_closed() && idle.is_closed());
}

#[test]
fn a_client_that_does_not_read_is_ended_and_its_memory_is_free_again() {
    // There is memory for one such answer.
    let served = Served::with(|limits| (limits.send, limits.answers) = (SHORT, 1 << 20));
    let mut greedy = served.client();
    greedy.write(call("VM.get_all_records", &[]));
    // Its answer has begun.
    assert!(!greedy.is_closed());
    // This one waits until the other's memory is free, because its own answer needs all.
    let mut other = served.client();
    let answer = other.call("VM.get_all_records", &[]);
    assert_eq!((answer.status, answer.json()["result"].as_str().unwrap().len()), (200, 4 << 20));
    assert!(greedy.rest().len() < 4 << 20);
}

#[test]
fn verbs_that_take_long_keep_no_others_from_their_turn() {
    let served = Served::with(|limits| (limits.waits, limits.turn) = (2, SHORT));
    let mut busy: Vec<_> = (0..2).map(|_| served.client()).collect();
    busy.iter_mut().for_each(|client| client.write(call("VM.start", &[])));
    let releases: Vec<_> = (0..2).map(|_| served.begun.recv_timeout(LONG).unwrap()).collect();
    // One too many of its kind, and others.
    let mut client = served.client();
    assert_eq!(client.call("VM.start", &[]).code(), "TOO_MANY_PENDING_TASKS");
    assert_eq!(client.call("VM.get_all", &[]).status, 200);
    assert_eq!(client.call("Async.VM.start", &[]).code(), "MESSAGE_METHOD_UNKNOWN");
    drop(releases);
    busy.iter_mut().for_each(|client| assert_eq!(client.read().json()["result"], "started"));
}

#[test]
fn a_connection_too_many_is_refused_by_name() {
    let served = Served::with(|limits| limits.connections = 2);
    let mut kept: Vec<_> = (0..2).map(|_| served.client()).collect();
    kept.iter_mut().for_each(|client| assert_eq!(client.call("VM.get_all", &[]).status, 200));
    for _ in 0..3 {
        let mut client = served.client();
        client.write(call("VM.get_all", &[]));
        let answer = client.read();
        assert_eq!((answer.status, answer.code().as_str()), (503, "TOO_MANY_PENDING_TASKS"));
    }
    kept.pop();
    // Until the server has seen that there is room again.
    while served.client().call("VM.get_all", &[]).status != 200 {}
    assert_eq!(kept[0].call("VM.get_all", &[]).status, 200);
}

#[test]
fn ten_thousand_requests_at_once_are_all_answered_or_refused_by_name() {
    const REQUESTS: u64 = 10_000;
    const THREADS: u64 = 8;
    let most = getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < REQUESTS + 2000) {
        println!("SKIPPED: this process may have only {most:?} descriptors");
        return;
    }
    let raised = Rlimit { current: most, maximum: most };
    setrlimit(Resource::Nofile, raised).unwrap();
    let served = Served::new();
    let path = served.server.as_ref().unwrap().path();
    // Half of them keep their connections.
    let requests =
        ["Connection: close\r\n", ""].map(|header| post(r#"{"method":"VM.get_all","params":["s"],"id":1}"#, header));
    let all_sent = Barrier::new(THREADS as usize);
    let answered: u64 = std::thread::scope(|scope| {
        let clients = (0..THREADS).map(|_| {
            scope.spawn(|| {
                let send = |number: u64| {
                    let mut client = UnixStream::connect(path).unwrap();
                    client.set_read_timeout(Some(LONG)).unwrap();
                    // A refusal may come before the request has gone.
                    let _ = client.write_all(&requests[number as usize % 2]);
                    client
                };
                let clients: Vec<_> = (0..REQUESTS / THREADS).map(send).collect();
                all_sent.wait();
                let answers = clients.into_iter().map(|mut client| {
                    let mut answer = Vec::new();
                    // A body is one object.
                    let mut piece = [0; 1024];
                    while !answer.ends_with(b"}") {
                        let Ok(length @ 1..) = client.read(&mut piece) else { break };
                        answer.extend_from_slice(&piece[..length]);
                    }
                    let answer = String::from_utf8(answer).unwrap();
                    match answer.starts_with("HTTP/1.1 200") {
                        true => assert!(answer.contains("OpaqueRef:1"), "{answer}"),
                        false => assert!(answer.contains("TOO_MANY_PENDING_TASKS"), "{answer:?}"),
                    }
                    1
                });
                answers.sum::<u64>()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(answered, REQUESTS);
    assert_eq!(served.client().call("VM.get_all", &[]).status, 200);
}
