//! The state shared by the device, the handles and the attachments of one console.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use vmm_sys_util::eventfd::EventFd;

use super::ring::ConsoleRing;
use super::saved::{ConsoleContents, OUTPUT_LIMIT};
use crate::process::Process;
use crate::sync::{self, lock};
use crate::wait::{Ended, Wait, cancelled};
use crate::{Error, ErrorKind, Result};

/// How much input may wait for the guest: more than a pasted page needs.
pub(super) const INPUT_LIMIT: usize = 64 << 10;

/// How long a thread may run before another on its processor gets its turn. The scheduler often wakes a reader on the
/// processor of the guest's thread, where it would wait that long for the first output after a silence. So the guest's
/// thread lets it run then, but not more often, because a serial port writes single bytes.
const TIME_SLICE: Duration = Duration::from_millis(4);

pub(super) struct Shared {
    process: Process,
    state: Mutex<State>,
    output_ready: Condvar,
    input_room: Condvar,
    attachment_read: Condvar,
    /// Tells the device that input waits.
    pub(super) input_event: Arc<EventFd>,
}

pub(super) struct State {
    pub(super) ring: ConsoleRing,
    input: VecDeque<u8>,
    pub(super) closed: bool,
    /// Whether the VM is halted, so that input has no receiver.
    off: bool,
    /// Counts power-ons, resets and power-offs, so that no guest gets input that was meant for another.
    pub(super) boot: u64,
    /// Those of readers and attachments, which follow the output.
    watchers: Vec<Weak<Watcher>>,
    /// Those of writers, which only wait for room.
    room_watchers: Vec<Weak<Watcher>>,
    attachments: Vec<Attached>,
    // Notifying a condition variable is a system call even if no thread waits, and a serial port writes single bytes.
    /// Whether a reader has begun to wait since readers were notified last.
    readers_waiting: bool,
    /// When a guest's thread last let a reader run.
    yielded: Option<Instant>,
    writers_waiting: usize,
}

/// An attachment, whose thread reads the input of its peers.
#[derive(Debug)]
struct Attached {
    watcher: Arc<Watcher>,
    /// The value of `boot` up to which it has read all earlier input.
    read: u64,
}

/// An event that follows a console: readable when there is news. Changed only under the state's lock.
#[derive(Debug)]
pub(super) struct Watcher {
    event: OwnedFd,
    raised: AtomicBool,
    wants_room: AtomicBool,
}

impl Watcher {
    fn new() -> Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let event = event.map_err(|errno| no_event(errno.into()))?;
        Ok(Arc::new(Self { event, raised: false.into(), wants_room: false.into() }))
    }

    pub(super) fn raise(&self) {
        if !self.raised.swap(true, Ordering::Relaxed) {
            // Cannot fail: the counter is 0 and the descriptor is valid.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    pub(super) fn clear(&self) {
        if self.raised.swap(false, Ordering::Relaxed) {
            let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(capacity: usize) -> Result<Self> {
        let input_event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map(Arc::new).map_err(no_event)?;
        let state = State {
            ring: ConsoleRing::new(capacity),
            input: VecDeque::new(),
            closed: false,
            off: false,
            boot: 0,
            watchers: Vec::new(),
            room_watchers: Vec::new(),
            attachments: Vec::new(),
            readers_waiting: false,
            yielded: None,
            writers_waiting: 0,
        };
        Ok(Self {
            process: Process::current(),
            state: Mutex::new(state),
            output_ready: Condvar::new(),
            input_room: Condvar::new(),
            attachment_read: Condvar::new(),
            input_event,
        })
    }

    /// # Errors
    /// This process is a child of the one that made it, where the lock may never be released.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, State>> {
        self.process.require("a console")?;
        Ok(lock(&self.state))
    }

    /// A new event, not raised yet, which is raised by all output and by closing the console.
    pub(super) fn watch(&self) -> Result<Arc<Watcher>> {
        let watcher = Watcher::new()?;
        self.lock()?.watchers.push(Arc::downgrade(&watcher));
        Ok(watcher)
    }

    /// A new event for a writer, not raised yet.
    pub(super) fn watch_room(&self) -> Result<Arc<Watcher>> {
        let watcher = Watcher::new()?;
        let mut state = self.lock()?;
        state.room_watchers.retain(|other| other.strong_count() > 0);
        state.room_watchers.push(Arc::downgrade(&watcher));
        Ok(watcher)
    }

    /// Adds an attachment that follows the console through `watcher` and has no input to read yet.
    pub(super) fn attach(&self, watcher: &Arc<Watcher>) -> Result<u64> {
        let mut state = self.lock()?;
        let read = state.boot;
        state.attachments.push(Attached { watcher: Arc::clone(watcher), read });
        Ok(read)
    }

    /// Records that the attachment with `watcher` has read all input from before `boot`.
    pub(super) fn has_read(&self, watcher: &Arc<Watcher>, boot: u64) {
        let Ok(mut state) = self.lock() else { return };
        if let Some(attached) = state.attachments.iter_mut().find(|attached| Arc::ptr_eq(&attached.watcher, watcher)) {
            attached.read = boot;
            self.attachment_read.notify_all();
        }
    }

    /// Removes the attachment with `watcher`.
    pub(super) fn detach(&self, watcher: &Arc<Watcher>) {
        let Ok(mut state) = self.lock() else { return };
        state.attachments.retain(|attached| !Arc::ptr_eq(&attached.watcher, watcher));
        self.attachment_read.notify_all();
    }

    /// Accepts input for a new guest from now on. That guest must get no earlier input, not even input that attachments
    /// have not read yet, so this waits until they have.
    pub(super) fn power_on(&self) {
        let Ok(mut state) = self.lock() else { return };
        self.begin(&mut state, true);
        let boot = state.boot;
        state.attachments.iter().for_each(|attached| attached.watcher.raise());
        while state.attachments.iter().any(|attached| attached.read < boot) {
            state = sync::wait(&self.attachment_read, state);
        }
        state.off = false;
    }

    /// The newest output, and the input that waits.
    pub(super) fn contents(&self) -> ConsoleContents {
        let Ok(state) = self.lock() else { return ConsoleContents::default() };
        let output = state.ring.newest(OUTPUT_LIMIT);
        let start = state.ring.end() - output.len() as u64;
        ConsoleContents { start, output, input: state.input.iter().copied().collect() }
    }

    /// Goes on from `contents`, and accepts input for the guest that they are of. Nothing was output before.
    pub(super) fn go_on_from(&self, contents: ConsoleContents) {
        let Ok(mut state) = self.lock() else { return };
        let ConsoleContents { start, output, input } = contents;
        state.ring = ConsoleRing::after(start, output, state.ring.limit());
        state.input = input.into();
        state.off = false;
        // Fails only when the counter is full, and then the event is raised already.
        let _ = self.input_event.write(1);
        self.announce(&mut state);
    }

    /// Input from now on is for the guest after the reset.
    pub(super) fn reset(&self) {
        let Ok(mut state) = self.lock() else { return };
        let off = state.off;
        self.begin(&mut state, off);
    }

    /// Refuses input from now on, because there is no guest.
    pub(super) fn power_off(&self) {
        let Ok(mut state) = self.lock() else { return };
        self.begin(&mut state, true);
    }

    /// Drops the input that waits for the guest, and makes waiting writers fail.
    fn begin(&self, state: &mut State, off: bool) {
        state.boot += 1;
        state.off = off;
        state.input.clear();
        self.tell_room(state);
    }

    pub(super) fn output(&self, bytes: &[u8]) {
        let Ok(mut state) = self.lock() else { return };
        if state.closed || bytes.is_empty() {
            return;
        }
        state.ring.push(bytes);
        if !self.announce(&mut state) || state.yielded.is_some_and(|at| at.elapsed() < TIME_SLICE) {
            return;
        }
        state.yielded = Some(Instant::now());
        drop(state);
        thread::yield_now();
    }

    /// Closes the console: readers get the remaining output and then end of file, writers are refused.
    pub(super) fn close(&self) {
        let Ok(mut state) = self.lock() else { return };
        state.closed = true;
        state.input = VecDeque::new();
        self.announce(&mut state);
        self.tell_room(&state);
    }

    /// Tells readers of news; whether one waited for it.
    fn announce(&self, state: &mut State) -> bool {
        state.watchers.retain(|watcher| watcher.upgrade().inspect(|watcher| watcher.raise()).is_some());
        let waiting = std::mem::take(&mut state.readers_waiting);
        if waiting {
            self.output_ready.notify_all();
        }
        waiting
    }

    /// The state once there is output after `position` or the console is closed; `None` at the deadline.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), or the caller has cancelled the wait.
    pub(super) fn wait_output(&self, position: u64, wait: Wait) -> Result<Option<MutexGuard<'_, State>>> {
        let mut state = self.lock()?;
        while state.ring.end() <= position && !state.closed {
            state.readers_waiting = true;
            let (next, waited) = wait.changed(&self.output_ready, &self.state, state);
            state = next;
            match waited {
                Ok(()) => {}
                Err(Ended::TooLate) => return Ok(None),
                Err(Ended::Cancelled) => return Err(cancelled("console output")),
            }
        }
        Ok(Some(state))
    }

    /// The current value of `boot`, which identifies the guest that input is for.
    pub(super) fn boot(&self) -> Result<u64> {
        let state = self.lock()?;
        state.accept(state.boot)?;
        Ok(state.boot)
    }

    /// Queues as much of `bytes` as there is room for. If not all fits, `watcher` is raised once there is room.
    pub(super) fn try_input(&self, bytes: &[u8], boot: u64, watcher: Option<&Watcher>) -> Result<usize> {
        let mut state = self.lock()?;
        let accepted = self.queue(&mut state, bytes, boot)?;
        if accepted < bytes.len()
            && let Some(watcher) = watcher
        {
            watcher.wants_room.store(true, Ordering::Relaxed);
        }
        Ok(accepted)
    }

    /// Queues as much of `bytes` as there is room for, for the guest that runs now. Unless that is all, `watcher` is
    /// raised once there is room; until then it is not.
    pub(super) fn try_input_and_watch(&self, bytes: &[u8], watcher: &Watcher) -> Result<usize> {
        let mut state = self.lock()?;
        watcher.clear();
        let boot = state.boot;
        let accepted = self.queue(&mut state, bytes, boot)?;
        watcher.wants_room.store(accepted < bytes.len(), Ordering::Relaxed);
        Ok(accepted)
    }

    /// Queues at least one of `bytes`, unless the wait for room ends before.
    pub(super) fn input(&self, bytes: &[u8], boot: u64, wait: Wait) -> Result<std::result::Result<usize, Ended>> {
        let mut state = self.lock()?;
        loop {
            let accepted = self.queue(&mut state, bytes, boot)?;
            if accepted > 0 || bytes.is_empty() {
                return Ok(Ok(accepted));
            }
            state.writers_waiting += 1;
            let (next, waited) = wait.changed(&self.input_room, &self.state, state);
            state = next;
            state.writers_waiting -= 1;
            if let Err(ended) = waited {
                return Ok(Err(ended));
            }
        }
    }

    fn queue(&self, state: &mut State, bytes: &[u8], boot: u64) -> Result<usize> {
        state.accept(boot)?;
        let accepted = bytes.len().min(INPUT_LIMIT.saturating_sub(state.input.len()));
        if accepted > 0 {
            state.input.extend(&bytes[..accepted]);
            // Fails only when the counter is full, and then the event is raised already.
            let _ = self.input_event.write(1);
        }
        Ok(accepted)
    }

    pub(super) fn take_input(&self, buf: &mut [u8]) -> usize {
        let Ok(mut state) = self.lock() else { return 0 };
        let n = buf.len().min(state.input.len());
        for (to, from) in buf.iter_mut().zip(state.input.drain(..n)) {
            *to = from;
        }
        if n > 0 {
            self.tell_room(&state);
        }
        n
    }

    /// Wakes writers that wait for room, if there is some.
    fn tell_room(&self, state: &State) {
        if state.writers_waiting > 0 {
            self.input_room.notify_all();
        }
        let watchers = state.watchers.iter().chain(&state.room_watchers);
        for watcher in watchers.filter_map(Weak::upgrade) {
            if watcher.wants_room.swap(false, Ordering::Relaxed) {
                watcher.raise();
            }
        }
    }
}

impl State {
    /// Checks that there is a guest to receive input, and that it is still that of `boot`.
    fn accept(&self, boot: u64) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Gone, "the console is closed: its VM is gone"));
        }
        if self.off {
            return Err(Error::new(ErrorKind::InvalidState, "cannot write to the console: its VM is halted")
                .with_remedy("start the VM first"));
        }
        if self.boot != boot {
            let what = "the VM was halted or reset while console input was being sent";
            return Err(Error::new(ErrorKind::InvalidState, what)
                .with_remedy("check the console's output, and send the input again"));
        }
        Ok(())
    }
}

fn no_event(source: std::io::Error) -> Error {
    Error::io("cannot create an event for the console", source)
}
