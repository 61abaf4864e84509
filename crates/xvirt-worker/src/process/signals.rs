//! Signals. A VM must not end because somebody stops its manager, so signals that ask a process to end are only logged;
//! fatal ones are recorded, unless the record says already why the worker ends.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::thread;

use crate::{Cause, ExitRecord};

/// What ends a process that does not expect it.
const IGNORED: [libc::c_int; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1];
/// Faults, after which the process cannot go on.
const FATAL: [libc::c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS];
const NUMBERS: usize = 65;
/// What shells add to the number of a signal for the exit status of a process that died of it.
const DIED: libc::c_int = 128;

/// The file of the exit record, and a finished record for each fatal signal: a handler can neither allocate nor lock.
static RECORD: AtomicI32 = AtomicI32::new(-1);
static TEXTS: [AtomicPtr<Vec<u8>>; NUMBERS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; NUMBERS];

/// Blocks the signals that are only logged, for this thread and all that it starts.
pub(super) fn block() {
    // SAFETY: the set is a local variable, which the calls fill; only the mask of this thread changes.
    unsafe {
        let mut set = std::mem::zeroed();
        fill(&mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Starts the thread that logs them.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn log() -> io::Result<()> {
    let wait = || {
        // SAFETY: as in `block`.
        let mut set = unsafe { std::mem::zeroed() };
        fill(&mut set);
        loop {
            let mut number = 0;
            // SAFETY: the set and the number are local variables.
            if unsafe { libc::sigwait(&raw const set, &raw mut number) } != 0 {
                return;
            }
            tracing::warn!(number, "a signal to end was ignored: the VM ends by a request, or with SIGKILL");
        }
    };
    thread::Builder::new().name("signals".to_owned()).stack_size(64 << 10).spawn(wait).map(drop)
}

/// Records fatal signals in the exit record before they end the process.
///
/// # Errors
/// A handler cannot be installed.
pub(super) fn record(file: &File, vm: Option<&str>) -> io::Result<()> {
    RECORD.store(file.as_raw_fd(), Ordering::Release);
    for number in FATAL {
        let record = ExitRecord { vm: vm.map(str::to_owned), cause: Cause::Signal { number }, time: 0 };
        let text = Box::new(serde_json::to_vec(&record)?);
        if let Some(place) = TEXTS.get(number as usize) {
            // An earlier one stays: a handler may be using it. There are two for each signal at most.
            place.store(Box::into_raw(text), Ordering::Release);
        }
        // SAFETY: all zeroes is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = died as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // Threads have stacks for handlers, which the overflow of another needs.
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: the handler only makes system calls that are safe in one.
        if unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn died(number: libc::c_int) {
    let file = RECORD.load(Ordering::Acquire);
    let text = TEXTS.get(number as usize).map_or(std::ptr::null_mut(), |place| place.load(Ordering::Acquire));
    // SAFETY: the pointer is null or of a record that is never freed; the calls are safe in a handler.
    unsafe {
        // Why it ends may have been said: by a panic, of which the abort follows.
        if let Some(text) = text.as_ref().filter(|_| is_empty(file)) {
            // A device's thread may write, but not anywhere. The file is still at its beginning then.
            if libc::pwrite(file, text.as_ptr().cast(), text.len(), 0) < 0 {
                libc::write(file, text.as_ptr().cast(), text.len());
            }
            libc::ftruncate(file, text.len() as libc::off_t);
            libc::fsync(file);
        }
        // The first process of a namespace does not die of a signal that it sends to itself.
        libc::_exit(DIED + number);
    }
}

/// Whether the exit record is still empty. Safe in a handler.
fn is_empty(file: libc::c_int) -> bool {
    // SAFETY: all zeroes is a valid stat, and the kernel fills it.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(file, &raw mut stat) != 0 || stat.st_size == 0
    }
}

fn fill(set: &mut libc::sigset_t) {
    // SAFETY: the set is valid memory, and the numbers are signals.
    unsafe {
        libc::sigemptyset(set);
        IGNORED.iter().for_each(|number| {
            libc::sigaddset(set, *number);
        });
    }
}
