//! The worker's process.
//!
//! - `begin`: inherits its descriptors, enters the sandbox and leaves its starter.
//! - `listen`: accepts connections from those who may talk to it; `connection` serves one; `verbs` are its requests.
//! - `build` builds the VM from descriptors, `hand_over` takes it over from another worker, or hands it over; `sources` keeps the names of what they are.
//! - `history`: the VM's events, for those who ask later.
//! - `end`: why the worker ends, and its exit record; `signals` and `log`.

mod begin;
mod build;
mod connection;
mod end;
mod hand_over;
mod history;
mod listen;
mod log;
mod signals;
mod sources;
mod verbs;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use begin::run;
use build::Guest;
use end::End;
use history::History;

use crate::protocol::MissingWall;
use crate::{Error, Result, Settings, kind};

/// Everything that the threads of a worker share.
#[derive(Debug)]
struct Worker {
    settings: Settings,
    missing_walls: Vec<MissingWall>,
    place: Mutex<Place>,
    history: Arc<History>,
    end: Arc<End>,
}

/// The place for the worker's VM.
#[derive(Debug)]
enum Place {
    /// No VM yet.
    Empty,
    /// A connection is building it.
    Taken,
    /// The VM.
    Built(Arc<Guest>),
    /// The worker is ending.
    Closed,
}

impl Worker {
    /// The VM.
    ///
    /// # Errors
    /// It has not been built.
    fn guest(&self) -> Result<Arc<Guest>> {
        match &*lock(&self.place) {
            Place::Built(guest) => Ok(Arc::clone(guest)),
            Place::Empty | Place::Taken => {
                Err(Error::new(kind::INVALID_STATE, "this worker has no VM yet").with_remedy("send a build first"))
            }
            Place::Closed => Err(Error::new(kind::GONE, "this worker is ending")),
        }
    }
}

/// Locks, also after a panic of another thread: all data is valid at all times.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The exit status of a worker that could not begin.
fn failed() -> ExitCode {
    ExitCode::FAILURE
}
