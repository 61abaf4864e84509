//! Divides long work between threads, with progress and cancelling.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::available_parallelism;

use crate::progress::{Progress, step};
use crate::thread::{caught, with_signals_blocked};
use crate::{Error, ErrorKind, Result};

/// More threads than this wait for storage, not for each other.
const MAX_THREADS: usize = 8;

/// The work that is divided.
pub(super) struct Work<'a> {
    /// How many parts there are.
    pub(super) parts: u64,
    /// How many bytes all parts together have, for progress.
    pub(super) bytes: u64,
    /// For errors: "saving the memory".
    pub(super) name: &'a str,
    pub(super) progress: &'a dyn Progress,
}

/// Calls `part` with the number of each part, on several threads that each have a `scratch` of their own. `part`
/// returns how many bytes it has done. After the first failure no new part begins.
///
/// # Errors
/// The first failure of a part, `Cancelled`, or that no thread can be started.
pub(super) fn divide<T>(
    work: &Work<'_>,
    scratch: impl Fn() -> T + Sync,
    part: impl Fn(u64, &mut T) -> Result<u64> + Sync,
) -> Result<()> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let threads = threads.min(usize::try_from(work.parts).unwrap_or(MAX_THREADS));
    let run = |sender: mpsc::Sender<Result<u64>>| {
        let mut scratch = scratch();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= work.parts {
                return;
            }
            // Only fails once nobody listens any more, and then it stops.
            let _ = sender.send(part(number, &mut scratch));
        }
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut started = Ok(());
        for _ in 0..threads {
            let (run, sender) = (&run, sender.clone());
            let thread = move || {
                if let Err(panic) = caught(|| run(sender.clone())) {
                    let _ = sender.send(Err(Error::new(ErrorKind::Io, panic.message)));
                }
            };
            let spawned = with_signals_blocked(|| std::thread::Builder::new().spawn_scoped(scope, thread));
            started = spawned.map(drop).map_err(|e| Error::io(format!("cannot start a thread for {}", work.name), e));
            if started.is_err() {
                break;
            }
        }
        drop(sender);
        let outcome = started.and_then(|()| collect(work, &receiver));
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Adds up what the parts have done.
fn collect(work: &Work<'_>, receiver: &mpsc::Receiver<Result<u64>>) -> Result<()> {
    let mut done = 0;
    step(work.progress, done, Some(work.bytes), work.name)?;
    for bytes in receiver {
        done += bytes?;
        step(work.progress, done, Some(work.bytes), work.name)?;
    }
    Ok(())
}
