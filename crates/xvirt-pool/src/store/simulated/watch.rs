//! Watches of a simulated store.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Shared;
use crate::store::{Changes, Closer, Cursor, Watch};
use crate::{Error, ErrorKind, Result};

pub(super) struct SimulatedWatch {
    shared: Weak<Shared>,
    connection: u64,
    prefix: String,
    cursor: Cursor,
    closer: Closer,
}

impl SimulatedWatch {
    pub(super) fn new(shared: &Arc<Shared>, connection: u64, prefix: &str, cursor: Cursor) -> Self {
        let closer = Closer::new(Arc::clone(&shared.bell));
        Self { shared: Arc::downgrade(shared), connection, prefix: prefix.to_owned(), cursor, closer }
    }

    fn read(&mut self) -> Result<Option<Changes>> {
        let shared = self.shared.upgrade().ok_or_else(|| Error::new(ErrorKind::Closed, "the store was closed"))?;
        let mut simulation = shared.enter();
        let lost = simulation.faults.lost_watch;
        if simulation.connection != self.connection || simulation.chance(lost) {
            return Err(Error::new(ErrorKind::Unavailable, "the connection of a watch was lost")
                .with_remedy("watch again from its cursor"));
        }
        let position = simulation.state.position();
        position.check_cursor(self.cursor)?;
        let changes = simulation.state.changes_after(self.cursor.revision, &self.prefix);
        self.cursor.revision = changes.as_ref().map_or(position.cursor.revision, |changes| changes.revision);
        Ok(changes)
    }

    fn wait(&mut self, timeout: Duration) -> Result<Option<Changes>> {
        let until = Instant::now().checked_add(timeout);
        loop {
            self.closer.check()?;
            if let Some(changes) = self.read()? {
                return Ok(Some(changes));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            self.closer.wait(self.cursor.revision, until);
        }
    }
}

impl Watch for SimulatedWatch {
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

impl fmt::Debug for SimulatedWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedWatch")
            .field("prefix", &self.prefix)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
