use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

#[test]
fn a_message_arrives_with_its_descriptors_and_without_the_next() {
    let (one, two) = pair();
    let (mut kept, given) = std::io::pipe().unwrap();
    let large = vec![7; MAX_FRAME];
    let sender = std::thread::spawn(move || {
        send(&one, b"first", &[given.as_fd(), given.as_fd()]).unwrap();
        send(&one, &large, &[]).unwrap();
        send(&one, b"", &[given.as_fd()]).unwrap();
    });
    let first = receive(&two, PATIENCE).unwrap().unwrap();
    assert_eq!((&*first.bytes, first.descriptors.len()), (&b"first"[..], 2));
    let second = receive(&two, PATIENCE).unwrap().unwrap();
    assert_eq!((second.bytes.len(), second.descriptors.len()), (MAX_FRAME, 0));
    let third = receive(&two, PATIENCE).unwrap().unwrap();
    assert_eq!((third.bytes.len(), third.descriptors.len()), (0, 1));
    assert!(receive(&two, PATIENCE).unwrap().is_none());
    sender.join().unwrap();
    let mut file = std::fs::File::from(first.descriptors.into_iter().next().unwrap());
    file.write_all(b"x").unwrap();
    drop((file, third));
    let mut text = String::new();
    kept.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x", "all descriptors were closed");
}

#[test]
fn what_is_no_message_is_an_error() {
    for (bytes, expected) in [
        (&[0, 0, 0x11, 0][..], kind::PROTOCOL),
        (&[0xff; 4], kind::PROTOCOL),
        (&[9, 0, 0, 0, 1], kind::GONE),
        (&[9, 0], kind::GONE),
    ] {
        let (mut one, two) = pair();
        one.write_all(bytes).unwrap();
        drop(one);
        assert_eq!(receive(&two, PATIENCE).unwrap_err().kind(), expected, "{bytes:?}");
    }
    let (mut one, two) = pair();
    one.write_all(&[9, 0, 0, 0, 1]).unwrap();
    assert_eq!(receive(&two, Duration::from_millis(1)).unwrap_err().kind(), kind::TIMEOUT);
    assert_eq!(send(&one, &vec![0; MAX_FRAME + 1], &[]).unwrap_err().kind(), kind::LIMIT_EXCEEDED);
    drop(two);
    assert_eq!(send(&one, b"x", &[]).unwrap_err().kind(), kind::GONE);
}

#[test]
fn requests_and_replies_survive_the_wire() {
    let build = Build {
        config: Json("{}".into()),
        kvm: Some(Slot(0)),
        disks: vec![vec![Layer { file: Slot(1), format: "raw".into() }]],
        nics: vec![NicBackend::Tap(Slot(2))],
        ..Build::default()
    };
    for request in [
        Request::Hello { versions: VERSIONS, features: vec!["a".into()] },
        Request::Build(Box::new(build)),
        Request::Start,
        Request::Events { after: 7 },
        Request::Console { console: ConsoleKind::Virtio },
    ] {
        let numbered = NumberedRequest { id: 3, request };
        assert_eq!(decode_request(&encode(&numbered).unwrap()).unwrap(), numbered);
    }
    for outcome in [
        Outcome::Done(Answer::Position(3)),
        Outcome::Done(Answer::Nothing),
        Outcome::Failed(Error::new(kind::GONE, "a").with_remedy("b")),
    ] {
        let reply = Reply { id: 9, outcome };
        assert_eq!(decode::<Reply>(&encode(&reply).unwrap()).unwrap(), reply);
    }
}

#[test]
fn a_request_of_another_version_is_answered() {
    #[derive(Serialize)]
    struct Newer {
        id: u64,
        request: &'static str,
        priority: u8,
    }
    let known = encode(&Newer { id: 4, request: "start", priority: 1 }).unwrap();
    assert_eq!(decode_request(&known).unwrap(), NumberedRequest { id: 4, request: Request::Start });
    let unknown = encode(&Newer { id: 4, request: "teleport", priority: 1 }).unwrap();
    let (id, error) = decode_request(&unknown).unwrap_err();
    assert_eq!((id, error.kind()), (Some(4), kind::UNKNOWN_REQUEST));
    let (id, error) = decode_request(b"\xc1 nothing").unwrap_err();
    assert_eq!((id, error.kind()), (None, kind::PROTOCOL));
    let nested = [vec![0x91; 5000], vec![0xc0]].concat();
    assert_eq!(decode_request(&nested).unwrap_err().1.kind(), kind::PROTOCOL);
}

#[test]
fn both_sides_speak_the_newest_version_that_they_have_in_common() {
    let ours = Versions { oldest: 2, newest: 3 };
    let common = |oldest, newest| ours.common(Versions { oldest, newest }).ok();
    assert_eq!([common(2, 3), common(1, 2), common(3, 9), common(0, 99)], [Some(3), Some(2), Some(3), Some(3)]);
    assert_eq!([common(0, 1), common(4, 5), common(3, 2)], [None; 3]);
    let error = ours.common(Versions { oldest: 4, newest: 5 }).unwrap_err();
    assert!(error.to_string().contains("speaks 2 to 3, the peer 4 to 5; upgrade one release"), "{error}");
    assert_eq!(common_features(&["x".into(), "limits".into()]), ["limits"]);
}
