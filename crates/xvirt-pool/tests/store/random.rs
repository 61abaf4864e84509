//! Random sequences of calls, each compared with what the model does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xvirt_pool::ErrorKind;
use xvirt_pool::store::{
    Clock as _, Compare, Cursor, LeaseId, Operation, Pair, Position, Revision, Store, Transaction, Watch,
};
use xvirt_testing::random::Random;

use crate::engines::Engine;
use crate::model::Model;

const KEYS: [&str; 8] = ["/a", "/a/b", "/a/b/c", "/a-b", "/b/x", "/b/y", "/b/\u{e4}", "/c"];
const PREFIXES: [&str; 5] = ["/", "/a/", "/a/b/", "/b/", "/none/"];
const SEQUENCES: u64 = 12;
const STEPS: usize = 200;

pub fn any_sequence_does_what_the_model_does(engine: &mut (impl Engine + Fresh)) {
    for seed in 0..SEQUENCES {
        println!("seed {seed}");
        *engine = Fresh::fresh();
        let mut run = Run {
            store: engine.store(),
            engine,
            model: Model::new(),
            deadlines: BTreeMap::new(),
            watches: Vec::new(),
            random: Random::new(seed),
        };
        (0..STEPS).for_each(|_| run.step());
        run.check_all();
    }
}

/// An engine that can begin again.
pub trait Fresh {
    fn fresh() -> Self;
}

impl Fresh for crate::engines::Sqlite {
    fn fresh() -> Self {
        Self::new()
    }
}

impl Fresh for crate::engines::Simulated {
    fn fresh() -> Self {
        Self::new()
    }
}

struct Run<'a, E> {
    store: Arc<dyn Store>,
    engine: &'a mut E,
    model: Model,
    deadlines: BTreeMap<LeaseId, (Duration, Duration)>,
    watches: Vec<(&'static str, Box<dyn Watch>)>,
    random: Random,
}

impl<E: Engine> Run<'_, E> {
    fn step(&mut self) {
        match self.random.below(100) {
            0..50 => self.transaction(),
            50..60 => self.read(),
            60..75 => self.watch(),
            75..79 => self.compact(),
            79..92 => self.lease(),
            92..97 => self.advance(),
            97..99 => self.restart(),
            _ => self.restore(),
        }
        assert_eq!(self.store.position().unwrap(), self.position());
    }

    fn position(&self) -> Position {
        let cursor = Cursor { epoch: self.model.epoch, revision: self.model.revision() };
        Position { cursor, compacted: self.model.compacted }
    }

    fn transaction(&mut self) {
        let mut transaction = Transaction::new();
        for _ in 0..self.random.below(3) {
            transaction = transaction.compare(self.compare());
        }
        for number in 0..self.random.below(5) {
            let key = *self.random.pick(&KEYS);
            let operation = match self.random.below(10) {
                0..6 => {
                    Operation::Put { key: key.into(), value: vec![number as u8; self.size()], lease: self.some_lease() }
                }
                6..9 => Operation::Delete { key: key.into() },
                _ => Operation::DeletePrefix { prefix: (*self.random.pick(&PREFIXES)).into() },
            };
            let more = transaction.clone().operation(operation);
            if !touches_twice(&more) {
                transaction = more;
            }
        }
        match self.model.transaction(&transaction) {
            Some(outcome) => assert_eq!(self.store.transaction(&transaction).unwrap(), outcome, "{transaction:?}"),
            None => {
                let kind = self.store.transaction(&transaction).unwrap_err().kind();
                assert_eq!(kind, ErrorKind::LeaseNotFound, "{transaction:?}");
            }
        }
    }

    fn size(&mut self) -> usize {
        // Some are larger than a page of the database.
        if self.random.below(20) == 0 { 10_000 } else { self.random.below(20) }
    }

    fn some_lease(&mut self) -> Option<LeaseId> {
        match self.random.below(4) {
            0 => Some(LeaseId::new(self.random.below_u64(8))),
            1 => self.model.leases.first().copied(),
            _ => None,
        }
    }

    /// A compare that mostly holds.
    fn compare(&mut self) -> Compare {
        let key = *self.random.pick(&KEYS);
        let wrong = self.random.below(6) == 0;
        let off = u64::from(wrong);
        match (self.model.now().get(key), self.random.below(5)) {
            (None, 0 | 1) => Compare::absent(key),
            (None, _) => Compare::epoch(self.model.epoch + off),
            (Some(_), 0) => {
                if wrong {
                    Compare::absent(key)
                } else {
                    Compare::exists(key)
                }
            }
            (Some(pair), 1) => Compare::mod_revision(key, Revision::new(pair.mod_revision.number() + off)),
            (Some(pair), 2) => Compare::create_revision(key, Revision::new(pair.create_revision.number() + off)),
            (Some(pair), 3) => Compare::version(key, pair.version + off),
            (Some(pair), _) => Compare::value(key, if wrong { b"wrong".to_vec() } else { pair.value.clone() }),
        }
    }

    /// A revision of this epoch, or a little more.
    fn some_revision(&mut self) -> Revision {
        let first = self.model.states.first_key_value().unwrap().0.number();
        Revision::new(first + self.random.below_u64(self.model.revision().number() - first + 3))
    }

    fn expected_error(&self, at: Revision) -> Option<ErrorKind> {
        if at < self.model.compacted {
            Some(ErrorKind::Compacted)
        } else {
            (at > self.model.revision()).then_some(ErrorKind::FutureRevision)
        }
    }

    fn read(&mut self) {
        let at = (self.random.below(3) > 0).then(|| self.some_revision());
        let key = *self.random.pick(&KEYS);
        let prefix = *self.random.pick(&PREFIXES);
        let (get, range) = (self.store.get(key, at), self.pages(prefix, at));
        let revision = at.unwrap_or(self.model.revision());
        if let Some(kind) = self.expected_error(revision) {
            assert_eq!((get.unwrap_err().kind(), range.unwrap_err()), (kind, kind));
            return;
        }
        let state = &self.model.states[&revision];
        assert_eq!(get.unwrap().as_ref(), state.get(key));
        let expected: Vec<Pair> = state.values().filter(|pair| pair.key.starts_with(prefix)).cloned().collect();
        assert_eq!(range.unwrap(), expected);
    }

    fn pages(&mut self, prefix: &str, at: Option<Revision>) -> Result<Vec<Pair>, ErrorKind> {
        let limit = 1 + self.random.below(4);
        let kind = |error: xvirt_pool::Error| error.kind();
        let mut page = self.store.range(prefix, None, limit, at).map_err(kind)?;
        let mut pairs = page.pairs;
        while let Some(next) = page.next {
            page = self.store.range(prefix, Some(&next), limit, Some(page.cursor.revision)).map_err(kind)?;
            pairs.append(&mut page.pairs);
            assert!(pairs.len() <= KEYS.len());
        }
        Ok(pairs)
    }

    fn watch(&mut self) {
        if self.watches.len() < 4 {
            let (prefix, revision) = (*self.random.pick(&PREFIXES), self.some_revision());
            let watch = self.store.watch(prefix, Cursor { epoch: self.model.epoch, revision });
            match self.expected_error(revision) {
                Some(kind) => assert_eq!(watch.unwrap_err().kind(), kind),
                None => self.watches.push((prefix, watch.unwrap())),
            }
        }
        if self.watches.is_empty() {
            return;
        }
        let chosen = self.random.below(self.watches.len());
        let (prefix, watch) = &mut self.watches[chosen];
        let from = watch.cursor().revision;
        let next = watch.next(Duration::ZERO);
        if from < self.model.compacted {
            assert_eq!(next.unwrap_err().kind(), ErrorKind::Compacted);
            self.watches.swap_remove(chosen);
            return;
        }
        let expected = self.model.changes_after(from, prefix);
        let cursor = expected.as_ref().map_or(self.model.revision(), |changes| changes.revision);
        assert_eq!(next.unwrap(), expected);
        assert_eq!(watch.cursor().revision, cursor);
    }

    fn compact(&mut self) {
        let revision = self.some_revision();
        let compacted = self.store.compact(revision).map_err(|error| error.kind());
        assert_eq!(compacted.err(), self.expected_error(revision));
        if self.expected_error(revision).is_none() {
            self.model.compact(revision);
        }
    }

    fn lease(&mut self) {
        let now = self.engine.clock().now();
        let known = self.deadlines.keys().next().copied();
        match (self.random.below(3), known) {
            (0, _) | (_, None) => {
                let ttl = Duration::from_secs(2 + self.random.below_u64(20));
                let lease = self.store.grant(ttl).unwrap();
                assert_eq!(lease.ttl, ttl);
                assert!(self.deadlines.insert(lease.id, (ttl, now + ttl)).is_none());
                self.model.leases.push(lease.id);
            }
            (1, Some(lease)) => {
                let ttl = self.store.keep_alive(lease).unwrap();
                self.deadlines.insert(lease, (ttl, now + ttl));
            }
            (_, Some(lease)) => {
                self.store.revoke(lease).unwrap();
                self.deadlines.remove(&lease);
                self.model.end_lease(lease);
                assert_eq!(self.store.keep_alive(lease).unwrap_err().kind(), ErrorKind::LeaseNotFound);
            }
        }
    }

    fn advance(&mut self) {
        self.engine.clock().advance(Duration::from_secs(self.random.below_u64(8)));
        let now = self.engine.clock().now();
        let mut due: Vec<_> = self.deadlines.iter().map(|(lease, (_, until))| (*until, *lease)).collect();
        due.retain(|(until, _)| *until <= now);
        due.sort_unstable();
        for (_, lease) in due {
            self.deadlines.remove(&lease);
            self.model.end_lease(lease);
        }
    }

    /// Puts another store in the place of the one that is in use.
    fn replace(&mut self, how: impl FnOnce(&mut E)) {
        self.watches.clear();
        // Without this, the store would not be closed.
        self.store =
            Arc::new(xvirt_pool::store::SimulatedStore::new(0, Arc::new(xvirt_pool::store::SystemClock::default())));
        how(self.engine);
        self.store = self.engine.store();
    }

    fn restart(&mut self) {
        self.replace(Engine::restart);
        let now = self.engine.clock().now();
        for (ttl, until) in self.deadlines.values_mut() {
            *until = now + *ttl;
        }
    }

    fn restore(&mut self) {
        let mut snapshot = Vec::new();
        let cursor = self.store.snapshot(&mut snapshot).unwrap();
        assert_eq!(cursor, self.position().cursor);
        let after = self.random.below_u64(4);
        self.replace(|engine| engine.restore(&snapshot, after).unwrap());
        self.deadlines.clear();
        self.model.leases.clear();
        let mut state = self.model.now().clone();
        state.retain(|_, pair| pair.lease.is_none());
        let revision = Revision::new(self.model.revision().number() + 1_000_000_000);
        self.model.epoch = self.model.epoch.max(after) + 1;
        self.model.states = BTreeMap::from([(revision, state)]);
        self.model.compacted = revision;
    }

    /// Compares every revision that is kept.
    fn check_all(&mut self) {
        for (revision, state) in self.model.states.range(self.model.compacted..) {
            let page = self.store.range("/", None, usize::MAX, Some(*revision)).unwrap();
            assert_eq!(page.pairs, state.values().cloned().collect::<Vec<_>>(), "revision {revision}");
        }
    }
}

/// Whether operations touch a key twice, which is another test's.
fn touches_twice(transaction: &Transaction) -> bool {
    let touched = |operation: &Operation| match operation {
        Operation::Put { key, .. } | Operation::Delete { key } => (key.clone(), false),
        Operation::DeletePrefix { prefix } => (prefix.clone(), true),
    };
    let all: Vec<_> = transaction.operations.iter().map(touched).collect();
    let overlap =
        |(a, folder): &(String, bool), (b, _): &(String, bool)| a == b || *folder && b.starts_with(a.as_str());
    (0..all.len()).any(|i| (0..all.len()).any(|j| i != j && overlap(&all[i], &all[j])))
}
