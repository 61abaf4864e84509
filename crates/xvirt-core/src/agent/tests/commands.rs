//! Tests commands, collected and streamed.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Files, PATIENCE, SHORT, Said, agent, kind};
use crate::ErrorKind;
use crate::agent::{CommandStatus, GuestCommand, OutputStream};

const PID: i64 = 4242;

fn exited(code: i32) -> Said {
    Said::Return(json!({ "exited": true, "exitcode": code }))
}

fn running() -> Said {
    Said::Return(json!({ "exited": false }))
}

/// The script that a request passes to the shell, if any.
fn script(arguments: &Value) -> &str {
    arguments["arg"][1].as_str().unwrap_or_default()
}

#[test]
fn a_command_is_given_as_it_is_and_its_output_collected() {
    let mut states = [
        running(),
        running(),
        Said::Return(json!({ "exited": true, "exitcode": 3, "out-data": STANDARD.encode("9\n10\n"),
                             "err-data": STANDARD.encode("oh"), "out-truncated": false })),
    ]
    .into_iter();
    let (fake, agent) = agent(move |command, arguments| {
        if command == "guest-exec-status" {
            assert_eq!(arguments, &json!({ "pid": PID }));
            return states.next().unwrap();
        }
        assert_eq!(
            arguments,
            &json!({ "path": "sort", "arg": ["-n", "$(a) \"b\""], "env": ["LANG=C"], "capture-output": true,
                     "input-data": STANDARD.encode("10\n9\n") })
        );
        Said::Return(json!({ "pid": PID }))
    });
    let command =
        GuestCommand::new("sort").args(["-n", "$(a) \"b\""]).env("LANG", "C").input("10\n9\n").output_limit(4);
    let output = agent.run(&command).unwrap();
    assert_eq!((output.status, output.status.is_success()), (CommandStatus::Exited(3), false));
    assert_eq!((&*output.stdout_lossy(), &*output.stderr_lossy()), ("9\n10", "oh"));
    assert_eq!((output.stdout_truncated, output.stderr_truncated), (true, false));
    assert_eq!(fake.asked().len(), 4);
}

#[test]
fn an_end_by_a_signal_and_output_that_the_agent_cut_short_are_told() {
    let (_fake, agent) = agent(|command, _| match command {
        "guest-exec" => Said::Return(json!({ "pid": PID })),
        _ => Said::Return(json!({ "exited": true, "signal": 9, "err-data": "", "err-truncated": true })),
    });
    let output = agent.run(&GuestCommand::new("true")).unwrap();
    assert_eq!(output.status, CommandStatus::Signalled(9));
    assert_eq!(output.status.to_string(), "killed by signal 9");
    assert_eq!((output.stdout_truncated, output.stderr_truncated), (false, true));
}

#[test]
fn a_command_that_takes_too_long_is_killed() {
    let mut killed = false;
    let (_fake, agent) = agent(move |command, arguments| match command {
        "guest-exec" if script(arguments).contains("kill -9") => {
            assert_eq!(arguments["arg"][3], PID.to_string());
            killed = true;
            Said::Return(json!({ "pid": 1 }))
        }
        "guest-exec" => Said::Return(json!({ "pid": PID })),
        _ if killed => exited(0),
        _ => running(),
    });
    let error = agent.run(&GuestCommand::new("sleep").arg("1000").timeout(SHORT)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains("with process ID 4242, was killed: it did not end in time; give it more time"), "{text}");
}

#[test]
fn a_command_that_cannot_be_killed_is_said_to_run_on() {
    let (fake, agent) = agent(|command, _| match command {
        "guest-exec" => Said::Return(json!({ "pid": PID })),
        _ => Said::Nothing,
    });
    let error = agent.run(&GuestCommand::new("sleep").timeout(SHORT)).unwrap_err();
    assert!(error.to_string().contains("with process ID 4242, may still run"), "{error}");
    assert_eq!(kind(agent.run(&GuestCommand::new(""))), ErrorKind::InvalidConfig);
    assert_eq!(kind(agent.run(&GuestCommand::new("a\0b"))), ErrorKind::InvalidConfig);
    assert_eq!(kind(agent.run(&GuestCommand::new("a").input(vec![0; (16 << 20) + 1]))), ErrorKind::InvalidConfig);
    assert_eq!(fake.asked().iter().filter(|command| *command == "guest-exec").count(), 2);
}

#[test]
fn a_command_whose_guest_was_reset_is_not_killed_in_the_next_boot() {
    let (ask, asked) = mpsc::channel();
    let (fake, agent) = agent(move |command, _| match command {
        "guest-exec" => Said::Return(json!({ "pid": PID })),
        _ => {
            ask.send(()).unwrap();
            Said::Nothing
        }
    });
    let error = thread::scope(|scope| {
        let run = scope.spawn(|| agent.run(&GuestCommand::new("sleep")).unwrap_err());
        asked.recv_timeout(PATIENCE).unwrap();
        fake.port.reset();
        run.join().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().contains("with process ID 4242, ended with its guest: "), "{error}");
    assert_eq!(fake.asked(), ["guest-exec", "guest-exec-status"]);
}

/// How much a command writes to its standard error before it ends: more than is read at a time.
const LAST_WORDS: usize = 600_000;

/// A guest with a command that writes a piece of output each time its status is queried, and ends with status 5.
fn writer(mut pieces: impl Iterator<Item = &'static str> + Send + 'static) -> impl FnMut(&str, &Value) -> Said + Send {
    let mut files = Files::default();
    let (mut folder, mut killed, mut ended) = (String::new(), false, false);
    move |command, arguments| match command {
        "guest-exec" if script(arguments).starts_with("umask") => {
            folder = arguments["arg"][3].as_str().unwrap().to_owned();
            for name in ["1", "2"] {
                files.contents.insert(format!("{folder}/{name}"), Vec::new());
            }
            Said::Return(json!({ "pid": 1 }))
        }
        "guest-exec" => {
            let begins = script(arguments).starts_with("d=$1");
            killed = !begins && (killed || script(arguments).contains("kill -9"));
            ended = false;
            Said::Return(json!({ "pid": if begins { PID } else { 1 } }))
        }
        "guest-exec-status" if arguments["pid"] != PID => exited(0),
        "guest-exec-status" if killed => Said::Return(json!({ "exited": true, "signal": 9 })),
        "guest-exec-status" => {
            let Some(piece) = pieces.next() else {
                files.contents.get_mut(&format!("{folder}/2")).unwrap().extend(vec![b'!'; LAST_WORDS]);
                // It forgets a process once it has reported how the process ended.
                if std::mem::replace(&mut ended, true) {
                    return Said::Error("GenericError", "Invalid parameter 'pid'".into());
                }
                return exited(5);
            };
            files.contents.get_mut(&format!("{folder}/1")).unwrap().extend(piece.as_bytes());
            running()
        }
        _ => files.said(command, arguments),
    }
}

#[test]
fn output_comes_while_a_command_runs() {
    let (fake, agent) = agent(writer(["one ", "two "].into_iter()));
    let (mut pieces, mut errors) = (Vec::new(), 0);
    let command = GuestCommand::new("make").arg("world");
    let status = agent.run_streamed(&command, |stream, bytes| {
        match stream {
            OutputStream::Stdout => pieces.push(String::from_utf8(bytes.to_vec()).unwrap()),
            OutputStream::Stderr => errors += bytes.len(),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(status.unwrap(), CommandStatus::Exited(5));
    assert_eq!((pieces, errors), (vec!["one ".to_owned(), "two ".to_owned()], LAST_WORDS));
    let closed = fake.asked().iter().filter(|command| *command == "guest-file-close").count();
    assert_eq!(closed, 2);
}

#[test]
fn a_streamed_command_ends_when_its_reader_has_enough() {
    let (fake, agent) = agent(writer(std::iter::repeat("y\n")));
    let error = agent.run_streamed(&GuestCommand::new("yes"), |_, _| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("was killed"), "{error}");
    let endless = GuestCommand::new("yes").timeout(SHORT);
    assert_eq!(kind(agent.run_streamed(&endless, |_, _| ControlFlow::Continue(()))), ErrorKind::Timeout);
    assert_eq!(fake.asked().iter().filter(|command| *command == "guest-file-close").count(), 4);
}

#[test]
fn what_a_streamed_command_needs_is_removed_when_it_cannot_start() {
    let mut removed = false;
    let mut inner = writer(std::iter::empty());
    let (fake, agent) = agent(move |command, arguments| {
        if command == "guest-exec" && script(arguments).starts_with("d=$1") {
            return Said::Error("GenericError", "no more processes".into());
        }
        removed |= script(arguments).starts_with("rm -rf");
        assert!(!removed || command != "guest-file-read");
        inner(command, arguments)
    });
    let refused = agent.run_streamed(&GuestCommand::new("true"), |_, _| ControlFlow::Continue(()));
    assert_eq!(kind(refused), ErrorKind::AgentRefused);
    let asked = fake.asked();
    assert_eq!(asked.iter().filter(|command| *command == "guest-file-close").count(), 2, "{asked:?}");
    assert_eq!(asked.iter().filter(|command| *command == "guest-exec").count(), 3, "{asked:?}");
}
