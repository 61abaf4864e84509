//! The state store: the whole configuration of a host or a pool, as pairs of keys and values.
//!
//! Keys are in folders (`/vm/5f0c…/record`), values are bytes. Everything above uses the trait [`Store`], and does not know
//! which engine is behind it.
//!
//! | Engine | For |
//! |---|---|
//! | [`SqliteStore`] | one host: a file that only this process uses |
//! | `SimulatedStore` (feature `simulation`) | tests: in memory, with the faults of a store of several hosts |
//!
//! # Revisions
//!
//! Every transaction that changes something gets the next [`Revision`]. A store keeps its past until it is
//! [compacted](Store::compact), so a reader that needs several pages reads all of them at one revision, and a watch can
//! begin in the past. Revisions only mean something within an [epoch](Cursor::epoch): a store that was restored, or
//! moved to another engine, has a greater one. Whoever keeps a revision for later keeps the [`Cursor`].
//!
//! # After an unknown outcome
//!
//! [`Outcome::Unknown`] says that the transaction may have been committed, **or may still be**. A read that does not show
//! it proves nothing. Never act on "it was not committed" before another transaction, which changes the same key from the
//! same revision, has excluded it: [`Store::supersede`] does that. An engine in process gives this outcome rarely, an
//! engine over a network at every lost connection.
//!
//! # Files
//!
//! The contract: `key`, `revision`, `pair`, `transaction`, `supersede`, `watch`, `lease`, `clock`, `snapshot`. The engines: `sqlite`,
//! `simulated`.

mod clock;
mod key;
mod lease;
mod pair;
mod revision;
#[cfg(feature = "simulation")]
mod simulated;
mod snapshot;
mod sqlite;
mod supersede;
mod transaction;
mod watch;

use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

pub use clock::Clock;
#[cfg(feature = "simulation")]
pub use clock::ManualClock;
pub use clock::SystemClock;
pub use key::MAX_KEY;
pub use lease::{Lease, LeaseId, MAX_TTL, MIN_TTL};
pub use pair::{Page, Pair};
pub use revision::{Cursor, Position, Revision};
#[cfg(feature = "simulation")]
pub use simulated::{Faults, SimulatedStore};
pub use snapshot::snapshot_to_file;
pub use sqlite::{SqliteOptions, SqliteStore};
pub use supersede::Decision;
pub use transaction::{Compare, MAX_OPERATIONS, MAX_SIZE, Operation, Outcome, Transaction};
pub use watch::{Change, Changes, Closer, Event, Watch};

use crate::Result;

/// A state store. All calls block, and all may be made from several threads at once.
///
/// Every call may fail with [`Unavailable`](crate::ErrorKind::Unavailable), [`Closed`](crate::ErrorKind::Closed) or an
/// I/O error, beside what it lists.
pub trait Store: Debug + Send + Sync {
    /// Where the store is, as far as this engine knows by itself: it needs no quorum, so it may be behind.
    fn position(&self) -> Result<Position>;

    /// The pair of this key: the newest, or the one at a revision. `None` if there was none.
    ///
    /// A read of the newest sees everything that was committed before it began. A read at a revision always gives the
    /// same, and so needs no quorum.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted), [`FutureRevision`](crate::ErrorKind::FutureRevision),
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Pair>>;

    /// Up to `limit` pairs of a folder and the folders in it, in the order of their keys: those from the key `from` on, now
    /// or at a revision.
    ///
    /// `prefix` ends with a slash; `/` is everything. A page may have fewer pairs than `limit`, since it is also limited
    /// in bytes; [`Page::next`] says where the next page begins. Read that at the revision of the first page's cursor.
    ///
    /// # Errors
    /// As [`get`](Self::get). After `Compacted` between two pages, begin again.
    fn range(&self, prefix: &str, from: Option<&str>, limit: usize, at: Option<Revision>) -> Result<Page>;

    /// Applies all operations of the transaction if all its compares hold, and none otherwise.
    ///
    /// A transaction that changes nothing, such as a deletion of what is not there, gets no revision of its own.
    ///
    /// # Errors
    /// Before anything happens: [`InvalidInput`](crate::ErrorKind::InvalidInput),
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded). [`LeaseNotFound`](crate::ErrorKind::LeaseNotFound),
    /// [`StorageFull`](crate::ErrorKind::StorageFull). **After every error, nothing was and nothing will be committed**;
    /// all other cases are [`Outcome::Unknown`].
    fn transaction(&self, transaction: &Transaction) -> Result<Outcome>;

    /// Decides a transaction whose outcome is unknown, by committing `instead` in its place.
    ///
    /// Both transactions must compare the [modification revision](Compare::ModRevision) of the same key with the same
    /// revision, and write that key. Whichever is committed excludes the other for ever, since no pair gets an old
    /// revision again. That is not so for any other compare: a key can be absent a second time.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction); [`InvalidInput`](crate::ErrorKind::InvalidInput) if the transactions do not
    /// exclude each other. After every error, the outcome is as unknown as before.
    fn supersede(&self, unknown: &Transaction, instead: &Transaction) -> Result<Decision> {
        supersede::supersede(self, unknown, instead)
    }

    /// Watches a folder and the folders in it: all changes after the cursor, in the order of their revisions.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted) and [`EpochChanged`](crate::ErrorKind::EpochChanged): changes are
    /// missing, so read everything again. [`FutureRevision`](crate::ErrorKind::FutureRevision),
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    fn watch(&self, prefix: &str, cursor: Cursor) -> Result<Box<dyn Watch>>;

    /// A new lease. Pairs that are put with it are deleted when it ends, in one transaction.
    ///
    /// Leases survive a restart of the store and a change of its leader; their time then begins again. So a lease
    /// never ends early, but it may end late. If the call fails, there may be a lease that nobody knows, which then
    /// ends by itself.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless `ttl` is from [`MIN_TTL`] to [`MAX_TTL`],
    /// [`StorageFull`](crate::ErrorKind::StorageFull).
    fn grant(&self, ttl: Duration) -> Result<Lease>;

    /// Lets the time of a lease begin again, and returns its length. This writes nothing.
    ///
    /// # Errors
    /// [`LeaseNotFound`](crate::ErrorKind::LeaseNotFound): it has ended.
    fn keep_alive(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends a lease now, and deletes its pairs. If the call fails, it may have ended or not: repeat it.
    ///
    /// # Errors
    /// [`LeaseNotFound`](crate::ErrorKind::LeaseNotFound): it has ended already.
    fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// Forgets all that was replaced or deleted up to this revision. Reads and watches from before it then fail with
    /// [`Compacted`](crate::ErrorKind::Compacted); the state at this revision stays. If the call fails, repeat it.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted) if more is forgotten already,
    /// [`FutureRevision`](crate::ErrorKind::FutureRevision).
    fn compact(&self, revision: Revision) -> Result<()>;

    /// Writes the state at one revision to `to`, and returns that revision. Any engine can be restored from it.
    ///
    /// It has the pairs with their revisions, but no history. Pairs with a lease are left out: they say that somebody is
    /// there, which is not known of a store that was restored.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted) if the store was compacted meanwhile: repeat it. What was written is then
    /// incomplete, and no store is restored from it.
    fn snapshot(&self, to: &mut dyn Write) -> Result<Cursor> {
        snapshot::write(self, to)
    }
}
