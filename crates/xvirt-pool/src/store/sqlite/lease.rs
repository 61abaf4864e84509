//! Leases: their pairs are in the tables, their time is in memory.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{Engine, apply};
use crate::Result;
use crate::store::lease::{Deadlines, not_found};
use crate::store::{Lease, LeaseId};
use crate::sync::lock;

/// How long to wait before the next attempt to end a lease, as while the disk is full.
const AGAIN: Duration = Duration::from_secs(1);

/// The leases of a store that is opened. Their time begins now.
pub(super) fn load(connection: &Connection, now: Duration) -> rusqlite::Result<Deadlines> {
    let mut leases = Deadlines::default();
    let mut query = connection.prepare("SELECT id, ttl FROM lease")?;
    let found = query
        .query_map([], |row| Ok(Lease { id: LeaseId::new(row.get(0)?), ttl: Duration::from_millis(row.get(1)?) }))?;
    for lease in found {
        leases.begin(lease?, now);
    }
    Ok(leases)
}

impl Engine {
    pub(super) fn grant(&self, ttl: Duration) -> Result<Lease> {
        let mut writer = lock(&self.writer);
        let lease = self.write_or_fail(&mut writer, "cannot grant a lease", |connection, head| {
            head.last_lease += 1;
            // At most a day, so this fits.
            let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            connection
                .prepare_cached("INSERT INTO lease (id, ttl) VALUES (?1, ?2)")?
                .execute(params![head.last_lease, milliseconds])?;
            Ok(Lease { id: LeaseId::new(head.last_lease), ttl })
        })?;
        lock(&self.leases).begin(lease, self.clock.now());
        Ok(lease)
    }

    pub(super) fn revoke(&self, lease: LeaseId) -> Result<()> {
        let mut writer = lock(&self.writer);
        if !lock(&self.leases).is_held(lease, self.clock.now()) {
            return Err(not_found(lease));
        }
        self.end(&mut writer, lease)
    }

    /// Ends the leases whose time is over. Every call does this first, so nobody sees pairs of a lease that has ended.
    ///
    /// If it fails, as on a full disk, the pairs stay until the next attempt: a lease may end late.
    pub(super) fn expire(&self) {
        let due = || lock(&self.leases).due(self.clock.now());
        if due().is_empty() {
            return;
        }
        let mut writer = lock(&self.writer);
        for lease in due() {
            if self.end(&mut writer, lease).is_err() {
                return;
            }
        }
    }

    fn end(&self, writer: &mut Connection, lease: LeaseId) -> Result<()> {
        let what = format!("cannot end lease {lease}");
        self.write_or_fail(writer, &what, |connection, head| apply::end_lease(connection, head, lease))?;
        lock(&self.leases).end(lease);
        Ok(())
    }

    /// How long until the next lease ends.
    pub(super) fn until_next_end(&self) -> Option<Duration> {
        let left = lock(&self.leases).next_end()?.saturating_sub(self.clock.now());
        Some(if left.is_zero() { AGAIN } else { left })
    }
}
