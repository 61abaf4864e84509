//! Tests freezing file systems.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Fake, PATIENCE, SHORT, Said, kind};
use crate::ErrorKind;

/// A guest with three file systems, and the requests that it received.
fn guest(mut thaw: impl FnMut() -> Said + Send + 'static) -> (Fake, Receiver<String>) {
    let (ask, asked) = channel();
    let fake = Fake::start(move |command, _| {
        ask.send(command.to_owned()).unwrap();
        if command == "guest-fsfreeze-freeze" { Said::Return(json!(3)) } else { thaw() }
    });
    (fake, asked)
}

fn thawed() -> Said {
    Said::Return(json!(3))
}

fn next(asked: &Receiver<String>) -> String {
    asked.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn file_systems_are_thawed_by_the_caller() {
    let (fake, asked) = guest(thawed);
    let agent = fake.agent().with_timeout(PATIENCE);
    let frozen = agent.freeze_file_systems(PATIENCE).unwrap();
    assert_eq!(frozen.count(), 3);
    assert_eq!(frozen.thaw().unwrap(), 3);
    drop(agent.freeze_file_systems(PATIENCE).unwrap());
    assert_eq!(fake.asked(), ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"].repeat(2));
    drop(asked);
}

#[test]
fn file_systems_are_thawed_when_their_time_is_over() {
    let (fake, asked) = guest(thawed);
    let frozen = fake.agent().with_timeout(PATIENCE).freeze_file_systems(Duration::from_millis(50)).unwrap();
    assert_eq!([next(&asked), next(&asked)], ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]);
    // Another program has thawed them before, and this asks again.
    assert_eq!(frozen.thaw().unwrap(), 3);
}

#[test]
fn a_thaw_that_fails_is_tried_again() {
    let mut fail = true;
    let (fake, asked) =
        guest(move || if std::mem::take(&mut fail) { Said::Error("GenericError", "not now".into()) } else { thawed() });
    let frozen = fake.agent().with_timeout(PATIENCE).freeze_file_systems(PATIENCE).unwrap();
    assert_eq!(kind(frozen.thaw()), ErrorKind::AgentRefused);
    assert_eq!([next(&asked), next(&asked), next(&asked)].last().unwrap(), "guest-fsfreeze-thaw");
}

#[test]
fn file_systems_that_may_be_frozen_are_thawed() {
    let (ask, asked) = channel();
    let fake = Fake::start(move |command, _| {
        ask.send(command.to_owned()).unwrap();
        if command == "guest-fsfreeze-freeze" { Said::Nothing } else { thawed() }
    });
    assert_eq!(kind(fake.agent().with_timeout(SHORT).freeze_file_systems(PATIENCE)), ErrorKind::Timeout);
    assert_eq!([next(&asked), next(&asked)], ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]);
}

#[test]
fn what_is_not_frozen_is_not_thawed_and_a_vm_that_is_gone_is_left_alone() {
    let fake = Fake::start(|_, _| Said::Error("GenericError", "failed to freeze".into()));
    assert_eq!(kind(fake.agent().with_timeout(PATIENCE).freeze_file_systems(PATIENCE)), ErrorKind::AgentRefused);
    assert_eq!(fake.asked(), ["guest-fsfreeze-freeze"]);

    let (fake, _asked) = guest(thawed);
    let frozen = fake.agent().with_timeout(PATIENCE).freeze_file_systems(PATIENCE).unwrap();
    fake.end();
    assert_eq!(kind(frozen.thaw()), ErrorKind::Gone);
}

#[test]
fn what_the_agent_was_never_asked_for_is_not_thawed() {
    let mut deaf = true;
    let fake = Fake::hostile(move |command, arguments| match command {
        "guest-sync-delimited" if std::mem::take(&mut deaf) => Said::Nothing,
        "guest-sync-delimited" => {
            Said::Bytes([&b"\xff"[..], json!({ "return": arguments["id"] }).to_string().as_bytes(), b"\n"].concat())
        }
        _ => thawed(),
    });
    assert_eq!(kind(fake.agent().with_timeout(SHORT).freeze_file_systems(PATIENCE)), ErrorKind::Timeout);
    drop(fake.agent().with_timeout(PATIENCE).freeze_file_systems(PATIENCE).unwrap());
    assert_eq!(fake.asked(), ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]);
}

#[test]
fn nothing_is_frozen_again_before_it_is_thawed() {
    let fake = Fake::start(|command, _| match command {
        "guest-fsfreeze-freeze" => Said::Nothing,
        _ => Said::Error("GenericError", "not now".into()),
    });
    assert_eq!(kind(fake.agent().with_timeout(SHORT).freeze_file_systems(PATIENCE)), ErrorKind::Timeout);
    assert_eq!(kind(fake.agent().with_timeout(PATIENCE).freeze_file_systems(PATIENCE)), ErrorKind::AgentRefused);
    let asked = fake.asked();
    assert_eq!(asked[0], "guest-fsfreeze-freeze");
    assert!(asked[1..].iter().all(|command| command == "guest-fsfreeze-thaw"), "{asked:?}");
}

#[test]
fn what_an_agent_that_ended_may_have_frozen_is_thawed_by_the_next() {
    let (ask, asked) = channel();
    let fake = Fake::start(move |command, _| {
        ask.send(command.to_owned()).unwrap();
        if command == "guest-fsfreeze-freeze" { Said::Nothing } else { thawed() }
    });
    let agent = fake.agent().with_timeout(PATIENCE);
    let freezing = thread::spawn(move || agent.freeze_file_systems(PATIENCE));
    assert_eq!(next(&asked), "guest-fsfreeze-freeze");
    fake.port.backend().set_open(false);
    assert_eq!(kind(freezing.join().unwrap()), ErrorKind::AgentAbsent);
    fake.port.backend().set_open(true);
    assert_eq!(next(&asked), "guest-fsfreeze-thaw");
}
