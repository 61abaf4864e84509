//! Committing: one writer, which takes the transactions of all threads that wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, TransactionBehavior, params};

use super::failure::Failure;
use super::queue::{Answer, Pending};
use super::{Engine, apply, file};
use crate::store::{Cursor, LeaseId, Operation, Outcome, Position, Revision, Transaction, lease, snapshot};
use crate::sync::lock;
use crate::{ErrorKind, Result};

/// How many pairs compaction removes in one step, between which others may write.
const STEP: i64 = 1000;

/// The row of the store as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) last_lease: u64,
}

impl Head {
    /// Writes the row of a new store.
    pub(super) fn begin(connection: &Connection, cursor: Cursor) -> rusqlite::Result<()> {
        let revision = cursor.revision.number();
        let insert = "INSERT INTO store (id, epoch, revision, compacted, last_lease) VALUES (1, ?1, ?2, ?2, 0)";
        connection.execute(insert, params![cursor.epoch, revision])?;
        Ok(())
    }

    /// Begins another epoch, after committed transactions were lost.
    pub(super) fn begin_epoch(connection: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE store SET epoch = epoch + 1, revision = revision + ?1, compacted = revision + ?1";
        connection.execute(update, [snapshot::BUMP])?;
        Ok(())
    }

    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let query = "SELECT epoch, revision, compacted, last_lease FROM store";
        connection.prepare_cached(query)?.query_row([], |row| {
            let (epoch, last_lease) = (row.get(0)?, row.get(3)?);
            let (revision, compacted) = (Revision::new(row.get(1)?), Revision::new(row.get(2)?));
            Ok(Self { epoch, revision, compacted, last_lease })
        })
    }

    fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE store SET revision = ?1, compacted = ?2, last_lease = ?3";
        let numbers = params![self.revision.number(), self.compacted.number(), self.last_lease];
        connection.prepare_cached(update)?.execute(numbers)?;
        Ok(())
    }

    pub(super) fn position(&self) -> Position {
        let cursor = Cursor { epoch: self.epoch, revision: self.revision };
        Position { cursor, compacted: self.compacted }
    }
}

/// What came of a commit.
pub(super) enum Written<T> {
    Done(T),
    /// It failed such that a crash may bring it back.
    Unknown(Failure),
}

impl Engine {
    /// Commits a transaction, together with those that other threads have submitted meanwhile.
    pub(super) fn transaction(&self, transaction: &Transaction) -> Result<Outcome> {
        let answer = Answer::default();
        self.queue.add(Pending { transaction: transaction.clone(), answer: Arc::clone(&answer) });
        while let Some(turn) = self.queue.turn(&answer) {
            let batch = turn.batch();
            if batch.is_empty() {
                // The thread that had taken this one ended in a panic.
                return Ok(Outcome::Unknown);
            }
            self.commit(&mut lock(&self.writer), batch);
        }
        let answer = lock(&answer).take();
        answer.unwrap_or(Ok(Outcome::Unknown))
    }

    fn commit(&self, writer: &mut Connection, batch: Vec<Pending>) {
        let written = self.write(writer, |connection, head| {
            batch.iter().map(|pending| self.decide(connection, head, &pending.transaction)).collect()
        });
        let answers: Vec<Result<Outcome>> = match written {
            Ok(Written::Done(answers)) => answers,
            Ok(Written::Unknown(_)) => batch.iter().map(|_| Ok(Outcome::Unknown)).collect(),
            Err(failure) => batch.iter().map(|_| Err(failure.during("cannot write to the store"))).collect(),
        };
        for (pending, answer) in batch.into_iter().zip(answers) {
            *lock(&pending.answer) = Some(answer);
        }
    }

    /// Applies a transaction, or finds why not. An error of SQLite concerns the whole batch.
    fn decide(
        &self,
        connection: &Connection,
        head: &mut Head,
        transaction: &Transaction,
    ) -> rusqlite::Result<Result<Outcome>> {
        if !apply::all_hold(connection, head, transaction)? {
            return Ok(Ok(Outcome::Conflict));
        }
        if let Some(lease) = self.missing_lease(transaction) {
            return Ok(Err(lease::not_found(lease)));
        }
        apply::apply(connection, head, transaction)?;
        Ok(Ok(Outcome::Committed { revision: head.revision }))
    }

    fn missing_lease(&self, transaction: &Transaction) -> Option<LeaseId> {
        let now = self.clock.now();
        let leases = lock(&self.leases);
        let named = transaction.operations.iter().filter_map(|operation| match operation {
            Operation::Put { lease, .. } => *lease,
            _ => None,
        });
        named.into_iter().find(|lease| !leases.is_held(*lease, now))
    }

    /// Does `work` in one transaction of SQLite, and wakes the watches. After a failure, nothing was written.
    pub(super) fn write<T>(
        &self,
        writer: &mut Connection,
        work: impl FnOnce(&Connection, &mut Head) -> rusqlite::Result<T>,
    ) -> Result<Written<T>, Failure> {
        let failed = |error| Failure::of(&error);
        // What is left of a commit that failed goes with the log: it never happens then, and is not taken for damage.
        if self.cut_off.load(Ordering::Relaxed) && file::empty_log(writer).is_ok_and(|emptied| emptied) {
            self.cut_off.store(false, Ordering::Relaxed);
        }
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let before = Head::load(&transaction).map_err(failed)?;
        let mut head = before;
        let done = work(&transaction, &mut head).map_err(failed)?;
        if head != before {
            head.save(&transaction).map_err(failed)?;
        }
        match transaction.commit().map_err(failed) {
            Ok(()) => {
                self.bell.ring(head.revision);
                Ok(Written::Done(done))
            }
            // The last frame, which alone commits, was not written.
            Err(failure) if failure.kind() == ErrorKind::StorageFull => Err(failure),
            Err(failure) => {
                self.cut_off.store(true, Ordering::Relaxed);
                Ok(Written::Unknown(failure))
            }
        }
    }

    /// As [`write`](Self::write), for what may be repeated if it is not known whether it was done.
    pub(super) fn write_or_fail<T>(
        &self,
        writer: &mut Connection,
        what: &str,
        work: impl FnOnce(&Connection, &mut Head) -> rusqlite::Result<T>,
    ) -> Result<T> {
        match self.write(writer, work) {
            Ok(Written::Done(done)) => Ok(done),
            Ok(Written::Unknown(failure)) | Err(failure) => Err(failure.during(what)),
        }
    }

    /// See [`Store::compact`](crate::store::Store::compact).
    pub(super) fn compact(&self, revision: Revision) -> Result<()> {
        let what = format!("cannot compact the store up to revision {revision}");
        self.write_or_fail(&mut lock(&self.writer), &what, |_, head| {
            let checked = head.position().check(revision);
            if checked.is_ok() {
                head.compacted = revision;
            }
            Ok(checked)
        })??;
        // What is left if this is interrupted is never read, and removed by the next compaction.
        let remove = "DELETE FROM pair WHERE id IN
                      (SELECT id FROM pair INDEXED BY pair_ended WHERE ended <= ?1 AND ended IS NOT NULL LIMIT ?2)";
        while self.write_or_fail(&mut lock(&self.writer), &what, |connection, _| {
            connection.prepare_cached(remove)?.execute(params![revision.number(), STEP])
        })? > 0
        {}
        Ok(())
    }
}
