//! Tests guests with invalid answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Fake, PATIENCE, SHORT, Said, agent, kind};
use crate::ErrorKind;
use crate::agent::GuestCommand;

#[test]
fn answers_that_make_no_sense_are_refused() {
    let answers = [
        "",
        "null",
        "{}",
        "[]",
        "{\"return\"}",
        "{\"return\": \"text\"}",
        "{\"return\": 1e99}",
        "{\"return\": 0.5}",
        "{\"return\": 99999999999999999999}",
        "{\"error\": \"text\"}",
        "{\"return\": null}",
        "\u{1}",
        "{\"return\": 1} 2",
    ];
    for text in answers {
        let (_fake, agent) = agent(move |_, _| Said::Bytes(format!("{text}\n").into_bytes()));
        let error = agent.time().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidAnswer, "{text}: {error}");
    }
    let deep = format!("{{\"return\": {}\n", "[".repeat(100_000));
    let (_fake, agent) = agent(move |_, _| Said::Bytes(deep.clone().into_bytes()));
    assert_eq!(kind(agent.time()), ErrorKind::InvalidAnswer);
}

#[test]
fn numbers_out_of_range_are_refused() {
    for value in [
        json!({ "exited": true }),
        json!({ "exited": true, "exitcode": 1_i64 << 40 }),
        json!({ "exited": true, "exitcode": 0, "out-data": "?" }),
        json!({ "exited": 1 }),
    ] {
        let said = value.clone();
        let (_fake, agent) = agent(move |command, _| match command {
            "guest-exec" => Said::Return(json!({ "pid": 1 })),
            _ => Said::Return(said.clone()),
        });
        assert_eq!(kind(agent.run(&GuestCommand::new("true"))), ErrorKind::InvalidAnswer, "{value}");
    }
    for value in [
        json!([{ "name": "a", "ip-addresses": [{ "ip-address": "10.0.0.1", "prefix": 33 }] }]),
        json!([{ "name": "a", "ip-addresses": [{ "ip-address": "10.0.0.1", "prefix": 300 }] }]),
        json!([{ "name": "a", "ip-addresses": [{ "ip-address": "here", "prefix": 3 }] }]),
        json!([{ "name": "a", "hardware-address": 2 }]),
    ] {
        let said = value.clone();
        let (_fake, agent) = agent(move |_, _| Said::Return(said.clone()));
        assert_eq!(kind(agent.network_interfaces()), ErrorKind::InvalidAnswer, "{value}");
    }
}

#[test]
fn pieces_of_files_that_do_not_add_up_are_refused() {
    for piece in [
        json!({ "count": 4, "buf-b64": STANDARD.encode("abc"), "eof": false }),
        json!({ "count": 0, "eof": false }),
        json!({ "count": -1, "eof": true }),
        json!({ "count": 600_000, "buf-b64": STANDARD.encode(vec![0; 600_000]), "eof": false }),
    ] {
        let (_fake, agent) = agent(move |command, _| match command {
            "guest-file-open" => Said::Return(json!(1)),
            "guest-file-read" => Said::Return(piece.clone()),
            _ => Said::Return(json!({})),
        });
        assert_eq!(kind(agent.read_file("/data", 1 << 30)), ErrorKind::InvalidAnswer);
    }
    for count in [0, 4, -1] {
        let (_fake, agent) = agent(move |command, _| match command {
            "guest-file-open" => Said::Return(json!(1)),
            "guest-file-write" => Said::Return(json!({ "count": count, "eof": false })),
            _ => Said::Return(json!({})),
        });
        assert_eq!(kind(agent.write_file("/data", b"abc")), ErrorKind::InvalidAnswer);
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let (_fake, agent) = agent(|_, _| Said::Bytes(vec![b' '; 2 << 20]));
    let error = agent.ping().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
    assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
}

/// A guest that never answers but sends without end costs only the time limit.
#[test]
fn endless_noise_costs_the_time_limit() {
    for noise in [&b"noise\n"[..], b"\xff", b"\xff{\"return\": 1}\n", b"x"] {
        let fake = Fake::hostile(|_, _| Said::Nothing);
        let (port, agent) = (fake.port.backend(), fake.agent().with_timeout(SHORT));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    port.output(&noise.repeat(1000));
                }
            });
            let began = Instant::now();
            assert_eq!(kind(agent.ping()), ErrorKind::Timeout, "{noise:?}");
            assert!(began.elapsed() < PATIENCE);
            over.store(true, Ordering::Relaxed);
        });
    }
}
