//! Reads, on a few connections beside the writer's. None waits for a commit.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::failure::failed;
use super::file;
use super::write::Head;
use crate::Result;
use crate::store::{Cursor, LeaseId, Page, Pair, Position, Revision, key};
use crate::sync::lock;

/// How many reads happen at the same time; more wait.
const CONNECTIONS: usize = 4;
/// After how many bytes a page ends.
const PAGE_SIZE: usize = 4 << 20;

/// The columns of a pair, in the order of [`pair`].
pub(super) const COLUMNS: &str = "key, value, create_revision, mod_revision, version, lease";

pub(super) fn pair(row: &Row<'_>) -> rusqlite::Result<Pair> {
    Ok(Pair {
        key: row.get(0)?,
        value: row.get(1)?,
        create_revision: Revision::new(row.get(2)?),
        mod_revision: Revision::new(row.get(3)?),
        version: row.get(4)?,
        lease: row.get::<_, Option<u64>>(5)?.map(LeaseId::new),
    })
}

pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    busy: usize,
}

/// A connection that goes back to the pool.
struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        pool.busy -= 1;
        pool.idle.extend(self.connection.take());
        self.readers.returned.notify_one();
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, pool: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self) -> Reader<'_> {
        let mut pool = lock(&self.pool);
        while pool.busy >= CONNECTIONS {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.busy += 1;
        Reader { readers: self, connection: pool.idle.pop() }
    }

    /// Reads at one moment.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection, Position) -> Result<T>) -> Result<T> {
        let failed = |error| cannot_read(error);
        let mut reader = self.take();
        let connection = match reader.connection.take() {
            Some(connection) => connection,
            None => file::reader(&self.path).map_err(failed)?,
        };
        let connection = reader.connection.insert(connection);
        let transaction = connection.transaction().map_err(failed)?;
        // The first read fixes the moment.
        let head = Head::load(&transaction).map_err(failed)?;
        work(&transaction, head.position())
    }

    pub(super) fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Pair>> {
        self.read(|connection, position| {
            position.check(at.unwrap_or(position.cursor.revision))?;
            let rows = rows_at(at);
            let query = format!("SELECT {COLUMNS} FROM pair {rows} AND key = ?2");
            let mut query = connection.prepare_cached(&query).map_err(cannot_read)?;
            query.query_row(params![at.map(Revision::number), key], pair).optional().map_err(cannot_read)
        })
    }

    pub(super) fn range(&self, prefix: &str, from: Option<&str>, limit: usize, at: Option<Revision>) -> Result<Page> {
        self.read(|connection, position| {
            let revision = at.unwrap_or(position.cursor.revision);
            position.check(revision)?;
            let cursor = Cursor { epoch: position.cursor.epoch, revision };
            let (pairs, next) =
                page(connection, from.unwrap_or(prefix), &key::end_of(prefix), limit, at).map_err(cannot_read)?;
            Ok(Page { cursor, pairs, next })
        })
    }
}

/// The rows of the newest revision, or of a revision that is the first parameter.
fn rows_at(at: Option<Revision>) -> &'static str {
    match at {
        None => "INDEXED BY pair_now WHERE ended IS NULL AND ?1 IS NULL",
        Some(_) => "INDEXED BY pair_history WHERE mod_revision <= ?1 AND (ended IS NULL OR ended > ?1)",
    }
}

fn page(
    connection: &Connection,
    from: &str,
    end: &str,
    limit: usize,
    at: Option<Revision>,
) -> rusqlite::Result<(Vec<Pair>, Option<String>)> {
    let rows = rows_at(at);
    let query = format!("SELECT {COLUMNS} FROM pair {rows} AND key >= ?2 AND key < ?3 ORDER BY key");
    let mut query = connection.prepare_cached(&query)?;
    let mut rows = query.query(params![at.map(Revision::number), from, end])?;
    let (mut pairs, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if pairs.len() == limit || size >= PAGE_SIZE {
            return Ok((pairs, Some(row.get(0)?)));
        }
        let pair = pair(row)?;
        size += pair.key.len() + pair.value.len();
        pairs.push(pair);
    }
    Ok((pairs, None))
}

pub(super) fn cannot_read(error: rusqlite::Error) -> crate::Error {
    failed("cannot read the store", error)
}
