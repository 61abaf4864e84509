//! Watches: each reads the history at its own pace, and is only woken.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Engine;
use super::read::{COLUMNS, cannot_read, pair};
use crate::store::{Change, Changes, Closer, Cursor, Event, Revision, Watch, key};
use crate::{Error, ErrorKind, Result};

pub(super) struct SqliteWatch {
    /// Weak, so that a forgotten watch does not keep the files open.
    engine: Weak<Engine>,
    prefix: String,
    end: String,
    cursor: Cursor,
    closer: Closer,
}

impl SqliteWatch {
    pub(super) fn new(engine: &Arc<Engine>, prefix: &str, cursor: Cursor) -> Self {
        let closer = Closer::new(Arc::clone(&engine.bell));
        Self { engine: Arc::downgrade(engine), prefix: prefix.to_owned(), end: key::end_of(prefix), cursor, closer }
    }

    /// Reads the next changes, and moves the cursor over those of other folders.
    fn read(&mut self, engine: &Engine) -> Result<Option<Changes>> {
        engine.expire();
        engine.readers.read(|connection, position| {
            position.check_cursor(self.cursor)?;
            let changes = self.next_changes(connection).map_err(cannot_read)?;
            self.cursor.revision = changes.as_ref().map_or(position.cursor.revision, |changes| changes.revision);
            Ok(changes)
        })
    }

    fn next_changes(&self, connection: &Connection) -> rusqlite::Result<Option<Changes>> {
        let first = |query: &str, most: u64| {
            let range = params![self.cursor.revision.number(), most, self.prefix, self.end];
            connection.prepare_cached(query)?.query_row(range, |row| row.get::<_, u64>(0)).optional()
        };
        let begun = first(
            "SELECT mod_revision FROM pair INDEXED BY pair_begun
             WHERE mod_revision > ?1 AND mod_revision <= ?2 AND key >= ?3 AND key < ?4 ORDER BY mod_revision LIMIT 1",
            i64::MAX as u64,
        )?;
        let ended = first(
            "SELECT ended FROM pair INDEXED BY pair_ended
             WHERE ended > ?1 AND ended <= ?2 AND key >= ?3 AND key < ?4 ORDER BY ended LIMIT 1",
            begun.unwrap_or(i64::MAX as u64),
        )?;
        let Some(revision) = ended.or(begun) else { return Ok(None) };
        let mut events = self.events(connection, revision)?;
        events.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(Some(Changes { revision: Revision::new(revision), events }))
    }

    fn events(&self, connection: &Connection, revision: u64) -> rusqlite::Result<Vec<Event>> {
        let range = params![revision, self.prefix, self.end];
        let put = format!(
            "SELECT {COLUMNS}, previous FROM pair INDEXED BY pair_begun
             WHERE mod_revision = ?1 AND key >= ?2 AND key < ?3"
        );
        let mut put = connection.prepare_cached(&put)?;
        let put = put.query_map(range, |row| {
            let previous = row.get::<_, Option<u64>>(6)?.map(Revision::new);
            Ok(Event { previous, change: Change::Put(pair(row)?) })
        })?;
        // What ended and did not begin again with the same revision.
        let mut deleted = connection.prepare_cached(
            "SELECT key, mod_revision FROM pair INDEXED BY pair_ended
             WHERE ended = ?1 AND key >= ?2 AND key < ?3 AND NOT EXISTS
             (SELECT 1 FROM pair AS next WHERE next.key = pair.key AND next.mod_revision = ?1)",
        )?;
        let deleted = deleted.query_map(range, |row| {
            let previous = Some(Revision::new(row.get(1)?));
            Ok(Event { previous, change: Change::Delete { key: row.get(0)? } })
        })?;
        put.chain(deleted).collect()
    }

    fn wait(&mut self, timeout: Duration) -> Result<Option<Changes>> {
        let until = Instant::now().checked_add(timeout);
        loop {
            self.closer.check()?;
            let engine = self.engine.upgrade();
            let engine = engine.ok_or_else(|| Error::new(ErrorKind::Closed, "cannot watch: the store was closed"))?;
            if let Some(changes) = self.read(&engine)? {
                return Ok(Some(changes));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            // Nobody else may be there to end the next lease.
            let lease = engine.until_next_end().and_then(|left| Instant::now().checked_add(left));
            drop(engine);
            self.closer.wait(self.cursor.revision, until.into_iter().chain(lease).min());
        }
    }
}

impl Watch for SqliteWatch {
    fn next(&mut self, timeout: Duration) -> Result<Option<Changes>> {
        let next = self.wait(timeout);
        if next.is_err() {
            self.closer.close();
        }
        next
    }

    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn closer(&self) -> Closer {
        self.closer.clone()
    }
}

impl fmt::Debug for SqliteWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteWatch")
            .field("prefix", &self.prefix)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
