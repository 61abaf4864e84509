//! The faults of the simulated store.

use std::collections::BTreeMap;
use std::time::Duration;

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{Change, Compare, Cursor, Faults, MIN_TTL, Outcome, Pair, Revision, Store, Transaction, Watch};
use xvirt_testing::random::Random;

use crate::engines::{Engine, Simulated, commit, keys, put};

#[test]
fn without_quorum_only_the_past_can_be_read() {
    let engine = Simulated::new();
    let (store, simulated) = (engine.store(), engine.store.clone().unwrap());
    let revision = put(&*store, "/a", "1");
    let lease = store.grant(MIN_TTL).unwrap().id;
    commit(&*store, &Transaction::new().put_with_lease("/alive", "", lease));
    let mut watch = store.watch("/", Cursor { epoch: 1, revision }).unwrap();
    simulated.set_quorum(false);
    let unavailable = |error: xvirt_pool::Error| assert_eq!(error.kind(), ErrorKind::Unavailable);
    unavailable(store.get("/a", None).unwrap_err());
    unavailable(store.range("/", None, 1, None).unwrap_err());
    unavailable(store.transaction(&Transaction::new().put("/a", "2")).unwrap_err());
    unavailable(store.grant(MIN_TTL).unwrap_err());
    unavailable(store.keep_alive(lease).unwrap_err());
    unavailable(store.revoke(lease).unwrap_err());
    unavailable(store.compact(revision).unwrap_err());
    let position = store.position().unwrap();
    assert_eq!(store.get("/a", Some(position.cursor.revision)).unwrap().unwrap().value, b"1");
    assert_eq!(store.range("/", None, 9, Some(position.cursor.revision)).unwrap().pairs.len(), 2);
    assert!(watch.next(Duration::ZERO).unwrap().is_some());
    assert!(watch.next(Duration::ZERO).unwrap().is_none());

    // No lease ends without a quorum, and the new leader lets their time begin again.
    engine.clock().advance(MIN_TTL * 3);
    simulated.set_quorum(true);
    assert_eq!(keys(&*store, "/"), ["/a", "/alive"]);
    assert_eq!(store.keep_alive(lease).unwrap(), MIN_TTL);
    engine.clock().advance(MIN_TTL);
    assert_eq!(keys(&*store, "/"), ["/a"]);
    put(&*store, "/a", "2");
}

#[test]
fn a_lost_watch_says_so_and_goes_on_from_its_cursor() {
    let engine = Simulated::new();
    let (store, simulated) = (engine.store(), engine.store.clone().unwrap());
    let mut watch = store.watch("/", store.position().unwrap().cursor).unwrap();
    put(&*store, "/a", "1");
    assert!(watch.next(Duration::ZERO).unwrap().is_some());
    simulated.lose_watches();
    put(&*store, "/a", "2");
    assert_eq!(watch.next(Duration::ZERO).unwrap_err().kind(), ErrorKind::Unavailable);
    let mut watch = store.watch("/", watch.cursor()).unwrap();
    assert_eq!(watch.next(Duration::ZERO).unwrap().unwrap().revision, Revision::new(2));
}

#[test]
fn after_an_unknown_outcome_a_read_proves_nothing() {
    let (mut at_once, mut later, mut never) = (0, 0, 0);
    for seed in 0..60 {
        let engine = Simulated::with_seed(seed);
        let store = engine.store();
        engine.store.as_ref().unwrap().set_faults(Faults { unknown: 1000, ..Faults::default() });
        assert_eq!(store.transaction(&Transaction::new().put("/a", "")).unwrap(), Outcome::Unknown);
        let is_there = || store.get("/a", None).unwrap().is_some();
        match (is_there(), (0..100).any(|_| is_there())) {
            (true, _) => at_once += 1,
            (false, true) => later += 1,
            (false, false) => never += 1,
        }
    }
    println!("{at_once} at once, {later} later, {never} never");
    assert!(at_once > 5 && later > 5 && never > 5);
}

#[test]
fn the_same_seed_does_the_same() {
    let run = |seed| {
        let engine = Simulated::with_seed(seed);
        let store = engine.store();
        engine.store.as_ref().unwrap().set_faults(Faults {
            unknown: 300,
            unavailable: 100,
            lost_watch: 0,
            compaction: 20,
        });
        let outcome = |number: u32| {
            let transaction = Transaction::new().put("/a", number.to_le_bytes());
            store.transaction(&transaction).map_err(|error| error.kind())
        };
        ((0..100).map(outcome).collect::<Vec<_>>(), store.position().unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A copy of a store that is kept with a watch.
struct Mirror {
    watch: Box<dyn Watch>,
    pairs: BTreeMap<String, Pair>,
    /// How often everything was read.
    readings: usize,
}

impl Mirror {
    fn read(store: &dyn Store, readings: usize) -> Self {
        loop {
            let Ok(page) = store.range("/", None, 1000, None) else { continue };
            let pairs = page.pairs.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
            if let Ok(watch) = store.watch("/", page.cursor) {
                return Self { watch, pairs, readings: readings + 1 };
            }
        }
    }

    fn follow(&mut self, store: &dyn Store) {
        loop {
            match self.watch.next(Duration::ZERO) {
                Ok(None) => return,
                Ok(Some(changes)) => {
                    for event in changes.events {
                        let key = event.key().to_owned();
                        let old = match event.change {
                            Change::Put(pair) => self.pairs.insert(key, pair),
                            Change::Delete { .. } => self.pairs.remove(&key),
                        };
                        assert_eq!(old.map(|old| old.mod_revision), event.previous);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Compacted => *self = Self::read(store, self.readings),
                    ErrorKind::Unavailable => match store.watch("/", self.watch.cursor()) {
                        Ok(watch) => self.watch = watch,
                        Err(_) => *self = Self::read(store, self.readings),
                    },
                    kind => panic!("{kind}"),
                },
            }
        }
    }
}

#[test]
fn a_mirror_that_keeps_the_rules_is_always_right() {
    let mut readings = 0;
    for seed in 0..40 {
        println!("seed {seed}");
        let engine = Simulated::with_seed(seed);
        let (store, simulated) = (engine.store(), engine.store.clone().unwrap());
        let mut random = Random::new(seed);
        let mut mirror = Mirror::read(&*store, 0);
        simulated.set_faults(Faults { unknown: 200, unavailable: 50, lost_watch: 100, compaction: 30 });
        for _ in 0..100 {
            let key = format!("/{}", random.below(5));
            let transaction = match random.below(4) {
                0 => Transaction::new().delete(key),
                1 => Transaction::new().compare(Compare::absent(&key)).put(key, "new"),
                _ => Transaction::new().put(key, random.number().to_le_bytes()),
            };
            let _ = store.transaction(&transaction);
            if random.below(5) == 0 {
                mirror.follow(&*store);
                let page = store.range("/", None, 1000, Some(mirror.watch.cursor().revision));
                // The store may just have been compacted.
                if let Ok(page) = page {
                    assert_eq!(page.pairs, mirror.pairs.values().cloned().collect::<Vec<_>>());
                }
            }
        }
        simulated.set_faults(Faults::default());
        for _ in 0..200 {
            store.position().unwrap();
        }
        mirror.follow(&*store);
        let page = store.range("/", None, 1000, None).unwrap();
        assert_eq!(page.pairs, mirror.pairs.values().cloned().collect::<Vec<_>>());
        assert_eq!(page.cursor, mirror.watch.cursor());
        readings += mirror.readings - 1;
    }
    assert!(readings > 20, "the test tests too little: {readings}");
}
