//! The threads that check chunks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::{Buf, Bytes};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Defect, DefectKind, DiskSink, Severity};
use crate::chunk::{Checksum, Place, Sum};
use crate::error::corrupt;
use crate::parallel::threads;
use crate::thread::lock;
use crate::thread::spawn_scoped;
use crate::zeroes::is_zero;
use crate::{Error, Result};

/// The most bytes of chunks that are being checked or waiting, on any number of CPUs: several of the largest chunks.
const MAX_IN_FLIGHT: u64 = 64 << 20;

/// A chunk to check.
pub(super) struct Job {
    pub(super) member: String,
    pub(super) place: Place,
    pub(super) pieces: Vec<Bytes>,
    pub(super) checksum: Option<(Checksum, String)>,
}

/// Threads that check chunks and pass them to the sink.
pub(super) struct Checkers<'scope, E> {
    jobs: Sender<(Job, Held)>,
    in_flight: Arc<InFlight>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    failure: Arc<Failure<E>>,
}

/// The first failure, after which nothing more is checked.
struct Failure<E> {
    happened: AtomicBool,
    error: Mutex<Option<E>>,
}

impl<'scope, E: From<Error> + Send + 'scope> Checkers<'scope, E> {
    pub(super) fn spawn(scope: &'scope Scope<'scope, '_>, sink: &'scope dyn DiskSink<Error = E>) -> Self {
        let count = threads();
        let (jobs, receiver) = bounded(count);
        let failure = Arc::new(Failure { happened: AtomicBool::new(false), error: Mutex::new(None) });
        let spawn = |_| {
            let (receiver, failure) = (receiver.clone(), Arc::clone(&failure));
            spawn_scoped(scope, move || work(&receiver, sink, &failure))
        };
        let threads = (0..count).map(spawn).collect();
        Self { jobs, in_flight: Arc::default(), threads, failure }
    }

    /// Submits a chunk; `false` if a failure makes more chunks pointless.
    pub(super) fn check(&self, job: Job) -> bool {
        let held = self.in_flight.hold(job.pieces.iter().map(|piece| piece.len() as u64).sum());
        self.jobs.send((job, held)).is_ok() && !self.failed()
    }

    pub(super) fn failed(&self) -> bool {
        self.failure.happened.load(Ordering::Acquire)
    }

    /// Waits for all submitted chunks.
    pub(super) fn finish(self) -> Result<(), E> {
        drop(self.jobs);
        for thread in self.threads {
            // The scope propagates its panic, if any.
            let _ = thread.join();
        }
        lock(&self.failure.error).take().map_or(Ok(()), Err)
    }
}

/// The number of bytes of chunks in flight.
#[derive(Default)]
struct InFlight {
    bytes: Mutex<u64>,
    fewer: Condvar,
}

/// The bytes of a chunk in flight, until it is dropped.
struct Held {
    bytes: u64,
    all: Arc<InFlight>,
}

impl InFlight {
    /// Waits until `bytes` more may be in flight, or nothing else is.
    fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        let full = |held: &mut u64| *held > 0 && *held + bytes > MAX_IN_FLIGHT;
        *self.fewer.wait_while(lock(&self.bytes), full).unwrap_or_else(PoisonError::into_inner) += bytes;
        Held { bytes, all: Arc::clone(self) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.all.bytes) -= self.bytes;
        self.all.fewer.notify_all();
    }
}

fn work<E: From<Error> + Send>(jobs: &Receiver<(Job, Held)>, sink: &dyn DiskSink<Error = E>, failure: &Failure<E>) {
    for (job, _held) in jobs {
        if failure.happened.load(Ordering::Acquire) {
            continue;
        }
        if let Err(error) = check(job, sink) {
            lock(&failure.error).get_or_insert(error);
            failure.happened.store(true, Ordering::Release);
        }
    }
}

fn check<E: From<Error> + Send>(mut job: Job, sink: &dyn DiskSink<Error = E>) -> Result<(), E> {
    let defect = |severity, kind, why: String| {
        let error = corrupt(&job.member, why);
        let range = job.place.offset..job.place.offset + job.place.length;
        sink.defect(Defect { severity, disk: Some(job.place.disk), range: Some(range), kind, error })
    };
    match &job.checksum {
        None => defect(Severity::Unchecked, DefectKind::NoChecksum, "its checksum is missing".to_owned())?,
        Some((kind, claimed)) => {
            let mut sum = Sum::new(*kind);
            job.pieces.iter().for_each(|piece| sum.update(piece));
            let found = sum.finish();
            if *claimed != found && claimed.trim().eq_ignore_ascii_case(&found) {
                defect(
                    Severity::Harmless,
                    DefectKind::ChecksumForm,
                    format!("XenServer would reject its checksum '{claimed}'"),
                )?;
            } else if *claimed != found {
                let why = format!("its {kind} checksum is {found}, not '{}'", claimed.trim());
                return defect(Severity::Damage, DefectKind::Checksum, why);
            }
        }
    }
    let beyond = cut(&mut job.pieces, job.place.length);
    if !beyond.iter().all(|piece| is_zero(piece)) {
        defect(Severity::Damage, DefectKind::Beyond, "it has non-zero data beyond the end of its disk".to_owned())?;
    }
    let pieces: Vec<&[u8]> = job.pieces.iter().map(AsRef::as_ref).collect();
    if pieces.is_empty() { Ok(()) } else { sink.write(job.place.disk, job.place.offset, &pieces) }
}

/// Truncates the pieces to `length` bytes, and returns the rest.
fn cut(pieces: &mut Vec<Bytes>, length: u64) -> Vec<Bytes> {
    let mut left = length;
    let mut rest = Vec::new();
    pieces.retain_mut(|piece| {
        let keep = left.min(piece.remaining() as u64);
        left -= keep;
        let beyond = piece.split_off(keep as usize);
        if !beyond.is_empty() {
            rest.push(beyond);
        }
        !piece.is_empty()
    });
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_in_flight_are_bounded_on_however_many_processors() {
        let (in_flight, held, highest) = (Arc::<InFlight>::default(), Mutex::new(0), Mutex::new(0));
        std::thread::scope(|scope| {
            for thread in 0..32 {
                let (in_flight, held, highest) = (&in_flight, &held, &highest);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = ((thread * 7 + round * 3) % 9) << 20;
                        let _held = in_flight.hold(bytes);
                        let now = {
                            let mut held = lock(held);
                            *held += bytes;
                            *held
                        };
                        let mut highest = lock(highest);
                        *highest = now.max(*highest);
                        drop(highest);
                        *lock(held) -= bytes;
                    }
                });
            }
        });
        assert!(*lock(&highest) <= MAX_IN_FLIGHT);
        // A chunk above the limit is checked alone.
        drop(in_flight.hold(2 * MAX_IN_FLIGHT));
        assert_eq!(*lock(&in_flight.bytes), 0);
    }
}
