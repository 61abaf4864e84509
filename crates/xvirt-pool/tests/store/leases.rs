//! Leases, with a clock that the test moves.

use std::time::Duration;

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Change, LeaseId, MAX_TTL, MIN_TTL, Revision, Store, Transaction};

use crate::engines::{Engine, commit, keys, put};
use crate::watches::rest;

const TTL: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

fn put_with(store: &dyn Store, key: &str, lease: LeaseId) -> Revision {
    commit(store, &Transaction::new().put_with_lease(key, "", lease))
}

pub fn keys_of_a_lease_that_ends_are_deleted_together(engine: &mut impl Engine) {
    let store = engine.store();
    let lease = store.grant(TTL).unwrap();
    assert_eq!(lease.ttl, TTL);
    let other = store.grant(TTL * 2).unwrap();
    assert_ne!(lease.id, other.id);
    put_with(&*store, "/a", lease.id);
    put_with(&*store, "/b", lease.id);
    put_with(&*store, "/c", other.id);
    assert_eq!(store.get("/a", None).unwrap().unwrap().lease, Some(lease.id));
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    engine.clock().advance(TTL - MOMENT);
    assert_eq!(keys(&*store, "/"), ["/a", "/b", "/c"]);
    engine.clock().advance(MOMENT);
    assert_eq!(keys(&*store, "/"), ["/c"]);
    let seen = rest(&mut *watch);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].revision, Revision::new(4));
    assert!(matches!(&seen[0].events[..], [a, b] if a.key() == "/a" && b.key() == "/b"), "{seen:?}");
    assert_eq!(store.get("/a", Some(Revision::new(3))).unwrap().unwrap().lease, Some(lease.id));

    for ttl in [Duration::ZERO, MIN_TTL - MOMENT, MAX_TTL + MOMENT, Duration::MAX] {
        assert_eq!(store.grant(ttl).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

pub fn a_lease_is_kept_alive(engine: &mut impl Engine) {
    let store = engine.store();
    let lease = store.grant(TTL).unwrap().id;
    put_with(&*store, "/a", lease);
    let revision = store.position().unwrap().cursor.revision;
    for _ in 0..5 {
        engine.clock().advance(TTL - MOMENT);
        assert_eq!(store.keep_alive(lease).unwrap(), TTL);
    }
    assert_eq!(store.position().unwrap().cursor.revision, revision);
    assert_eq!(keys(&*store, "/"), ["/a"]);
    engine.clock().advance(TTL);
    assert_eq!(store.keep_alive(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert_eq!(keys(&*store, "/"), [""; 0]);
}

pub fn a_lease_is_revoked(engine: &mut impl Engine) {
    let store = engine.store();
    let lease = store.grant(TTL).unwrap().id;
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    put_with(&*store, "/a", lease);
    store.revoke(lease).unwrap();
    assert_eq!(keys(&*store, "/"), [""; 0]);
    let seen = rest(&mut *watch);
    assert_eq!(seen[1].events[0].change, Change::Delete { key: "/a".into() });
    assert_eq!(seen[1].events[0].previous, Some(Revision::new(1)));
    assert_eq!(store.revoke(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert_eq!(store.keep_alive(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    // A lease without pairs ends without a revision.
    let empty = store.grant(TTL).unwrap().id;
    store.revoke(empty).unwrap();
    assert_eq!(store.position().unwrap().cursor.revision, Revision::new(2));
}

pub fn a_put_without_the_lease_frees_the_key(engine: &mut impl Engine) {
    let store = engine.store();
    let (first, second) = (store.grant(TTL).unwrap().id, store.grant(TTL).unwrap().id);
    put_with(&*store, "/free", first);
    put_with(&*store, "/moved", first);
    put_with(&*store, "/deleted", first);
    put(&*store, "/free", "");
    put_with(&*store, "/moved", second);
    commit(&*store, &Transaction::new().delete("/deleted"));
    put(&*store, "/deleted", "");
    store.revoke(first).unwrap();
    assert_eq!(keys(&*store, "/"), ["/deleted", "/free", "/moved"]);
    store.revoke(second).unwrap();
    assert_eq!(keys(&*store, "/"), ["/deleted", "/free"]);
}

pub fn leases_survive_a_restart_and_their_time_begins_again(engine: &mut impl Engine) {
    let lease = engine.store().grant(TTL).unwrap().id;
    put_with(&*engine.store(), "/a", lease);
    engine.clock().advance(TTL - MOMENT);
    engine.restart();
    engine.clock().advance(TTL - MOMENT);
    let store = engine.store();
    assert_eq!(keys(&*store, "/"), ["/a"]);
    engine.clock().advance(MOMENT);
    assert_eq!(keys(&*store, "/"), [""; 0]);
    drop(store);
    engine.restart();
    assert_eq!(engine.store().keep_alive(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert_ne!(engine.store().grant(TTL).unwrap().id, lease);
}

pub fn a_lease_that_has_ended_cannot_be_used(engine: &mut impl Engine) {
    let store = engine.store();
    let lease = store.grant(TTL).unwrap().id;
    engine.clock().advance(TTL);
    for unknown in [lease, LeaseId::new(0), LeaseId::new(u64::MAX)] {
        let put = store.transaction(&Transaction::new().put_with_lease("/a", "", unknown));
        assert_eq!(put.unwrap_err().kind(), ErrorKind::LeaseNotFound);
        assert_eq!(store.keep_alive(unknown).unwrap_err().kind(), ErrorKind::LeaseNotFound);
        assert_eq!(store.revoke(unknown).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    }
    assert_eq!(keys(&*store, "/"), [""; 0]);
}

pub fn a_watch_sees_the_end_of_a_lease(engine: &mut impl Engine) {
    let store = engine.store();
    let lease = store.grant(TTL).unwrap().id;
    put_with(&*store, "/a", lease);
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    assert_eq!(rest(&mut *watch), []);
    engine.clock().advance(TTL);
    // Nobody but the watch looks at the store.
    assert_eq!(rest(&mut *watch).len(), 1);
}
