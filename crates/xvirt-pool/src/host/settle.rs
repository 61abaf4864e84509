//! Decides which of two workers has a VM that one was asked to hand over to the other. They do that without the service,
//! which may have ended meanwhile: so what counts is what they say of themselves, and the records of their ends.

use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;
use xvirt_worker::protocol::Request;
use xvirt_worker::{Cause, kind};

use super::Inner;
use super::start::power_state;
use crate::model::VmPowerState;
use crate::operation::{Failure, codes};
use crate::worker::{End, LeftBeside, Place, Worker};

/// How long two workers are waited for at once, and how often they are looked at.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// What has come of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The VM is where it was, or there was no hand-over.
    Kept,
    /// The other worker has taken the VM over; its files are in the place of the old one's. It may have ended since.
    Moved,
}

/// What a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    /// A VM in memory.
    Guest,
    /// No VM yet.
    Nothing,
    /// A VM that has ended, with which it ends.
    Ended,
}

impl Inner {
    /// Waits until it is decided which worker has a VM, and leaves only the files of that one. What is left in
    /// [`Place::beside`] is removed by the caller, once the store has what this returns.
    ///
    /// # Errors
    /// It is not decided yet, or a worker does not answer. Nothing was changed.
    pub(crate) fn settle(&self, vm: Uuid) -> Result<Settled, Failure> {
        let place = self.places.of(vm);
        match place.left_beside()? {
            LeftBeside::Nothing => return Ok(Settled::Kept),
            LeftBeside::Moved => return Ok(Settled::Moved),
            LeftBeside::Worker => {}
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match Worker::find(vm, 0, place.beside())? {
                Some(new) => match has(&new)? {
                    Has::Guest => return moved(&place),
                    // If it has not been asked yet, it never will be: it ends. If it was, it refuses this.
                    Has::Nothing => drop(new.ask(&Request::Build(Box::default()), &[])),
                    Has::Ended => drop(new.wait(Some(LOOK))),
                },
                None => {
                    if let Some(settled) = without_new(vm, &place)? {
                        return Ok(settled);
                    }
                }
            }
            thread::sleep(LOOK);
        }
        Err(codes::internal(format!(
            "the VM {vm} is being handed over to another worker, and they have not decided yet"
        ))
        .with_remedy("wait for them: they give up by themselves"))
    }
}

/// Decides when there is no other worker any more; `None` if the old one has not either.
fn without_new(vm: Uuid, place: &Place) -> Result<Option<Settled>, Failure> {
    if let Some(old) = Worker::find(vm, 0, place.clone())? {
        // If that worker could not build the VM, its guest has not run there.
        let ran = !matches!(place.beside().end(), End::Recorded(Cause::BuildFailed { .. } | Cause::NotStarted { .. }));
        match old.ask(&Request::ResolveHandOver { moved: ran }, &[]) {
            Ok(_) => tracing::warn!(%vm, ran, "a hand-over was decided whose new worker was lost"),
            // There was nothing to decide, or the worker is too old to be asked.
            Err(error) if [kind::INVALID_STATE, kind::UNKNOWN_REQUEST].contains(&error.kind()) => {}
            Err(error) if error.kind() == kind::GONE => return Ok(None),
            Err(error) => return Err(codes::of_worker(&error)),
        }
        return Ok((has(&old)? == Has::Guest).then_some(Settled::Kept));
    }
    if place.end() == End::Recorded(Cause::Migrated) { moved(place).map(Some) } else { Ok(Some(Settled::Kept)) }
}

fn moved(place: &Place) -> Result<Settled, Failure> {
    place.move_beside()?;
    Ok(Settled::Moved)
}

fn has(worker: &Worker) -> Result<Has, Failure> {
    let described = worker.connect(Some(PATIENCE)).and_then(|(mut connection, _)| connection.describe());
    match described {
        Ok(description) => Ok(match power_state(&description) {
            None => Has::Nothing,
            Some(VmPowerState::Running | VmPowerState::Paused) => Has::Guest,
            Some(_) => Has::Ended,
        }),
        Err(error) if error.kind() == kind::GONE => Ok(Has::Ended),
        Err(error) => Err(codes::of_worker(&error)),
    }
}
