//! The thread that accompanies a running VM: it acts on requests of the guest to its machine and on the watchdog, and
//! passes serial input to the guest.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{JoinHandle, current};

use tracing::Span;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::handle::Inner;
use crate::device::serial::Serial;
use crate::device::watchdog::Watchdog;
use crate::machine::{CrashReason, Machine, Signals};
use crate::thread::{self, Panicked};
use crate::{Error, Result};

const STACK_SIZE: usize = 512 << 10;

const STOP: u64 = 0;
const SIGNAL: u64 = 1;
const SERIAL: u64 = 2;
const WATCHDOG: u64 = 3;

/// A running supervisor. Its thread ends by itself when the guest powers off.
#[derive(Debug)]
pub(super) struct Supervisor {
    stop: Arc<EventFd>,
    handle: JoinHandle<()>,
}

/// The supervisor of a machine that has not run yet. Dropping it lets the thread end, without waiting for it, because the
/// caller may hold the VM's lock.
pub(super) struct IdleSupervisor(Option<Supervisor>);

impl IdleSupervisor {
    /// The supervisor, when the machine runs.
    pub(super) fn take(mut self) -> Option<Supervisor> {
        self.0.take()
    }
}

impl Drop for IdleSupervisor {
    fn drop(&mut self) {
        self.0.iter().for_each(Supervisor::stop);
    }
}

impl Supervisor {
    /// Starts the supervisor of run number `run` of `vm`, whose machine is `machine`.
    pub(super) fn spawn(vm: &Arc<Inner>, run: u64, machine: &Machine) -> Result<IdleSupervisor> {
        let failed = |e| Error::io("cannot start the supervisor thread", e).with_remedy("raise the process's limits");
        let stop = Arc::new(EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(failed)?);
        let (serial, signals) = (Arc::clone(machine.serial()), Arc::clone(machine.signals()));
        let watchdog = Arc::clone(machine.watchdog());
        let epoll = watch(&stop, &signals, &serial, &watchdog).map_err(failed)?;
        let watched = (Arc::clone(&stop), signals, watchdog);
        let watcher = Watcher { epoll, vm: Arc::clone(vm), run, serial, _watched: watched };
        let vm = Arc::clone(vm);
        let panicked = move |panic: Panicked| vm.supervisor_failed(run, panic.into());
        let handle = thread::spawn("vm-supervisor", STACK_SIZE, Span::current(), move || watcher.watch(), panicked)
            .map_err(failed)?;
        Ok(IdleSupervisor(Some(Self { stop, handle })))
    }

    /// The thread, which is about to end by itself.
    pub(super) fn into_thread(self) -> JoinHandle<()> {
        self.handle
    }

    fn stop(&self) {
        // Fails only when the counter is full, and then the event is readable already.
        let _ = self.stop.write(1);
    }

    /// Ends the thread and waits for it, unless called on that thread.
    pub(super) fn join(self) {
        self.stop();
        join(self.handle);
    }
}

/// Waits for a supervisor's thread to end, unless called on that thread. The caller must not hold the VM's lock: the
/// thread takes it if it panics, even at its very end.
pub(super) fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != current().id() {
        // Panics of the thread are caught on it, so there is no result to report.
        let _ = thread.join();
    }
}

fn watch(stop: &EventFd, signals: &Signals, serial: &Serial, watchdog: &Watchdog) -> io::Result<Epoll> {
    let epoll = Epoll::new()?;
    let [input, refill] = serial.input_events();
    for (event, token) in [(stop, STOP), (signals.event(), SIGNAL), (input, SERIAL), (refill, SERIAL)] {
        epoll.ctl(ControlOperation::Add, event.as_raw_fd(), EpollEvent::new(EventSet::IN, token))?;
    }
    epoll.ctl(ControlOperation::Add, watchdog.event(), EpollEvent::new(EventSet::IN, WATCHDOG))?;
    Ok(epoll)
}

struct Watcher {
    epoll: Epoll,
    vm: Arc<Inner>,
    run: u64,
    serial: Arc<Serial>,
    /// Keeps the descriptors open that epoll watches.
    _watched: (Arc<EventFd>, Arc<Signals>, Arc<Watchdog>),
}

impl Watcher {
    fn watch(self) {
        let mut ready = [EpollEvent::default(); 5];
        loop {
            let count = match self.epoll.wait(-1, &mut ready) {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let reason = CrashReason::Hardware(format!("the supervisor of the VM cannot wait: {e}"));
                    return self.vm.supervisor_failed(self.run, reason);
                }
            };
            for event in ready.iter().take(count) {
                let goes_on = match event.data() {
                    STOP => false,
                    SIGNAL => self.vm.serve_guest(self.run),
                    WATCHDOG => self.vm.watchdog_expired(self.run),
                    _ => {
                        self.serial.receive();
                        true
                    }
                };
                if !goes_on {
                    return;
                }
            }
        }
    }
}
