//! The thread that serves the queues of one device.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::Span;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::failure::Failures;
use super::interrupt::Interrupt;
use super::pause::{PauseControl, Wanted};
use super::queue::Position;
use super::{Handler, Queues, ServeError, Served, VirtQueue};
use crate::kvm::ThreadTime;
use crate::pci::PciHost;
use crate::sandbox::Filter;
use crate::thread;
use crate::{Error, Result};

/// Enough for the deepest image format; the default of 2 MiB would be wasted in every device of every VM.
const STACK: usize = 512 << 10;

/// A running worker thread. Dropping it waits for the requests in flight and ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the successive workers of a device: the driver notifies a queue, or the owner wants something. It is created
/// with the device: otherwise a driver could not start it when the process has no descriptors left. All queues share
/// it, because a worker sees in memory which of them have new buffers.
#[derive(Debug)]
pub(super) struct Wake {
    event: EventFd,
    /// The worker should serve all queues, with new buffers or without.
    all: AtomicBool,
}

impl Wake {
    pub(super) fn new() -> Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|e| Error::io("cannot create the event of a device's worker", e))?;
        Ok(Self { event, all: AtomicBool::new(false) })
    }

    /// The event that the driver's notifications raise.
    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Makes the worker look for new buffers.
    pub(super) fn raise(&self) {
        // Fails only if the counter is full; then the event is raised already.
        let _ = self.event.write(1);
    }

    /// Makes the worker serve all queues.
    pub(super) fn serve_all(&self) {
        self.all.store(true, Ordering::Release);
        self.raise();
    }

    /// Whether to serve all queues. Lowers the event.
    fn lower(&self) -> bool {
        // Fails if the event is not raised, which is the desired state.
        let _ = self.event.read();
        self.all.swap(false, Ordering::Acquire)
    }
}

/// State that a worker and its owner share.
#[derive(Debug)]
pub(super) struct Control {
    pause: PauseControl<Vec<Option<Position>>>,
    wake: Arc<Wake>,
}

impl Control {
    /// For a worker that starts paused or running.
    pub(super) fn new(paused: bool, wake: Arc<Wake>) -> Self {
        Self { pause: PauseControl::new(paused), wake }
    }

    /// The flag that the queues check.
    pub(super) fn stop_serving(&self) -> Arc<AtomicBool> {
        self.pause.stop_serving()
    }

    fn set(&self, wanted: Wanted) {
        self.pause.want(wanted);
        self.wake.raise();
    }
}

/// The environment of a worker thread.
pub(super) struct Surroundings {
    pub(super) host: Arc<dyn PciHost>,
    /// The seccomp filter of the thread, if it gets one.
    pub(super) filter: Option<Filter>,
    /// Counts the CPU time of the thread.
    pub(super) time: Arc<ThreadTime>,
    /// Receives failures of the host.
    pub(super) failures: Arc<Failures>,
}

impl Worker {
    /// Starts a thread that serves `queues` with `handler`, in the caller's span.
    pub(super) fn start(
        name: &str,
        control: Control,
        handler: Box<dyn Handler>,
        queues: Queues,
        interrupt: Arc<Interrupt>,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let control = Arc::new(control);
        let stop_serving = control.stop_serving();
        let service = Service {
            control: control.clone(),
            stop_serving,
            handler,
            queues,
            interrupt,
            failures: Arc::clone(&surroundings.failures),
            broken: false,
        };
        // Created before the thread, which may panic at once.
        let ending = Ending(Arc::clone(&control));
        let host = Arc::clone(&surroundings.host);
        let work = move || {
            let _ending = ending;
            let _at_work = surroundings.time.begin();
            surroundings.host.thread_begins();
            service.run(surroundings.filter);
        };
        let thread = thread::spawn(name, STACK, Span::current(), work, move |panic| host.thread_panicked(panic))
            .map_err(|e| Error::io(format!("cannot start the worker thread of {name}"), e))?;
        Ok(Self { control, thread: Some(thread) })
    }

    /// Returns when no request is in flight; the worker takes none until [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        self.control.set(Wanted::Pause);
        self.control.pause.wait_paused();
    }

    /// Continues after a pause.
    pub(super) fn resume(&self) {
        self.control.set(Wanted::Run);
    }

    /// The worker's positions in its queues; `None` unless it is paused.
    pub(super) fn positions(&self) -> Option<Vec<Option<Position>>> {
        self.control.pause.position()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.control.set(Wanted::Stop);
        if let Some(thread) = self.thread.take() {
            // The thread catches panics itself.
            let _ = thread.join();
        }
    }
}

/// The state of the worker thread.
struct Service {
    control: Arc<Control>,
    /// Set while this thread should stop serving.
    stop_serving: Arc<AtomicBool>,
    handler: Box<dyn Handler>,
    queues: Queues,
    interrupt: Arc<Interrupt>,
    failures: Arc<Failures>,
    /// No queue is served any more, because the driver violated the protocol or the host lacks something.
    broken: bool,
}

/// Marks the worker as ended on every exit path, so that no one waits for it. Its handler and the requests in flight
/// are gone by then.
struct Ending(Arc<Control>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.pause.end();
    }
}

impl Service {
    fn run(mut self, filter: Option<Filter>) {
        if let Some(Err(error)) = filter.map(|filter| filter.apply()) {
            self.give_up(&error.into());
        }
        while self.obey() {
            // Notifications may have arrived before this thread started, or been lost in a restore.
            let all = self.serve_queues(true);
            let served = all.and_then(|()| self.serve_events());
            let settled = self.handler.settle(&mut self.queues);
            if let Err(reason) = served.and(settled) {
                self.give_up(&reason);
            }
        }
        self.handler.end();
    }

    /// Waits while it should pause or has no work; `false` means stop.
    fn obey(&self) -> bool {
        let positions = || self.queues.0.iter().map(|q| q.as_ref().map(|q| q.position())).collect();
        self.control.pause.obey(self.broken, positions)
    }

    /// Stops serving until the driver resets the device.
    fn give_up(&mut self, why: &ServeError) {
        self.broken = true;
        self.interrupt.needs_reset(why);
        if let ServeError::Host(error) = why {
            self.failures.tell(error);
        }
    }

    /// Serves events until the owner wants something else.
    fn serve_events(&mut self) -> Served {
        loop {
            let ready = self.wait()?;
            if ready.queues {
                let all = self.control.wake.lower();
                self.serve_queues(all)?;
            }
            if ready.input {
                self.handler.receive(&mut self.queues)?;
            }
            // Not earlier: a new thread may still find that it cannot serve the device.
            self.failures.forget();
            if self.stop_serving.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.handler.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                self.handler.due(&mut self.queues)?;
            }
        }
    }

    /// Waits until the worker is woken, the handler has input, its deadline passes, or a queue is to be served again.
    fn wait(&self) -> Served<Ready> {
        let again = self.queues.0.iter().flatten().any(VirtQueue::is_renotified);
        let left = match again {
            true => Some(Duration::ZERO),
            false => self.handler.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now())),
        };
        // A deadline that is too far away for the kernel is none.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // SAFETY: `wake` is open as long as `self` is.
        let wake = unsafe { BorrowedFd::borrow_raw(self.control.wake.event.as_raw_fd()) };
        // SAFETY: the handler, which owns it, cannot close it during the call. If it is closed, the call says so.
        let input = self.handler.input().map(|input| unsafe { BorrowedFd::borrow_raw(input) });
        let mut polled = [wake, input.unwrap_or(wake)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let count = if input.is_some() { 2 } else { 1 };
        match poll(&mut polled[..count], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::io("cannot wait for a device's events", error.into()).into()),
        }
        let ready = |index: usize| index < count && !polled[index].revents().is_empty();
        if polled[count - 1].revents().contains(PollFlags::NVAL) {
            return Err(Error::io("cannot watch a device's event", Errno::BADF.into()).into());
        }
        Ok(Ready { queues: again || ready(0), input: ready(1) })
    }

    /// Serves the queues with new buffers and those that are to be served again, or all of them.
    fn serve_queues(&mut self, all: bool) -> Served {
        for index in 0..self.queues.0.len() {
            if let Some(queue) = self.queues.get(index)
                && (queue.take_notification() || all)
            {
                self.handler.queue(index, &mut self.queues)?;
            }
        }
        Ok(())
    }
}

/// What a worker waited for.
struct Ready {
    /// A queue may have work.
    queues: bool,
    /// The handler has input.
    input: bool,
}

#[cfg(test)]
mod tests;
