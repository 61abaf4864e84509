//! Tests simple calls, and failures of calls.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Fake, PATIENCE, SHORT, Said, agent, kind};
use crate::ErrorKind;
use crate::agent::AgentFailure;

#[test]
fn the_agent_says_what_it_can() {
    let (_fake, agent) = agent(|command, arguments| {
        assert_eq!((command, arguments), ("guest-info", &json!({})));
        Said::Return(json!({ "version": "7.2.17", "new": [1], "supported_commands": [
            { "name": "guest-exec", "enabled": false, "success-response": true },
            { "name": "guest-ping", "enabled": true, "success-response": true },
        ] }))
    });
    let info = agent.info().unwrap();
    assert_eq!(info.version, "7.2.17");
    assert!(info.is_enabled("guest-ping") && !info.is_enabled("guest-exec") && !info.is_enabled("guest-unknown"));
}

#[test]
fn interfaces_have_addresses_of_both_kinds() {
    let (_fake, agent) = agent(|_, _| {
        Said::Return(json!([
            { "name": "lo", "ip-addresses": [{ "ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128 }] },
            { "name": "eth0", "hardware-address": "02:00:00:00:77:02", "statistics": { "rx-bytes": 1 }, "ip-addresses": [
                { "ip-address": "10.77.0.2", "ip-address-type": "ipv4", "prefix": 24 },
            ] },
            { "name": "eth1", "hardware-address": "02:00:00:00:77:03" },
            { "name": "ib0", "hardware-address": "80:00:00:48:fe:80:00:00:00:00:00:00:7c:fe:90:03:00:29:23:a4" },
        ]))
    });
    let interfaces = agent.network_interfaces().unwrap();
    let names: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0", "eth1", "ib0"]);
    assert_eq!((interfaces[0].mac, interfaces[0].addresses[0].prefix), (None, 128));
    assert_eq!(interfaces[1].mac.unwrap().to_string(), "02:00:00:00:77:02");
    let address = interfaces[1].addresses[0];
    assert_eq!((address.address, address.prefix), (IpAddr::from([10, 77, 0, 2]), 24));
    assert!(interfaces[2].addresses.is_empty());
    assert_eq!(interfaces[3].mac, None);
}

#[test]
fn the_clock_is_read_and_set_to_the_nanosecond() {
    let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let mut clock = -1_000_000_000_i64;
    let (_fake, agent) = agent(move |command, arguments| {
        if command == "guest-set-time" {
            clock = arguments["time"].as_i64().unwrap();
            return Said::Return(json!({}));
        }
        Said::Return(json!(clock))
    });
    assert_eq!(agent.time().unwrap(), UNIX_EPOCH - Duration::from_secs(1));
    agent.set_time(time).unwrap();
    assert_eq!(agent.time().unwrap(), time);
    assert_eq!(kind(agent.set_time(UNIX_EPOCH - Duration::from_secs(1))), ErrorKind::InvalidConfig);
}

#[test]
fn the_time_is_set_to_that_of_the_answer_and_only_while_wanted() {
    let (asked, times) = mpsc::channel();
    let (fake, agent) = agent(move |command, arguments| {
        if command == "guest-set-time" {
            asked.send(arguments["time"].as_i64().unwrap()).unwrap();
        }
        Said::Return(json!({}))
    });
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let before = now();
    agent.set_time_to_now(PATIENCE, || true).unwrap();
    let time = times.recv_timeout(PATIENCE).unwrap();
    assert!((before..=now()).contains(&time), "{time}");
    assert_eq!(kind(agent.set_time_to_now(PATIENCE, || false)), ErrorKind::Cancelled);
    assert_eq!(fake.asked(), ["guest-set-time"]);
}

#[test]
fn an_agent_that_does_not_answer_is_not_asked_for_ever() {
    let (_fake, agent) = agent(|_, _| Said::Nothing);
    let began = Instant::now();
    assert_eq!(kind(agent.set_time_to_now(SHORT, || true)), ErrorKind::Timeout);
    assert!(began.elapsed() >= SHORT);
}

#[test]
fn an_error_of_the_agent_has_its_class_and_text_within_bounds() {
    let (_fake, agent) = agent(|_, _| Said::Error("GenericError", format!("bell \x07 and {}", "x".repeat(2000))));
    let error = agent.ping().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AgentRefused);
    let text = error.to_string();
    assert!(text.starts_with("guest-ping failed on the guest agent of VM 'web-1': "), "{text}");
    assert!(text.len() < 1000 && !text.contains('\x07'), "{text}");
    let failure = AgentFailure::of(&error).unwrap();
    let AgentFailure { class, description, .. } = failure;
    assert_eq!((class.as_str(), description.chars().count()), ("GenericError", 512));
}

#[test]
fn a_forbidden_command_says_where_to_allow_it() {
    let (_fake, agent) = agent(|_, _| Said::Error("CommandNotFound", "Command guest-ping has been disabled".into()));
    let text = agent.ping().unwrap_err().to_string();
    assert!(text.contains("block-rpcs"), "{text}");
}

#[test]
fn without_an_agent_there_is_something_to_do() {
    let fake = Fake::start(|_, _| Said::Close);
    let agent = fake.agent().with_timeout(PATIENCE);
    assert!(agent.is_present());
    assert_eq!(kind(agent.ping()), ErrorKind::AgentAbsent);
    assert!(!agent.is_present());
    let error = agent.ping().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AgentAbsent);
    assert!(error.to_string().contains("install and start qemu-guest-agent"), "{error}");
    assert_eq!(kind(agent.wait_ready(SHORT)), ErrorKind::Timeout);
    fake.port.power_off();
    assert_eq!(kind(agent.ping()), ErrorKind::InvalidState);
    let error = agent.wait_ready(PATIENCE).unwrap_err();
    let what = "cannot wait for the guest agent of VM 'web-1': ";
    assert!(error.kind() == ErrorKind::InvalidState && error.to_string().starts_with(what), "{error}");
    fake.end();
    assert_eq!(kind(agent.ping()), ErrorKind::Gone);
}

#[test]
fn a_reset_ends_a_call_at_once() {
    let (ask, asked) = mpsc::channel();
    let (fake, agent) = agent(move |_, _| {
        ask.send(()).unwrap();
        Said::Nothing
    });
    thread::scope(|scope| {
        let call = scope.spawn(|| agent.ping());
        asked.recv_timeout(PATIENCE).unwrap();
        fake.port.reset();
        assert_eq!(kind(call.join().unwrap()), ErrorKind::InvalidState);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_not_that_of_the_next_call() {
    let mut late = Some(());
    let (fake, agent) = agent(move |command, _| match (command, late.take()) {
        (_, Some(())) => Said::Nothing,
        // A late answer to the first call, followed by the answer to this one.
        ("guest-get-time", _) => Said::Bytes(b"{\"return\": 7}\n".to_vec()),
        _ => Said::Return(json!({})),
    });
    assert_eq!(kind(agent.clone().with_timeout(SHORT).time()), ErrorKind::Timeout);
    fake.port.backend().output(b"{\"return\": 1}\n\xff{\"return\": 2}\n{\"return\": ");
    assert_eq!(agent.time().unwrap(), UNIX_EPOCH + Duration::from_nanos(7));
    agent.ping().unwrap();
}

#[test]
fn calls_take_turns_and_their_limit_counts_the_waiting() {
    let (go, wait) = mpsc::channel::<()>();
    let (ask, asked) = mpsc::channel();
    let (fake, agent) = agent(move |command, _| {
        ask.send(()).unwrap();
        if command == "guest-get-time" {
            wait.recv().unwrap();
            return Said::Return(json!(5));
        }
        Said::Return(json!({}))
    });
    thread::scope(|scope| {
        let first = scope.spawn(|| agent.time());
        asked.recv_timeout(PATIENCE).unwrap();
        let began = Instant::now();
        assert_eq!(kind(agent.clone().with_timeout(SHORT).ping()), ErrorKind::Timeout);
        assert!(began.elapsed() >= SHORT);
        let waiting = scope.spawn(|| agent.ping());
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), UNIX_EPOCH + Duration::from_nanos(5));
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(fake.asked(), ["guest-get-time", "guest-ping"]);
}

#[test]
fn a_shutdown_has_begun_when_the_agent_is_gone() {
    let (fake, agent) = agent(|command, arguments| {
        assert_eq!((command, arguments), ("guest-shutdown", &json!({ "mode": "powerdown" })));
        Said::Close
    });
    agent.shutdown().unwrap();
    assert_eq!(fake.asked(), ["guest-shutdown"]);
}

#[test]
fn an_agent_that_is_ended_with_its_guest_has_not_failed() {
    let (fake, agent) = agent(|_, _| Said::Error("GenericError", "child process has terminated abnormally".into()));
    let port = fake.port.backend();
    thread::scope(|scope| {
        let call = scope.spawn(|| agent.shutdown());
        while fake.asked().is_empty() {
            thread::yield_now();
        }
        port.set_open(false);
        call.join().unwrap().unwrap();
    });
}

#[test]
fn a_reboot_may_be_refused_or_never_come() {
    let mut refuse = true;
    let (_fake, agent) = agent(move |_, arguments| {
        assert_eq!(arguments, &json!({ "mode": "reboot" }));
        if std::mem::take(&mut refuse) { Said::Error("GenericError", "no shutdown".into()) } else { Said::Nothing }
    });
    assert_eq!(kind(agent.reboot()), ErrorKind::AgentRefused);
    assert_eq!(kind(agent.with_timeout(SHORT).reboot()), ErrorKind::Timeout);
}
