//! Snapshots, and stores that are restored from them.

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Compare, Cursor, MIN_TTL, Outcome, Pair, Revision, Store, Transaction};
use xvirt_testing::random::Random;

use crate::engines::{Engine, commit, keys, put};

fn snapshot(store: &dyn Store) -> (Vec<u8>, Cursor) {
    let mut bytes = Vec::new();
    let cursor = store.snapshot(&mut bytes).unwrap();
    (bytes, cursor)
}

fn all(store: &dyn Store) -> Vec<Pair> {
    store.range("/", None, usize::MAX, None).unwrap().pairs
}

pub fn a_restored_store_has_the_same_pairs_in_a_later_epoch(engine: &mut impl Engine) {
    let store = engine.store();
    put(&*store, "/a", "1");
    put(&*store, "/a", "2");
    put(&*store, "/gone", "");
    commit(&*store, &Transaction::new().delete("/gone").put("/b/\u{e4}", vec![0, 255]));
    let before = all(&*store);
    // Who is alive is not known of a store that was restored.
    let lease = store.grant(MIN_TTL).unwrap().id;
    commit(&*store, &Transaction::new().put_with_lease("/alive", "", lease));
    let (bytes, at) = snapshot(&*store);
    assert_eq!(at, store.position().unwrap().cursor);
    drop(store);

    engine.restore(&bytes, 0).unwrap();
    let store = engine.store();
    assert_eq!(all(&*store), before);
    let position = store.position().unwrap();
    assert_eq!((position.cursor.epoch, position.compacted), (2, position.cursor.revision));
    assert!(position.cursor > at);
    assert_eq!(store.watch("/", at).unwrap_err().kind(), ErrorKind::EpochChanged);
    let stale = Transaction::new().compare(Compare::epoch(1)).put("/a", "stale");
    assert_eq!(store.transaction(&stale).unwrap(), Outcome::Conflict);
    assert_eq!(store.get("/a", Some(at.revision)).unwrap_err().kind(), ErrorKind::Compacted);
    assert_eq!(store.keep_alive(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
    // A later epoch than any that is known.
    drop(store);
    engine.restore(&bytes, 41).unwrap();
    assert_eq!(engine.store().position().unwrap().cursor.epoch, 42);
    engine.restart();
    assert_eq!(all(&*engine.store()), before);
}

pub fn revisions_are_not_used_again_after_a_restore(engine: &mut impl Engine) {
    let store = engine.store();
    put(&*store, "/a", "1");
    let (bytes, _) = snapshot(&*store);
    put(&*store, "/a", "lost");
    let lost = put(&*store, "/a", "lost");
    drop(store);
    engine.restore(&bytes, 0).unwrap();
    let store = engine.store();
    let revision = put(&*store, "/a", "2");
    assert!(revision > lost);
    assert_eq!(store.get("/a", None).unwrap().unwrap().version, 2);
    let mut watch = store.watch("/", Cursor { epoch: 2, revision: Revision::new(revision.number() - 1) }).unwrap();
    assert_eq!(watch.next(std::time::Duration::ZERO).unwrap().unwrap().events[0].previous, Some(Revision::new(1)));
}

pub fn a_damaged_snapshot_is_refused(engine: &mut impl Engine) {
    let store = engine.store();
    for number in 0..5 {
        put(&*store, &format!("/k/{number}"), "some value");
    }
    let (bytes, _) = snapshot(&*store);
    drop(store);
    let mut refused = |bytes: &[u8], kinds: &[ErrorKind]| {
        let error = engine.restore(bytes, 0).unwrap_err();
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(error.remedy().is_some());
    };
    for length in 0..bytes.len() {
        refused(&bytes[..length], &[ErrorKind::Corrupt]);
    }
    let mut random = Random::new(0);
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << random.below(8);
        refused(&damaged, &[ErrorKind::Corrupt, ErrorKind::Unsupported]);
    }
    let mut newer = bytes.clone();
    newer[16] += 1;
    refused(&newer, &[ErrorKind::Unsupported]);
    engine.restore(&bytes, 0).unwrap();
    assert_eq!(keys(&*engine.store(), "/").len(), 5);
    // An epoch that cannot grow.
    assert_eq!(engine.restore(&bytes, u64::MAX).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(engine.restore(&bytes, i64::MAX as u64).unwrap_err().kind(), ErrorKind::Corrupt);
}

pub fn a_large_store_is_snapshot_at_one_revision(engine: &mut impl Engine) {
    let store = engine.store();
    // More than a page by number, and more than one by size.
    for number in 0..8 {
        let many = (0..100).fold(Transaction::new(), |all, key| all.put(format!("/k/{number}/{key}"), "v"));
        commit(&*store, &many);
        commit(&*store, &Transaction::new().put(format!("/large/{number}"), vec![number; 900_000]));
    }
    /// Changes the store while it is written.
    struct Meddler<'a>(Vec<u8>, &'a dyn Store);
    impl std::io::Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len().is_multiple_of(7) {
                commit(self.1, &Transaction::new().delete_prefix("/large/").put("/k/9/9", "late"));
            }
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let before = all_pages(&*store);
    let mut to = Meddler(Vec::new(), &*store);
    store.snapshot(&mut to).unwrap();
    let bytes = to.0;
    assert_ne!(all_pages(&*store), before);
    drop(store);
    engine.restore(&bytes, 0).unwrap();
    assert_eq!(all_pages(&*engine.store()), before);
}

fn all_pages(store: &dyn Store) -> Vec<Pair> {
    let mut page = store.range("/", None, 1000, None).unwrap();
    let mut pairs = page.pairs;
    while let Some(next) = page.next {
        page = store.range("/", Some(&next), 1000, Some(page.cursor.revision)).unwrap();
        pairs.append(&mut page.pairs);
    }
    pairs
}
