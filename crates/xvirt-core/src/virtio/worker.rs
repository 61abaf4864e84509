//! The thread that serves the queues of one device.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::Span;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::failure::Failures;
use super::interrupt::Interrupt;
use super::pause::{PauseControl, Wanted};
use super::queue::Position;
use super::{Handler, Queues, ServeError, Served};
use crate::kvm::ThreadTime;
use crate::pci::PciHost;
use crate::sandbox::Filter;
use crate::thread;
use crate::{Error, Result};

/// Enough for the deepest image format; the default of 2 MiB would be wasted in every device of every VM.
const STACK: usize = 512 << 10;

/// The `epoll` data of events that are not queues.
const WAKE: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;

/// A running worker thread. Dropping it waits for the requests in flight and ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// The events for which the successive workers of a device wait. They are created with the device: otherwise a driver
/// could not start it when the process has no descriptors left.
#[derive(Debug)]
pub(super) struct WorkerEvents {
    epoll: Epoll,
    /// Wakes the worker for its owner.
    wake: EventFd,
}

impl WorkerEvents {
    pub(super) fn new() -> Result<Self> {
        let failed = |e| Error::io("cannot create the events of a device's worker", e);
        let epoll = Epoll::new().map_err(failed)?;
        let wake = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(failed)?;
        let events = Self { epoll, wake };
        events.watch(events.wake.as_raw_fd(), WAKE)?;
        Ok(events)
    }

    fn watch(&self, fd: RawFd, data: u64) -> Result<()> {
        self.epoll
            .ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, data))
            .map_err(|e| Error::io("cannot watch a device's event", e))
    }

    fn forget(&self, fd: RawFd) {
        // Fails if it is not watched or was closed, which is the desired state.
        let _ = self.epoll.ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }
}

/// State that a worker and its owner share.
#[derive(Debug)]
pub(super) struct Control {
    pause: PauseControl<Vec<Option<Position>>>,
    events: Arc<WorkerEvents>,
}

impl Control {
    /// For a worker that starts paused or running.
    pub(super) fn new(paused: bool, events: Arc<WorkerEvents>) -> Self {
        Self { pause: PauseControl::new(paused), events }
    }

    /// The flag that the queues check.
    pub(super) fn stop_serving(&self) -> Arc<AtomicBool> {
        self.pause.stop_serving()
    }

    fn set(&self, wanted: Wanted) {
        self.pause.want(wanted);
        // Fails only if the counter is full, which wakes it as well.
        let _ = self.events.wake.write(1);
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
        let watched = Watched { events: Arc::clone(&control.events), fds: Vec::new(), input: None };
        let mut service = Service {
            control: control.clone(),
            stop_serving,
            handler,
            queues,
            interrupt,
            watched,
            failures: Arc::clone(&surroundings.failures),
            broken: false,
        };
        for (i, queue) in service.queues.0.iter().enumerate() {
            if let Some(queue) = queue {
                service.watched.add(queue.kick.as_raw_fd(), i as u64)?;
            }
        }
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
    watched: Watched,
    failures: Arc<Failures>,
    /// No queue is served any more, because the driver violated the protocol or the host lacks something.
    broken: bool,
}

/// The descriptors that a worker watches, apart from the owner's event. Dropping it removes them.
struct Watched {
    events: Arc<WorkerEvents>,
    fds: Vec<RawFd>,
    /// The backend's descriptor.
    input: Option<RawFd>,
}

impl Watched {
    fn add(&mut self, fd: RawFd, data: u64) -> Result<()> {
        self.events.watch(fd, data)?;
        self.fds.push(fd);
        Ok(())
    }

    /// Watches the backend's descriptor while the handler wants input.
    fn set_input(&mut self, wanted: Option<RawFd>) -> Result<()> {
        if wanted == self.input {
            return Ok(());
        }
        if let Some(old) = self.input.take() {
            self.events.forget(old);
        }
        if let Some(new) = wanted {
            self.events.watch(new, INPUT)?;
            self.input = Some(new);
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.fds.drain(..).chain(self.input.take()).for_each(|fd| self.events.forget(fd));
    }
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
            let all = (0..self.queues.0.len()).try_for_each(|i| self.serve(i as u64));
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
        let mut events = [EpollEvent::default(); 16];
        loop {
            self.watched.set_input(self.handler.input())?;
            let count = match self.watched.events.epoll.wait(self.poll_timeout(), &mut events) {
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("cannot wait for a device's events", error).into()),
            };
            for event in &events[..count] {
                match event.data() {
                    WAKE => {
                        // It may have been read already.
                        let _ = self.watched.events.wake.read();
                    }
                    INPUT => self.handler.receive(&mut self.queues)?,
                    queue => self.serve(queue)?,
                }
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

    /// The timeout for events in milliseconds: until the handler's deadline, or infinite.
    fn poll_timeout(&self) -> i32 {
        let Some(deadline) = self.handler.deadline() else { return -1 };
        // Rounded up, because an early wakeup would only wait again.
        let left = deadline.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
        i32::try_from(left).unwrap_or(i32::MAX)
    }

    fn serve(&mut self, queue: u64) -> Served {
        let Ok(index) = usize::try_from(queue) else { return Ok(()) };
        if let Some(queue) = self.queues.get(index) {
            // Empty if the queue is served without a notification.
            let _ = queue.kick.read();
            self.handler.queue(index, &mut self.queues)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
