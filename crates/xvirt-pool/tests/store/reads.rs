//! Reading pairs and folders, now and in the past.

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Pair, Revision, Transaction};

use crate::engines::{Engine, commit, keys, put};

pub fn pairs_have_their_revisions(engine: &mut impl Engine) {
    let store = engine.store();
    let start = store.position().unwrap();
    assert_eq!((start.cursor.epoch, start.cursor.revision, start.compacted), (1, Revision::new(0), Revision::new(0)));
    assert_eq!(store.get("/a", None).unwrap(), None);

    assert_eq!(put(&*store, "/a", "one"), Revision::new(1));
    assert_eq!(put(&*store, "/b", "other"), Revision::new(2));
    assert_eq!(put(&*store, "/a", "two"), Revision::new(3));
    let expected = |value: &str, create, modified, version| Pair {
        key: "/a".into(),
        value: value.into(),
        create_revision: Revision::new(create),
        mod_revision: Revision::new(modified),
        version,
        lease: None,
    };
    assert_eq!(store.get("/a", None).unwrap(), Some(expected("two", 1, 3, 2)));

    commit(&*store, &Transaction::new().delete("/a"));
    assert_eq!(store.get("/a", None).unwrap(), None);
    put(&*store, "/a", "three");
    assert_eq!(store.get("/a", None).unwrap(), Some(expected("three", 5, 5, 1)));
    assert_eq!(store.position().unwrap().cursor.revision, Revision::new(5));
    drop(store);
    engine.restart();
    let store = engine.store();
    assert_eq!(store.get("/a", None).unwrap(), Some(expected("three", 5, 5, 1)));
    assert_eq!(put(&*store, "/c", ""), Revision::new(6));
}

pub fn ranges_are_read_in_pages(engine: &mut impl Engine) {
    let store = engine.store();
    for key in ["/vm/b", "/vm", "/vm/a", "/vm-1/x", "/vm0", "/vm/a/c", "/vm/\u{e4}"] {
        put(&*store, key, key);
    }
    assert_eq!(keys(&*store, "/vm/"), ["/vm/a", "/vm/a/c", "/vm/b", "/vm/\u{e4}"]);
    assert_eq!(keys(&*store, "/").len(), 7);
    assert_eq!(keys(&*store, "/none/"), [""; 0]);

    let first = store.range("/vm/", None, 3, None).unwrap();
    assert_eq!((first.pairs.len(), first.next.as_deref()), (3, Some("/vm/\u{e4}")));
    // What changes between two pages is not seen.
    commit(&*store, &Transaction::new().delete("/vm/\u{e4}").put("/vm/z", ""));
    let rest = store.range("/vm/", first.next.as_deref(), 3, Some(first.cursor.revision)).unwrap();
    assert_eq!((rest.pairs.len(), rest.next, rest.cursor), (1, None, first.cursor));
    assert_eq!(rest.pairs[0].key, "/vm/\u{e4}");
    let exact = store.range("/vm/", None, 4, Some(first.cursor.revision)).unwrap();
    assert_eq!((exact.pairs.len(), exact.next), (4, None));
    let all = store.range("/vm/", None, usize::MAX, None).unwrap();
    assert_eq!(all.cursor, store.position().unwrap().cursor);
}

pub fn the_past_can_be_read_until_compaction(engine: &mut impl Engine) {
    let store = engine.store();
    put(&*store, "/a", "1");
    put(&*store, "/a", "2");
    commit(&*store, &Transaction::new().delete("/a").put("/b", "3"));
    put(&*store, "/b", "4");
    let value = |key: &str, at| store.get(key, Some(Revision::new(at))).map(|pair| pair.map(|pair| pair.value));
    assert_eq!(value("/a", 0).unwrap(), None);
    assert_eq!(value("/a", 1).unwrap(), Some(b"1".to_vec()));
    assert_eq!(value("/a", 2).unwrap(), Some(b"2".to_vec()));
    assert_eq!(value("/a", 3).unwrap(), None);
    assert_eq!(value("/b", 3).unwrap(), Some(b"3".to_vec()));
    assert_eq!(value("/a", 5).unwrap_err().kind(), ErrorKind::FutureRevision);

    store.compact(Revision::new(2)).unwrap();
    store.compact(Revision::new(2)).unwrap();
    assert_eq!(store.position().unwrap().compacted, Revision::new(2));
    assert_eq!(value("/a", 1).unwrap_err().kind(), ErrorKind::Compacted);
    assert_eq!(store.range("/", None, 1, Some(Revision::new(1))).unwrap_err().kind(), ErrorKind::Compacted);
    assert_eq!(value("/a", 2).unwrap(), Some(b"2".to_vec()));
    assert_eq!(value("/b", 3).unwrap(), Some(b"3".to_vec()));
    assert_eq!(store.compact(Revision::new(1)).unwrap_err().kind(), ErrorKind::Compacted);
    assert_eq!(store.compact(Revision::new(5)).unwrap_err().kind(), ErrorKind::FutureRevision);
    store.compact(Revision::new(4)).unwrap();
    assert_eq!(store.get("/b", None).unwrap().unwrap().version, 2);
    drop(store);
    engine.restart();
    let store = engine.store();
    assert_eq!(store.position().unwrap().compacted, Revision::new(4));
    assert_eq!(store.get("/b", Some(Revision::new(3))).unwrap_err().kind(), ErrorKind::Compacted);
}

pub fn invalid_arguments_are_refused(engine: &mut impl Engine) {
    let store = engine.store();
    let refused = |result: xvirt_pool::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.remedy().is_some());
    };
    refused(store.get("a", None).map(drop));
    refused(store.get("/a/", None).map(drop));
    refused(store.range("/a", None, 1, None).map(drop));
    refused(store.range("/a/", None, 0, None).map(drop));
    refused(store.range("/a/", Some("/b"), 1, None).map(drop));
    refused(store.watch("/a", store.position().unwrap().cursor).map(drop));
    refused(store.transaction(&Transaction::new().put("/a\0", "")).map(drop));
    refused(store.transaction(&Transaction::new().delete_prefix("/a")).map(drop));
    refused(store.transaction(&Transaction::new().put("/a", "").delete("/a")).map(drop));
    assert_eq!(store.position().unwrap().cursor.revision, Revision::new(0));
}
