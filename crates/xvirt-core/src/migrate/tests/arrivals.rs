//! A target that waits for a source, and the strangers that connect to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use uuid::Uuid;

use super::*;
use crate::ErrorKind;
use crate::migrate::frame::preamble;
use crate::migrate::message::{Hello, Kind, encode};
use crate::migrate::source::check;
use crate::migrate::testing::Side;
use crate::sync::{Mutex, lock};

#[test]
fn a_target_waits_for_its_source_until_it_is_cancelled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silence, stop) = (Duration::from_millis(50), AtomicBool::new(false));
    let settings = Reception::default().silence_limit(silence).time_limit(silence);
    let world = World::new(&[]);
    thread::scope(|scope| {
        let receive =
            || receive(&listener, &settings, &(), &stop, &mut |_, _| Ok(FakeTarget::new(&world, None).unwrap()));
        let target = scope.spawn(move || receive().map(drop));
        thread::sleep(silence * 6);
        assert!(!target.is_finished(), "no limit counts before a source connects");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(target.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

/// The first message of another migration.
fn other_hello() -> Vec<u8> {
    let hello = Hello { migration: Uuid::from_u128(7), connection: 1, connections: 2, features: 0 };
    [preamble().to_vec(), encode(Kind::Hello, &hello).unwrap()].concat()
}

#[test]
fn strangers_between_the_connections_of_a_source_do_not_end_its_migration() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let strangers = Mutex::new(Vec::new());
    let come = || {
        let tls_client = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 0];
        for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), tls_client.to_vec(), other_hello(), Vec::new()] {
            let mut stranger = TcpStream::connect(address).unwrap();
            stranger.write_all(&bytes).unwrap();
            lock(&strangers).push(stranger);
        }
        drop(TcpStream::connect(address).unwrap());
    };
    // As many that say nothing as there are places.
    lock(&strangers).extend((0..17).map(|_| TcpStream::connect(address).unwrap()));
    let connect = |limit| {
        come();
        TcpStream::connect_timeout(&address, limit)
    };
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 40);
    let (outcome, target) = run_over(&world, &mut source, (Box::new(connect), &listener), &settings(3, PATIENCE), &());
    assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
    target.unwrap();
    assert_eq!(world.running(), Some(Side::Target));
    // Whoever speaks the protocol is told why it was dropped.
    let mut told = Vec::new();
    drop(listener);
    let _ = lock(&strangers)[19].read_to_end(&mut told);
    assert!(String::from_utf8_lossy(&told).contains("begins with connection 1 of 2"), "{told:?}");
}

#[test]
fn a_second_source_is_told_that_the_target_receives_another_vm() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, world) = (AtomicUsize::new(0), World::new(&[]));
    let other = World::new(&[]);
    let connect = |limit| {
        if connections.fetch_add(1, Ordering::Relaxed) == 1 {
            let connect = move |limit| TcpStream::connect_timeout(&address, limit);
            let error = check(&mut FakeSource::new(&other, 0), &connect, &settings(1, PATIENCE), &()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MigrationRefused);
            assert!(error.to_string().contains("this target receives another VM"), "{error}");
        }
        TcpStream::connect_timeout(&address, limit)
    };
    let mut source = FakeSource::new(&world, 5);
    let (outcome, target) = run_over(&world, &mut source, (Box::new(connect), &listener), &settings(2, PATIENCE), &());
    assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
    target.unwrap();
}

#[test]
fn a_source_that_opens_no_further_connection_is_given_up_whoever_else_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, world) = (AtomicBool::new(false), World::new(&[]));
    let error = thread::scope(|scope| {
        let target = scope.spawn(|| run_target(&world, &listener, Duration::from_millis(300), &()).map(drop));
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                TcpStream::connect(address).unwrap().write_all(&other_hello()).unwrap();
                thread::yield_now();
            }
        });
        let mut first = TcpStream::connect(address).unwrap();
        first.write_all(&[super::hostile::hello(0, 2), super::hostile::offer()].concat()).unwrap();
        let error = target.join().unwrap().unwrap_err();
        ended.store(true, Ordering::Relaxed);
        error
    });
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("has not opened all its connections"), "{error}");
}
