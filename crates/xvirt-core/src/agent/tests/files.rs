//! Tests files of the guest.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Fake, Files, PATIENCE, SHORT, Said, kind};
use crate::ErrorKind;
use crate::agent::GuestAgent;
use crate::sync::lock;

fn guest() -> (Fake, GuestAgent, Arc<Mutex<Files>>) {
    let files = Arc::new(Mutex::new(Files::default()));
    let kept = Arc::clone(&files);
    let fake = Fake::start(move |command, arguments| lock(&kept).said(command, arguments));
    let agent = fake.agent().with_timeout(PATIENCE);
    (fake, agent, files)
}

#[test]
fn what_is_written_is_read_again() {
    let (_fake, agent, files) = guest();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    agent.write_file("/data", &bytes).unwrap();
    assert!(agent.read_file("/data", bytes.len()).unwrap() == bytes);
    let mut copy = Vec::new();
    assert_eq!(agent.read_file_to("/data", &mut copy).unwrap(), 3_000_000);
    assert!(copy == bytes);
    agent.write_file("/data", b"").unwrap();
    assert_eq!(agent.read_file("/data", 0).unwrap(), b"");
    assert_eq!(agent.write_file_from("/data", &mut &b"streamed"[..]).unwrap(), 8);
    assert_eq!(agent.read_file("/data", 100).unwrap(), b"streamed");
    assert!(lock(&files).open.is_empty());
}

#[test]
fn a_file_is_closed_whatever_fails() {
    struct Full;

    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Read for Full {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    let (_fake, agent, files) = guest();
    agent.write_file("/data", &[7; 1000]).unwrap();
    let error = agent.read_file("/data", 999).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("/data in VM 'web-1' has more than 999 bytes"), "{error}");
    assert_eq!(kind(agent.read_file_to("/data", &mut Full)), ErrorKind::NoSpace);
    assert_eq!(kind(agent.write_file_from("/data", &mut Full)), ErrorKind::PermissionDenied);
    assert_eq!(kind(agent.read_file("/none", 1)), ErrorKind::AgentRefused);
    assert_eq!(kind(agent.read_file("/no\0ne", 1)), ErrorKind::InvalidConfig);
    assert!(lock(&files).open.is_empty());
}

#[test]
fn a_file_is_closed_also_when_reading_takes_too_long() {
    let fake = Fake::start(|command, _| match command {
        "guest-file-open" => Said::Return(json!(1)),
        "guest-file-close" => Said::Return(json!({})),
        _ => Said::Nothing,
    });
    let agent = fake.agent().with_timeout(SHORT);
    assert_eq!(kind(agent.read_file("/data", 1)), ErrorKind::Timeout);
    assert_eq!(fake.asked(), ["guest-file-open", "guest-file-read", "guest-file-close"]);
}

#[test]
fn a_full_disk_is_heard_of_when_the_file_is_closed() {
    let fake = Fake::start(|command, _| match command {
        "guest-file-open" => Said::Return(json!(1)),
        "guest-file-write" => Said::Return(json!({ "count": 3, "eof": false })),
        _ => Said::Error("GenericError", "failed to close handle: No space left on device".into()),
    });
    let error = fake.agent().with_timeout(PATIENCE).write_file("/data", b"abc").unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
}
