//! Who may go on at once, and who waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::Limits;
use super::method::Kind;
use crate::operation::Failure;

/// The turns of verbs, and the memory for bodies and answers.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    queries: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    logins: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// A turn, or memory. Dropping it lets the next one go on.
pub(super) type Turn = OwnedSemaphorePermit;

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            queries: semaphore(limits.queries),
            changes: semaphore(limits.changes),
            waits: semaphore(limits.waits),
            logins: semaphore(limits.logins),
            bodies: semaphore(limits.bodies),
            answers: semaphore(limits.answers),
            limits,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for the turn of a verb.
    ///
    /// # Errors
    /// `TOO_MANY_PENDING_TASKS`: it did not come in time.
    pub(super) async fn verb(&self, kind: Kind) -> Result<Turn, Failure> {
        let turns = match kind {
            Kind::Query => &self.queries,
            Kind::Change => &self.changes,
            Kind::Wait => &self.waits,
        };
        self.turn(turns).await
    }

    /// Waits for the turn of a login.
    ///
    /// # Errors
    /// `TOO_MANY_PENDING_TASKS`: it did not come in time.
    pub(super) async fn login(&self) -> Result<Turn, Failure> {
        self.turn(&self.logins).await
    }

    async fn turn(&self, turns: &Arc<Semaphore>) -> Result<Turn, Failure> {
        match timeout(self.limits.turn, Arc::clone(turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(overloaded()),
        }
    }

    /// Waits for memory for so many more bytes of a body. `None` if there never is any.
    pub(super) async fn body(&self, bytes: usize) -> Option<Turn> {
        memory(&self.bodies, bytes, self.limits.bodies).await
    }

    /// Waits for memory for an answer of so many bytes. `None` if there never is any.
    pub(super) async fn answer(&self, bytes: usize) -> Option<Turn> {
        memory(&self.answers, bytes, self.limits.answers).await
    }
}

async fn memory(semaphore: &Arc<Semaphore>, bytes: usize, all: usize) -> Option<Turn> {
    let bytes = u32::try_from(bytes.min(all.max(1))).unwrap_or(u32::MAX);
    Arc::clone(semaphore).acquire_many_owned(bytes).await.ok()
}

/// The failure of a request for which there is no room.
pub(super) fn overloaded() -> Failure {
    Failure::new("TOO_MANY_PENDING_TASKS", ["try again when fewer requests are being answered"])
}
