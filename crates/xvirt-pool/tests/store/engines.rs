//! The engines, as the contract sees them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use xvirt_pool::store::{
    ManualClock, Outcome, Revision, SimulatedStore, SqliteOptions, SqliteStore, Store, Transaction,
};

pub trait Engine {
    fn store(&self) -> Arc<dyn Store>;
    fn clock(&self) -> &ManualClock;
    /// Ends the store, and begins it again with what it has: leases survive, and their time begins again.
    fn restart(&mut self);
    /// Replaces the store by what is in a snapshot.
    fn restore(&mut self, snapshot: &[u8], after: u64) -> xvirt_pool::Result<()>;
    /// Drops the store.
    fn close(&mut self);
}

pub struct Sqlite {
    pub folder: TempDir,
    pub options: SqliteOptions,
    clock: Arc<ManualClock>,
    store: Option<Arc<SqliteStore>>,
    restored: usize,
}

impl Sqlite {
    pub fn new() -> Self {
        Self::with_max_size(1 << 30)
    }

    pub fn with_max_size(max_size: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let options = SqliteOptions { max_size, clock: clock.clone(), ..SqliteOptions::default() };
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(folder.path().join("0.db"), &options).unwrap();
        Self { folder, options, clock, store: Some(Arc::new(store)), restored: 0 }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.restored))
    }
}

impl Engine for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().unwrap()) as Arc<dyn Store>
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn restart(&mut self) {
        self.close();
        self.store = Some(Arc::new(SqliteStore::open(self.path(), &self.options).unwrap()));
    }

    fn restore(&mut self, mut snapshot: &[u8], after: u64) -> xvirt_pool::Result<()> {
        self.close();
        self.restored += 1;
        let store = SqliteStore::restore(self.path(), &mut snapshot, after, &self.options)?;
        self.store = Some(Arc::new(store));
        Ok(())
    }

    fn close(&mut self) {
        self.store = None;
    }
}

pub struct Simulated {
    clock: Arc<ManualClock>,
    pub store: Option<Arc<SimulatedStore>>,
}

impl Simulated {
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    pub fn with_seed(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = SimulatedStore::new(seed, clock.clone());
        Self { clock, store: Some(Arc::new(store)) }
    }
}

impl Engine for Simulated {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().unwrap()) as Arc<dyn Store>
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn restart(&mut self) {
        self.store.as_ref().unwrap().change_leader();
    }

    fn restore(&mut self, mut snapshot: &[u8], after: u64) -> xvirt_pool::Result<()> {
        self.store = Some(Arc::new(SimulatedStore::restore(&mut snapshot, after, 0, self.clock.clone())?));
        Ok(())
    }

    fn close(&mut self) {
        self.store = None;
    }
}

/// Commits a transaction that must succeed.
pub fn commit(store: &dyn Store, transaction: &Transaction) -> Revision {
    match store.transaction(transaction).unwrap() {
        Outcome::Committed { revision } => revision,
        other => panic!("{other:?} of {transaction:?}"),
    }
}

/// Puts one pair.
pub fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    commit(store, &Transaction::new().put(key, value))
}

/// Everything in a folder, now.
pub fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.range(prefix, None, 1000, None).unwrap().pairs.into_iter().map(|pair| pair.key).collect()
}

/// Long enough for another thread, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);
