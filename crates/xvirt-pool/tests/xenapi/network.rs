//! Clients from the network: sessions, wrong passwords, and those who only take room.

use std::time::Duration;

use serde_json::json;
use xvirt_pool::model::RoleName;
use xvirt_pool::operation::Caller;

use crate::support::{Client, LONG, SESSION, Served, plain};

const LOGIN: &str = "session.login_with_password";

fn log_in(client: &mut Client, password: &str) -> Result<String, String> {
    client.write(plain(LOGIN, &["root", password]));
    let answer = client.read().json();
    match answer["result"].as_str() {
        Some(session) => Ok(session.to_owned()),
        None => Err(answer["error"]["message"].as_str().unwrap().to_owned()),
    }
}

#[test]
fn from_the_network_a_session_is_needed() {
    let served = Served::with(|limits| limits.login_delay = Duration::ZERO);
    let mut client = served.remote();
    for wrong in ["OpaqueRef:NULL", "OpaqueRef:other", ""] {
        client.write(plain("VM.get_all", &[wrong]));
        let answer = client.read();
        assert_eq!((answer.code().as_str(), &answer.json()["error"]["data"]), ("SESSION_INVALID", &json!([wrong])));
    }
    assert_eq!(log_in(&mut client, "wrong").unwrap_err(), "SESSION_AUTHENTICATION_FAILED");
    assert!(served.fake.calls.lock().unwrap().is_empty());
    assert_eq!(log_in(&mut client, "correct horse").unwrap(), SESSION);
    client.write(plain("VM.get_all", &[SESSION]));
    assert_eq!(client.read().json()["result"], json!(["OpaqueRef:1"]));
    let calls = served.fake.calls.lock().unwrap();
    assert!(matches!(&calls[0].0, Caller::Session { from: Some(address), .. } if address.is_loopback()));
}

#[test]
fn on_the_socket_logins_succeed_and_a_session_stands_for_its_user() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(log_in(&mut client, "anything").unwrap(), SESSION);
    assert!(served.logins.recv_timeout(LONG).unwrap().local.is_some());
    client.write(plain("VM.get_all", &[SESSION]));
    client.read();
    client.write(plain("VM.get_all", &["OpaqueRef:ended"]));
    client.read();
    let calls = served.fake.calls.lock().unwrap();
    assert!(matches!(calls[0].0, Caller::Session { from: None, .. }) && matches!(calls[1].0, Caller::Local { .. }));
}

#[test]
fn the_parameters_of_a_login_are_two_to_four_texts() {
    let served = Served::new();
    let mut client = served.client();
    for (parameters, code) in [
        (vec![], "MESSAGE_PARAMETER_COUNT_MISMATCH"),
        (vec!["root"], "MESSAGE_PARAMETER_COUNT_MISMATCH"),
        (vec!["root", "p", "2.0", "me", "more"], "MESSAGE_PARAMETER_COUNT_MISMATCH"),
    ] {
        client.write(plain(LOGIN, &parameters));
        assert_eq!(client.read().code(), code);
    }
    client.write(plain(LOGIN, &["root", "p", "2.0", "me"]));
    assert_eq!(client.read().json()["result"], SESSION);
    assert_eq!(served.logins.recv_timeout(LONG).unwrap().originator, "me");
}

#[test]
fn the_answer_to_a_wrong_password_is_kept_back_without_a_turn() {
    let mut served = Served::with(|limits| (limits.logins, limits.login_delay) = (1, LONG * 10));
    let mut wrong: Vec<_> = (0..3).map(|_| served.remote()).collect();
    for client in &mut wrong {
        client.write(plain(LOGIN, &["root", "wrong"]));
        served.logins.recv_timeout(LONG).unwrap();
    }
    // All three wait, and there is one turn.
    assert_eq!(log_in(&mut served.remote(), "correct horse").unwrap(), SESSION);
    served.server.take().unwrap().stop(LONG);
    wrong.iter_mut().for_each(|client| assert_eq!(client.read().code(), "SESSION_AUTHENTICATION_FAILED"));
}

#[test]
fn who_fails_too_often_is_not_even_tried() {
    let served = Served::with(|limits| limits.login_delay = Duration::ZERO);
    let mut client = served.remote();
    let failures = (0..20).map(|_| log_in(&mut client, "wrong").unwrap_err());
    assert!(failures.into_iter().all(|code| code == "SESSION_AUTHENTICATION_FAILED"));
    assert_eq!(served.logins.try_iter().count(), 10);
    assert_eq!(log_in(&mut client, "correct horse").unwrap_err(), "SESSION_AUTHENTICATION_FAILED");
    // Whoever is on the host comes in.
    assert_eq!(log_in(&mut served.client(), "").unwrap(), SESSION);
}

#[test]
fn one_address_gets_a_share_of_the_connections_and_none_of_those_of_the_socket() {
    let served = Served::with(|limits| (limits.connections, limits.connections_of_address) = (3, 2));
    let answers = |client: &mut Client| {
        client.try_write(plain("VM.get_all", &[SESSION])).is_ok()
            && client.try_read().is_some_and(|answer| answer.status == 200)
    };
    let mut kept: Vec<_> = (0..2).map(|_| served.remote()).collect();
    assert!(kept.iter_mut().all(answers));
    assert!(!answers(&mut served.remote()));
    // The room of the socket is all there.
    let mut local: Vec<_> = (0..3).map(|_| served.client()).collect();
    assert!(local.iter_mut().all(answers));
    kept.pop();
    // Until the server has seen that there is room again.
    while !answers(&mut served.remote()) {}
}

#[test]
fn who_does_not_begin_tls_is_ended() {
    let served = Served::with(|limits| limits.handshake = Duration::from_millis(100));
    let (mut silent, mut slow) = (Client::remote(served.https), Client::remote(served.https));
    slow.write(b"\x16\x03\x01\x02\x00\x01");
    assert!(silent.is_closed() && slow.is_closed());
    let mut other = Client::remote(served.https);
    other.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    // All that comes is that this is no TLS.
    assert!(!other.rest().starts_with(b"HTTP"));
    assert_eq!(served.client().call("VM.get_all", &[]).status, 200);
}

#[test]
fn a_console_needs_a_session_whose_role_allows_it() {
    let served = Served::new();
    let connect = |client: &mut Client, session: &str, headers: &str| {
        let path = format!("/console?uuid=runs{session}");
        client.write(format!("CONNECT {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    };
    for session in ["", "&session_id=OpaqueRef:other"] {
        let mut client = served.remote();
        connect(&mut client, session, "");
        let answer = client.read();
        assert_eq!(answer.status, 401, "{session}");
        assert!(answer.headers["www-authenticate"].starts_with("Basic"));
    }
    *served.fake.role.lock().unwrap() = RoleName::ReadOnly;
    let mut client = served.remote();
    connect(&mut client, "&session_id=OpaqueRef%3asession", "");
    let answer = client.read();
    assert_eq!((answer.status, answer.code().as_str()), (403, "RBAC_PERMISSION_DENIED"));
    assert_eq!(answer.json()["error"]["data"][0], "http/connect_console");
    *served.fake.role.lock().unwrap() = RoleName::VmOperator;
    let mut client = served.remote();
    // The cookie counts, and not the query.
    connect(&mut client, "&session_id=wrong", "Cookie: a=b; session_id=OpaqueRef:session\r\n");
    assert_eq!(client.bytes(15), b"HTTP/1.1 200 OK");
    served.consoles.recv_timeout(LONG).unwrap();
}
