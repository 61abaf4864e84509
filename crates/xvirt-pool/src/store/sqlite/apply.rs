//! Transactions as SQL.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::write::Head;
use crate::store::{Compare, LeaseId, Operation, Pair, Revision, Transaction, key};

/// The newest pair of a key, without its value.
struct Current {
    id: i64,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
}

fn current(connection: &Connection, key: &str) -> rusqlite::Result<Option<Current>> {
    let query = "SELECT id, create_revision, mod_revision, version FROM pair INDEXED BY pair_now
                 WHERE key = ?1 AND ended IS NULL";
    let current = |row: &rusqlite::Row<'_>| {
        Ok(Current { id: row.get(0)?, create_revision: row.get(1)?, mod_revision: row.get(2)?, version: row.get(3)? })
    };
    connection.prepare_cached(query)?.query_row([key], current).optional()
}

/// Whether all compares hold.
pub(super) fn all_hold(connection: &Connection, head: &Head, transaction: &Transaction) -> rusqlite::Result<bool> {
    for compare in &transaction.compares {
        if !holds(connection, head, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(connection: &Connection, head: &Head, compare: &Compare) -> rusqlite::Result<bool> {
    let now = |key| current(connection, key);
    Ok(match compare {
        Compare::Exists { key } => now(key)?.is_some(),
        Compare::Absent { key } => now(key)?.is_none(),
        Compare::ModRevision { key, revision } => now(key)?.is_some_and(|now| now.mod_revision == revision.number()),
        Compare::CreateRevision { key, revision } => {
            now(key)?.is_some_and(|now| now.create_revision == revision.number())
        }
        Compare::Version { key, version } => now(key)?.is_some_and(|now| now.version == *version),
        Compare::Value { key, value } => {
            let query = "SELECT value = ?2 FROM pair INDEXED BY pair_now WHERE key = ?1 AND ended IS NULL";
            connection.prepare_cached(query)?.query_row(params![key, value], |row| row.get(0)).optional()? == Some(true)
        }
        Compare::Epoch { epoch } => head.epoch == *epoch,
    })
}

/// Makes the changes of a transaction. Its revision is the head's new one, if it changes anything.
pub(super) fn apply(connection: &Connection, head: &mut Head, transaction: &Transaction) -> rusqlite::Result<()> {
    let revision = head.revision.next();
    let mut changed = 0;
    for operation in &transaction.operations {
        changed += match operation {
            Operation::Put { key, value, lease } => put(connection, revision, key, value, *lease)?,
            Operation::Delete { key } => connection
                .prepare_cached("UPDATE pair INDEXED BY pair_now SET ended = ?1 WHERE key = ?2 AND ended IS NULL")?
                .execute(params![revision.number(), key])?,
            Operation::DeletePrefix { prefix } => connection
                .prepare_cached(
                    "UPDATE pair INDEXED BY pair_now SET ended = ?1 WHERE key >= ?2 AND key < ?3 AND ended IS NULL",
                )?
                .execute(params![revision.number(), prefix, key::end_of(prefix)])?,
        };
    }
    if changed > 0 {
        head.revision = revision;
    }
    Ok(())
}

fn put(
    connection: &Connection,
    revision: Revision,
    key: &str,
    value: &[u8],
    lease: Option<LeaseId>,
) -> rusqlite::Result<usize> {
    let old = current(connection, key)?;
    if let Some(old) = &old {
        end(connection, revision, old.id)?;
    }
    let previous = old.as_ref().map(|old| Revision::new(old.mod_revision));
    let (create_revision, version) =
        old.map_or((revision, 1), |old| (Revision::new(old.create_revision), old.version + 1));
    let (key, value) = (key.to_owned(), value.to_vec());
    insert(connection, &Pair { key, value, create_revision, mod_revision: revision, version, lease }, previous)?;
    Ok(1)
}

fn end(connection: &Connection, revision: Revision, id: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE pair SET ended = ?1 WHERE id = ?2")?.execute(params![revision.number(), id])?;
    Ok(())
}

/// Adds a pair that replaces the one of the revision `previous`.
pub(super) fn insert(connection: &Connection, pair: &Pair, previous: Option<Revision>) -> rusqlite::Result<()> {
    let insert = "INSERT INTO pair (key, create_revision, mod_revision, version, lease, previous, value)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(insert)?.execute(params![
        pair.key,
        pair.create_revision.number(),
        pair.mod_revision.number(),
        pair.version,
        pair.lease.map(LeaseId::number),
        previous.map(Revision::number),
        pair.value,
    ])?;
    Ok(())
}

/// Deletes a lease and its pairs.
pub(super) fn end_lease(connection: &Connection, head: &mut Head, lease: LeaseId) -> rusqlite::Result<()> {
    let revision = head.revision.next();
    let changed = connection
        .prepare_cached("UPDATE pair INDEXED BY pair_lease SET ended = ?1 WHERE lease = ?2 AND ended IS NULL")?
        .execute(params![revision.number(), lease.number()])?;
    connection.prepare_cached("DELETE FROM lease WHERE id = ?1")?.execute([lease.number()])?;
    if changed > 0 {
        head.revision = revision;
    }
    Ok(())
}
