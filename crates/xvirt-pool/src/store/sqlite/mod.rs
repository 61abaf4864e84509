//! The store of one host: a SQLite database that only this process uses.
//!
//! `file` creates, opens and checks the files, `log` looks for damage that SQLite does not report, `schema` has the
//! tables. `queue` gathers transactions, `write` commits them, `apply` turns them into SQL. `read` answers reads, `watch`
//! reads changes, `lease` ends leases. `failure` translates errors.

mod apply;
mod failure;
mod file;
mod lease;
mod log;
mod queue;
mod read;
mod schema;
mod watch;
mod write;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use self::file::{Contents, Lock};
use self::queue::Queue;
use self::read::Readers;
use self::write::Head;
use super::lease::Deadlines;
use super::watch::Bell;
use super::{
    Clock, Cursor, Lease, LeaseId, Outcome, Page, Pair, Position, Revision, Store, SystemClock, Transaction, Watch,
    key, snapshot,
};
use crate::Result;
use crate::sync::lock;

/// How a [`SqliteStore`] works.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The most bytes of the database file. A transaction that needs more fails with
    /// [`StorageFull`](crate::ErrorKind::StorageFull). The default is 2 GiB.
    pub max_size: u64,
    /// Whether to open a store whose log is damaged, with what is before the damage. Transactions that were committed are
    /// lost then, so the store begins a later epoch. Without this, such a store is [`Corrupt`](crate::ErrorKind::Corrupt).
    pub accept_loss: bool,
    /// The clock of the leases.
    pub clock: Arc<dyn Clock>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { max_size: 2 << 30, accept_loss: false, clock: Arc::new(SystemClock::default()) }
    }
}

/// The store of one host.
///
/// It is a SQLite database: next to it are, while it is open, its write-ahead log (`-wal`), an index of the log (`-shm`) and
/// a lock (`.lock`). All are readable by this user only. The lock is held for as long as the store or a call on one of
/// its watches lasts; another process, or a second store in this one, gets [`Busy`](crate::ErrorKind::Busy) with the number of
/// the process that has it.
///
/// # What is never lost
///
/// A transaction is on stable storage before [`Outcome::Committed`] is returned (write-ahead log, `synchronous=FULL`):
/// each commit ends with fsync(2) of the log. What was acknowledged survives the end of the process and of the host, as
/// far as the disk honours fsync. Transactions of several threads that wait at the same time share one fsync.
///
/// Every frame of the log has a checksum that includes all frames before it. If the log is damaged, the store has a prefix
/// of what was committed: everything up to the damage, and whole transactions only. A damaged or missing end looks as
/// if a crash had cut off a write, so the loss of what was in it is not reported. Damage before the end is: transactions
/// after it are lost, so the store is not opened, unless [`SqliteOptions::accept_loss`] says so. Damage to the structure
/// of the database itself is found when the store is opened, too; the bytes of values have no checksum.
///
/// # When the disk is full
///
/// Transactions fail with [`StorageFull`](crate::ErrorKind::StorageFull), nothing is half there, and reads and watches go on. The
/// store writes again once there is room. Leases are kept alive meanwhile, and pairs of those that end stay until then.
///
/// # When a commit fails
///
/// If writing or syncing the log fails in another way, the outcome is [`Unknown`](Outcome::Unknown): after a crash, the
/// transaction may be there. The next transaction that is committed decides it.
pub struct SqliteStore {
    engine: Arc<Engine>,
}

struct Engine {
    readers: Readers,
    /// Whether a commit failed such that parts of it are in the log.
    cut_off: AtomicBool,
    /// After `readers`, so that the writer is closed last, and empties the log.
    writer: Mutex<Connection>,
    /// Transactions that wait for the writer.
    queue: Queue,
    /// Locked after `writer`, if both are.
    leases: Mutex<Deadlines>,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
    /// The last field, so that it is unlocked after the connections are closed.
    _lock: Lock,
}

impl SqliteStore {
    /// Creates an empty store, in epoch 1, and opens it. After a crash, it is there completely or not at all.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`Busy`](crate::ErrorKind::Busy), and I/O errors.
    pub fn create(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self> {
        let empty = Cursor { epoch: 1, revision: Revision::default() };
        Self::make(path.as_ref(), options, |_| Ok(empty))
    }

    /// Creates a store with the contents of a [snapshot](Store::snapshot), and opens it.
    ///
    /// Its epoch is greater than that of the snapshot and than `after`: pass the greatest epoch that is known of the store
    /// which this one replaces, or 0. Its revision is a billion above that of the snapshot, and everything older is
    /// compacted.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Corrupt`](crate::ErrorKind::Corrupt) and [`Unsupported`](crate::ErrorKind::Unsupported) if
    /// the snapshot is damaged or newer. There is no store then.
    pub fn restore(path: impl AsRef<Path>, from: &mut dyn Read, after: u64, options: &SqliteOptions) -> Result<Self> {
        Self::make(path.as_ref(), options, |contents| snapshot::read(from, after, &mut |pair| contents.add(&pair)))
    }

    /// Opens the store in this file, and checks it. The time of all leases begins again.
    ///
    /// A store of an older version is brought to this one.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound): a store that is gone is not replaced by an empty one.
    /// [`Busy`](crate::ErrorKind::Busy), [`Corrupt`](crate::ErrorKind::Corrupt), [`Unsupported`](crate::ErrorKind::Unsupported) for a store of a
    /// newer version, and I/O errors.
    pub fn open(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self> {
        let path = file::absolute(path.as_ref())?;
        let lock = file::lock(&path)?;
        Self::with_lock(&path, lock, options)
    }

    fn make(
        path: &Path,
        options: &SqliteOptions,
        fill: impl FnOnce(&mut Contents<'_>) -> Result<Cursor>,
    ) -> Result<Self> {
        let path = file::absolute(path)?;
        file::check_absent(&path)?;
        let lock = file::lock(&path)?;
        file::create(&path, options.max_size, fill)?;
        Self::with_lock(&path, lock, options)
    }

    fn with_lock(path: &Path, lock: Lock, options: &SqliteOptions) -> Result<Self> {
        let writer = file::open(path, options)?;
        let failed = |error| failure::failed(&format!("cannot read the store {}", path.display()), error);
        let head = Head::load(&writer).map_err(failed)?;
        let leases = lease::load(&writer, options.clock.now()).map_err(failed)?;
        let bell = Arc::new(Bell::default());
        bell.ring(head.revision);
        let engine = Engine {
            readers: Readers::new(path.to_owned()),
            cut_off: AtomicBool::new(false),
            writer: Mutex::new(writer),
            queue: Queue::default(),
            leases: Mutex::new(leases),
            clock: Arc::clone(&options.clock),
            bell,
            _lock: lock,
        };
        Ok(Self { engine: Arc::new(engine) })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.engine.bell.end();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.engine.readers.path()).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn position(&self) -> Result<Position> {
        self.engine.expire();
        self.engine.readers.read(|_, position| Ok(position))
    }

    fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Pair>> {
        key::check(key)?;
        self.engine.expire();
        self.engine.readers.get(key, at)
    }

    fn range(&self, prefix: &str, from: Option<&str>, limit: usize, at: Option<Revision>) -> Result<Page> {
        key::check_range(prefix, from, limit)?;
        self.engine.expire();
        self.engine.readers.range(prefix, from, limit, at)
    }

    fn transaction(&self, transaction: &Transaction) -> Result<Outcome> {
        transaction.check()?;
        self.engine.expire();
        self.engine.transaction(transaction)
    }

    fn watch(&self, prefix: &str, cursor: Cursor) -> Result<Box<dyn Watch>> {
        key::check_prefix(prefix)?;
        self.engine.readers.read(|_, position| position.check_cursor(cursor))?;
        Ok(Box::new(watch::SqliteWatch::new(&self.engine, prefix, cursor)))
    }

    fn grant(&self, ttl: Duration) -> Result<Lease> {
        super::lease::check_ttl(ttl)?;
        self.engine.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        lock(&self.engine.leases).keep_alive(lease, self.engine.clock.now())
    }

    fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.engine.expire();
        self.engine.revoke(lease)
    }

    fn compact(&self, revision: Revision) -> Result<()> {
        self.engine.compact(revision)
    }
}
