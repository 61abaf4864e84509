//! Many transactions at once, some with unknown outcome: whatever happened, it is what some order of the committed
//! transactions does, each at most once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use xvirt_pool::store::{Compare, Cursor, Decision, Event, Faults, Outcome, Revision, Store, Transaction};
use xvirt_testing::random::Random;

use crate::engines::{Engine, Simulated};
use crate::model::Model;

const KEYS: [&str; 3] = ["/x", "/y", "/z"];

/// What is known of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed(Revision),
    Never,
    Unknown,
}

/// A transaction that was tried, which puts a key of its own.
#[derive(Debug)]
struct Attempt {
    transaction: Transaction,
    fate: Fate,
    began: u64,
    ended: u64,
}

/// All transactions by the name of their own keys, and a clock that orders them.
#[derive(Default)]
struct History {
    attempts: Mutex<BTreeMap<String, Attempt>>,
    clock: AtomicU64,
}

impl History {
    /// Tries a transaction, to which it adds a key.
    fn attempt(&self, store: &dyn Store, transaction: &Transaction) -> (String, Fate) {
        let began = self.clock.fetch_add(1, Ordering::SeqCst);
        let name = format!("/token/{began}");
        let transaction = transaction.clone().put(name.clone(), "");
        let fate = match store.transaction(&transaction) {
            Ok(Outcome::Committed { revision }) => Fate::Committed(revision),
            Ok(Outcome::Unknown) => Fate::Unknown,
            Ok(Outcome::Conflict) | Err(_) => Fate::Never,
        };
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        self.attempts.lock().unwrap().insert(name.clone(), Attempt { transaction, fate, began, ended });
        (name, fate)
    }

    fn transaction(&self, name: &str) -> Transaction {
        self.attempts.lock().unwrap()[name].transaction.clone()
    }

    fn decide(&self, name: &str, fate: Fate) {
        self.attempts.lock().unwrap().get_mut(name).unwrap().fate = fate;
    }

    /// Replays what the store says has happened.
    fn check(self, store: &dyn Store) {
        let mut attempts = self.attempts.into_inner().unwrap();
        let mut model = Model::new();
        let mut watch = store.watch("/", Cursor { epoch: 1, revision: Revision::new(0) }).unwrap();
        let mut latest_begin = 0;
        while let Some(changes) = watch.next(Duration::ZERO).unwrap() {
            let name = changes.events.iter().map(Event::key).find(|key| key.starts_with("/token/")).unwrap();
            let attempt = attempts.remove(name).unwrap_or_else(|| panic!("{name} was committed twice"));
            let Attempt { transaction, fate, began, ended } = attempt;
            assert_ne!(fate, Fate::Never, "{transaction:?} was committed by {changes:?}");
            if let Fate::Committed(revision) = fate {
                assert_eq!(revision, changes.revision);
                // One that had ended is before one that began later.
                assert!(latest_begin < ended, "{transaction:?} has too late a revision");
                latest_begin = latest_begin.max(began);
            }
            assert_eq!(model.transaction(&transaction), Some(Outcome::Committed { revision: changes.revision }));
            assert_eq!(model.changes(changes.revision), changes);
        }
        let lost: Vec<_> = attempts.values().filter(|attempt| matches!(attempt.fate, Fate::Committed(_))).collect();
        assert!(lost.is_empty(), "{lost:?}");
        let pairs = store.range("/", None, usize::MAX, None).unwrap().pairs;
        assert_eq!(pairs, model.now().values().cloned().collect::<Vec<_>>());
    }
}

/// A transaction that changes a key as it is now; or one that only adds its own, if it is to conflict with nothing.
fn some_transaction(store: &dyn Store, random: &mut Random) -> Transaction {
    let key = *random.pick(&KEYS);
    // A simulated store may be unavailable.
    let Ok(pair) = store.get(key, None) else { return Transaction::new() };
    let value = random.number().to_le_bytes();
    match (pair, random.below(4)) {
        (None, _) => Transaction::new().compare(Compare::absent(key)).put(key, value),
        (Some(_), 0) => Transaction::new(),
        (Some(pair), 1) => Transaction::new().compare(Compare::version(key, pair.version)).delete(key),
        (Some(pair), _) => Transaction::new().compare(Compare::mod_revision(key, pair.mod_revision)).put(key, value),
    }
}

pub fn transactions_of_many_threads_happen_one_after_another(engine: &mut impl Engine) {
    let store = engine.store();
    let history = History::default();
    let conflicts = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..8 {
            let (store, history, conflicts) = (&store, &history, &conflicts);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..60 {
                    let transaction = some_transaction(&**store, &mut random);
                    let (_, fate) = history.attempt(&**store, &transaction);
                    conflicts.fetch_add(u64::from(fate == Fate::Never), Ordering::Relaxed);
                }
            });
        }
    });
    println!("{conflicts:?} conflicts");
    history.check(&*store);
}

#[test]
fn what_was_superseded_is_never_committed() {
    let (mut superseded, mut settled) = (0, 0);
    for seed in 0..60 {
        println!("seed {seed}");
        let engine = Simulated::with_seed(seed);
        let simulated = engine.store.clone().unwrap();
        let (store, history) = (engine.store(), History::default());
        let mut random = Random::new(seed);
        let mut unknown = Vec::new();
        simulated.set_faults(Faults { unknown: 300, unavailable: 50, ..Faults::default() });
        for _ in 0..80 {
            let transaction = some_transaction(&*store, &mut random);
            let (name, fate) = history.attempt(&*store, &transaction);
            let guard = transaction.compares.first().cloned();
            if let (Fate::Unknown, Some(guard @ Compare::ModRevision { .. })) = (fate, guard) {
                unknown.push((name, guard));
            }
            // The others go on before it is decided.
            if unknown.len() > 3 {
                let (name, guard) = unknown.remove(random.below(unknown.len()));
                match decide(&*store, &history, &name, &guard) {
                    true => superseded += 1,
                    false => settled += 1,
                }
            }
        }
        simulated.set_faults(Faults::default());
        // Whatever is still undecided happens now, or never.
        for _ in 0..200 {
            store.position().unwrap();
        }
        history.check(&*store);
    }
    println!("{superseded} superseded, {settled} settled");
    assert!(superseded > 50 && settled > 50, "the test tests too little");
}

/// Decides an unknown transaction. Returns whether it was superseded.
fn decide(store: &dyn Store, history: &History, name: &str, guard: &Compare) -> bool {
    let unknown = history.transaction(name);
    let key = guard.key().unwrap();
    loop {
        let began = history.clock.fetch_add(1, Ordering::SeqCst);
        let token = format!("/token/{began}");
        let instead = Transaction::new().compare(guard.clone()).put(key, "instead").put(token.clone(), "");
        let decision = store.supersede(&unknown, &instead);
        let fate = match &decision {
            Ok(Decision::Superseded { revision }) => Fate::Committed(*revision),
            // The read after a conflict may fail, so an error does not say that it was not committed.
            Ok(Decision::Unknown) | Err(_) => Fate::Unknown,
            Ok(Decision::Settled { .. } | Decision::Conflict) => Fate::Never,
        };
        let ended = history.clock.fetch_add(1, Ordering::SeqCst);
        history.attempts.lock().unwrap().insert(token, Attempt { transaction: instead, fate, began, ended });
        match decision {
            Ok(Decision::Superseded { .. }) => {
                history.decide(name, Fate::Never);
                return true;
            }
            Ok(Decision::Settled { now }) => {
                // It has happened by now, or never will; which, the key tells unless it was changed again.
                if now.is_some_and(|pair| {
                    unknown.operations.iter().any(|operation| {
                        matches!(operation, xvirt_pool::store::Operation::Put { key, value, .. }
                        if *key == pair.key && *value == pair.value)
                    })
                }) {
                    history.decide(name, Fate::Unknown);
                }
                return false;
            }
            Ok(Decision::Conflict) => panic!("the only compare is the guard"),
            Ok(Decision::Unknown) | Err(_) => {}
        }
    }
}
