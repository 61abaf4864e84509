//! What transactions compare and do.

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Compare, Decision, MAX_OPERATIONS, MAX_SIZE, Outcome, Revision, Transaction};

use crate::engines::{Engine, commit, keys, put};

pub fn every_compare_decides(engine: &mut impl Engine) {
    let store = engine.store();
    put(&*store, "/other", "");
    let created = put(&*store, "/a", "1");
    let modified = put(&*store, "/a", "2");
    let never = Revision::new(u64::MAX);
    let holds = |compare: &Compare| {
        let outcome = store.transaction(&Transaction::new().compare(compare.clone())).unwrap();
        matches!(outcome, Outcome::Committed { revision } if revision == modified)
    };
    for compare in [
        Compare::exists("/a"),
        Compare::absent("/b"),
        Compare::mod_revision("/a", modified),
        Compare::create_revision("/a", created),
        Compare::version("/a", 2),
        Compare::value("/a", "2"),
        Compare::epoch(1),
    ] {
        assert!(holds(&compare), "{compare:?}");
    }
    for compare in [
        Compare::exists("/b"),
        Compare::absent("/a"),
        Compare::mod_revision("/a", created),
        Compare::mod_revision("/a", never),
        Compare::mod_revision("/b", Revision::new(0)),
        Compare::create_revision("/a", modified),
        Compare::create_revision("/b", Revision::new(0)),
        Compare::version("/a", 1),
        Compare::version("/b", 0),
        Compare::value("/a", "1"),
        Compare::value("/a", ""),
        Compare::value("/b", ""),
        Compare::epoch(2),
    ] {
        assert!(!holds(&compare), "{compare:?}");
    }
}

pub fn all_or_nothing(engine: &mut impl Engine) {
    let store = engine.store();
    put(&*store, "/folder/a", "1");
    put(&*store, "/folder/b", "1");
    let change = |with: Compare| {
        Transaction::new()
            .compare(Compare::exists("/folder/a"))
            .compare(with)
            .put("/new", "2")
            .delete_prefix("/folder/")
    };
    assert_eq!(store.transaction(&change(Compare::absent("/folder/b"))).unwrap(), Outcome::Conflict);
    assert_eq!(keys(&*store, "/"), ["/folder/a", "/folder/b"]);
    assert_eq!(commit(&*store, &change(Compare::exists("/folder/b"))), Revision::new(3));
    assert_eq!(keys(&*store, "/"), ["/new"]);
    let missing = store.grant(xvirt_pool::store::MIN_TTL).unwrap().id;
    store.revoke(missing).unwrap();
    let error = store.transaction(&Transaction::new().delete("/new").put_with_lease("/x", "", missing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
    assert_eq!(keys(&*store, "/"), ["/new"]);
}

pub fn limits_are_checked_before_anything_happens(engine: &mut impl Engine) {
    let store = engine.store();
    let puts = |count| (0..count).fold(Transaction::new(), |all, number| all.put(format!("/k/{number}"), "v"));
    let compares = |count| (0..count).fold(Transaction::new(), |all, _| all.compare(Compare::absent("/k/0")));
    for refused in [
        puts(MAX_OPERATIONS + 1),
        compares(MAX_OPERATIONS + 1).put("/k/0", ""),
        Transaction::new().put("/k/0", vec![0; MAX_SIZE]),
        Transaction::new().put("/k/0", vec![0; MAX_SIZE / 2]).compare(Compare::value("/k/1", vec![0; MAX_SIZE / 2])),
    ] {
        let error = store.transaction(&refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }
    assert_eq!(store.position().unwrap().cursor.revision, Revision::new(0));
    commit(&*store, &puts(MAX_OPERATIONS));
    assert_eq!(keys(&*store, "/k/").len(), MAX_OPERATIONS);
    let large = Transaction::new().put("/large", vec![7; MAX_SIZE - 100]);
    commit(&*store, &large);
    assert_eq!(store.get("/large", None).unwrap().unwrap().value, vec![7; MAX_SIZE - 100]);
}

pub fn nothing_changed_is_no_revision(engine: &mut impl Engine) {
    let store = engine.store();
    let revision = put(&*store, "/a", "1");
    assert_eq!(commit(&*store, &Transaction::new()), revision);
    assert_eq!(commit(&*store, &Transaction::new().delete("/b").delete_prefix("/c/")), revision);
    // A put is a change, even of the same value.
    assert_eq!(put(&*store, "/a", "1"), Revision::new(revision.number() + 1));
}

pub fn values_can_be_anything(engine: &mut impl Engine) {
    let store = engine.store();
    let all: Vec<u8> = (0..=255).collect();
    commit(&*store, &Transaction::new().put("/bytes", all.clone()).put("/empty", "").put("/\u{1f5a5}/\u{e4} b", "x"));
    assert_eq!(store.get("/bytes", None).unwrap().unwrap().value, all);
    assert_eq!(store.get("/empty", None).unwrap().unwrap().value, b"");
    commit(&*store, &Transaction::new().compare(Compare::value("/bytes", all)).compare(Compare::value("/empty", "")));
    assert_eq!(store.get("/\u{1f5a5}/\u{e4} b", None).unwrap().unwrap().value, b"x");
}

pub fn another_transaction_supersedes(engine: &mut impl Engine) {
    let store = engine.store();
    let move_to = |host: &str, from| {
        Transaction::new().compare(Compare::mod_revision("/vm/owner", from)).put("/vm/owner", host.as_bytes())
    };
    // The unknown one was not committed: it never will be.
    let first = put(&*store, "/vm/owner", "a");
    let unknown = move_to("b", first);
    let Decision::Superseded { revision: second } = store.supersede(&unknown, &move_to("a", first)).unwrap() else {
        panic!("not superseded");
    };
    assert_eq!(store.transaction(&unknown).unwrap(), Outcome::Conflict);

    // It was committed.
    let unknown = move_to("b", second);
    commit(&*store, &unknown);
    let Decision::Settled { now: Some(pair) } = store.supersede(&unknown, &move_to("a", second)).unwrap() else {
        panic!("not settled");
    };
    assert_eq!(pair.value, b"b");

    // Another compare does not hold, so nothing is decided.
    let third = pair.mod_revision;
    let other = move_to("a", third).compare(Compare::exists("/term"));
    assert_eq!(store.supersede(&move_to("c", third), &other).unwrap(), Decision::Conflict);

    // Deleting is a change, too.
    let delete = Transaction::new().compare(Compare::mod_revision("/vm/owner", third)).delete_prefix("/vm/");
    assert!(matches!(store.supersede(&move_to("c", third), &delete).unwrap(), Decision::Superseded { .. }));
    assert_eq!(store.supersede(&delete, &move_to("c", third)).unwrap(), Decision::Settled { now: None });
}

pub fn only_transactions_that_exclude_each_other_supersede(engine: &mut impl Engine) {
    let store = engine.store();
    let revision = put(&*store, "/a", "1");
    let guard = || Transaction::new().compare(Compare::mod_revision("/a", revision));
    for (unknown, instead) in [
        (guard().put("/b", ""), guard().put("/a", "")),
        (guard().put("/a", ""), guard().put("/b", "")),
        (
            guard().put("/a", ""),
            Transaction::new().compare(Compare::mod_revision("/a", Revision::new(9))).put("/a", ""),
        ),
        (
            Transaction::new().compare(Compare::absent("/c")).put("/c", ""),
            Transaction::new().compare(Compare::absent("/c")).put("/c", ""),
        ),
    ] {
        let error = store.supersede(&unknown, &instead).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(store.position().unwrap().cursor.revision, revision);
}
