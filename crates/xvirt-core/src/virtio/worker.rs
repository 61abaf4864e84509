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

/// Room for the deepest image format, not for a default 2 MiB in every device of every VM.
const STACK: usize = 512 << 10;

/// `epoll` data of what is not a queue.
const WAKE: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;

/// A running worker thread. Dropping it waits for the request in flight and ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// What the workers of a device, one after the other, wait for events with. Made with the device: a driver that comes
/// when the process has no descriptors left would otherwise come in vain.
#[derive(Debug)]
pub(super) struct WorkerEvents {
    epoll: Epoll,
    /// From the owner.
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
        // Fails if it is not watched or was closed, which is what was to be achieved.
        let _ = self.epoll.ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }
}

/// What a worker and its owner share.
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

    /// The flag that the queues look at.
    pub(super) fn stop_serving(&self) -> Arc<AtomicBool> {
        self.pause.stop_serving()
    }

    fn set(&self, wanted: Wanted) {
        self.pause.want(wanted);
        // Only fails when the counter is full, which wakes as well.
        let _ = self.events.wake.write(1);
    }
}

/// What a worker's thread is in.
pub(super) struct Surroundings {
    pub(super) host: Arc<dyn PciHost>,
    /// The filter of its system calls, if it gets one.
    pub(super) filter: Option<Filter>,
    /// Adds up what it takes.
    pub(super) time: Arc<ThreadTime>,
    /// Hears what is wanting on the host.
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
        // Made before the thread, which may panic before it does anything.
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

    /// Returns when no request is in flight; none is taken until [`resume`](Self::resume).
    pub(super) fn pause(&self) {
        self.control.set(Wanted::Pause);
        self.control.pause.wait_paused();
    }

    /// Goes on.
    pub(super) fn resume(&self) {
        self.control.set(Wanted::Run);
    }

    /// Where the worker is in its queues; `None` unless it is paused.
    pub(super) fn positions(&self) -> Option<Vec<Option<Position>>> {
        self.control.pause.position()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.control.set(Wanted::Stop);
        if let Some(thread) = self.thread.take() {
            // What panics on it is caught there.
            let _ = thread.join();
        }
    }
}

/// The worker's own side.
struct Service {
    control: Arc<Control>,
    /// Set while this thread is wanted elsewhere.
    stop_serving: Arc<AtomicBool>,
    handler: Box<dyn Handler>,
    queues: Queues,
    interrupt: Arc<Interrupt>,
    watched: Watched,
    failures: Arc<Failures>,
    /// Nothing is served any more, because the driver broke the rules or the host lacks something.
    broken: bool,
}

/// What one worker watches, apart from the owner's event; nothing any more once this is dropped.
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

    /// Watches the backend as long as the handler wants to know.
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

/// Lets nobody wait for a thread that has ended, however it ended. By then its handler is gone, and with it all that was
/// in flight.
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
            // Notifications may have come before this thread, or been lost with the machine this device was saved on.
            let all = (0..self.queues.0.len()).try_for_each(|i| self.serve(i as u64));
            let served = all.and_then(|()| self.serve_events());
            let settled = self.handler.settle(&mut self.queues);
            if let Err(reason) = served.and(settled) {
                self.give_up(&reason);
            }
        }
        self.handler.end();
    }

    /// Waits as long as it is told to pause, or has nothing left to do; `false` when told to stop.
    fn obey(&self) -> bool {
        let positions = || self.queues.0.iter().map(|q| q.as_ref().map(|q| q.position())).collect();
        self.control.pause.obey(self.broken, positions)
    }

    /// Serves nothing until the driver resets the device.
    fn give_up(&mut self, why: &ServeError) {
        self.broken = true;
        self.interrupt.needs_reset(why);
        if let ServeError::Host(error) = why {
            self.failures.tell(error);
        }
    }

    /// Serves what comes, until it is wanted elsewhere.
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
                        // Empty when somebody was faster, which is as good.
                        let _ = self.watched.events.wake.read();
                    }
                    INPUT => self.handler.receive(&mut self.queues)?,
                    queue => self.serve(queue)?,
                }
            }
            // Only now: a thread that is there may still find that it cannot serve the device.
            self.failures.forget();
            if self.stop_serving.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.handler.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                self.handler.due(&mut self.queues)?;
            }
        }
    }

    /// How long to wait for events, in milliseconds: up to the handler's deadline, or for ever.
    fn poll_timeout(&self) -> i32 {
        let Some(deadline) = self.handler.deadline() else { return -1 };
        // Rounded up, because a wait that ends too early would only begin again.
        let left = deadline.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
        i32::try_from(left).unwrap_or(i32::MAX)
    }

    fn serve(&mut self, queue: u64) -> Served {
        let Ok(index) = usize::try_from(queue) else { return Ok(()) };
        if let Some(queue) = self.queues.get(index) {
            // Empty when it is served without a notification.
            let _ = queue.kick.read();
            self.handler.queue(index, &mut self.queues)?;
        }
        Ok(())
    }
}
