//! The vCPU threads: started parked, then run and parked together.
//!
//! A panic on a vCPU thread, in a device or in a log subscriber, crashes the guest but does not end the thread: like
//! after any other crash, the vCPU stops until the next order.

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use kvm_ioctls::VcpuExit;
use tracing::Span;

use super::exits::{ExitCounts, Exits};
use super::signal::{CrashReason, Signal, Signals};
use crate::bus::Bus;
use crate::kvm::{KickSignal, Kicker, ThreadTime, Vcpu};
use crate::sync::lock;
use crate::thread::{self, Panicked, caught};
use crate::{Error, ErrorKind, Result};

/// The loop around `KVM_RUN` needs little stack; the default of 8 MiB would only waste address space.
const STACK_SIZE: usize = 256 << 10;

/// How long to wait for vCPUs to park before checking that kicks reach them. A vCPU that is busy in a device may take
/// longer.
const KICK_AGAIN: Duration = Duration::from_secs(1);

/// An order to the vCPU threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Park,
    Run,
    Stop,
}

#[derive(Debug)]
struct Orders {
    order: Order,
    /// The number of the order; a vCPU that cannot continue waits for the next number.
    number: u64,
    /// The number of vCPUs that run guest code or handle its I/O.
    running: usize,
    /// No vCPU begins to run, whatever the order.
    held: bool,
}

/// State that all vCPU threads of a machine share.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    ports: Arc<Bus>,
    memory: Arc<Bus>,
    signals: Arc<Signals>,
    /// Why vCPUs must not run, if they must not.
    failure: Mutex<Option<CrashReason>>,
    /// There is such a reason, and all vCPUs were kicked. Changed only while that is locked.
    failed: AtomicBool,
}

/// The vCPUs of a machine and their threads. Dropping it stops and joins them.
#[derive(Debug)]
pub(crate) struct Vcpus {
    signal: KickSignal,
    vcpus: Vec<Arc<Mutex<Vcpu>>>,
    threads: Vec<VcpuThread>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct VcpuThread {
    /// The kernel's thread id (gettid(2)).
    number: u32,
    kicker: Kicker,
    exits: Arc<Exits>,
    time: Arc<ThreadTime>,
    handle: JoinHandle<()>,
}

impl Vcpus {
    /// Starts a parked thread for each vCPU.
    pub(crate) fn spawn(vcpus: Vec<Vcpu>, ports: Arc<Bus>, memory: Arc<Bus>, signals: Arc<Signals>) -> Result<Self> {
        let signal = KickSignal::claim()?;
        let orders = Mutex::new(Orders { order: Order::Park, number: 0, running: 0, held: false });
        let (changed, failure, failed) = Default::default();
        let shared = Arc::new(Shared { orders, changed, ports, memory, signals, failure, failed });
        let vcpus: Vec<_> = vcpus.into_iter().map(|v| Arc::new(Mutex::new(v))).collect();
        let mut group = Self { signal, vcpus, threads: Vec::new(), shared };
        for (id, vcpu) in group.vcpus.iter().enumerate() {
            // If a thread cannot be started, dropping the group stops the others.
            let thread = VcpuThread::spawn(id, vcpu, signal, &group.shared)?;
            group.threads.push(thread);
        }
        Ok(group)
    }

    /// The thread ids (gettid(2)) of the vCPU threads.
    pub(crate) fn threads(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|thread| thread.number)
    }

    /// Lets all vCPUs run guest code.
    pub(crate) fn run(&self) {
        drop(self.give(Order::Run));
    }

    /// Parks all vCPUs and returns once none of them runs guest code.
    ///
    /// # Errors
    /// The program blocks or handles the kick signal; then the vCPUs keep running.
    pub(crate) fn park(&self) -> Result<()> {
        let mut orders = self.give(Order::Park);
        let mut checked = self.signal.check();
        while orders.running > 0 {
            if let Err(error) = checked {
                drop(orders);
                self.run();
                return Err(error);
            }
            (orders, checked) = self.kick_and_wait(orders);
        }
        Ok(())
    }

    /// Stops all vCPUs, even if the program handles or blocks the kick signal: a kick then calls the program's handler,
    /// and a thread that blocks the signal stops at its next exit from the guest.
    pub(crate) fn stop(&self) {
        let mut orders = self.give(Order::Stop);
        let mut checked = self.signal.check();
        while orders.running > 0 {
            if let Err(error) = checked {
                report_kicks(&error);
            }
            (orders, checked) = self.kick_and_wait(orders);
        }
    }

    /// Stops the vCPUs soon, without waiting for that, until [`release`](Self::release). Orders keep their effect. If the
    /// program handles the kick signal, they stop at their next exit from the guest for another reason.
    pub(crate) fn hold(&self) {
        lock(&self.shared.orders).held = true;
        // Without a handler, the signal would kill the process.
        if self.signal.check().is_err() {
            return;
        }
        self.threads.iter().for_each(|thread| thread.kicker.kick());
    }

    /// Ends [`hold`](Self::hold).
    pub(crate) fn release(&self) {
        lock(&self.shared.orders).held = false;
        self.shared.changed.notify_all();
    }

    /// From now on, no vCPU executes an instruction of the guest, until [`recover`](Self::recover): one that runs or is
    /// told to run crashes for this reason. Does not wait for that: a vCPU that waits in the kernel gets no further when
    /// it comes back.
    pub(crate) fn fail(&self, reason: CrashReason) {
        // Without a handler, the signal would kill the process.
        let checked = self.signal.check();
        // Held to the end, so that a reset in between does not leave only one of the two.
        let mut failure = lock(&self.shared.failure);
        failure.get_or_insert(reason);
        self.threads.iter().for_each(|thread| thread.kicker.kick());
        // Afterwards: who sees this does not get back into the guest.
        self.shared.failed.store(true, Ordering::SeqCst);
        drop(failure);
        if let Err(error) = checked {
            report_kicks(&error);
        }
    }

    /// Ends [`fail`](Self::fail), after a reset of everything that depends on what was before. Returns whether there was
    /// a reason. The vCPUs must be parked.
    pub(crate) fn recover(&self) -> bool {
        let mut failure = lock(&self.shared.failure);
        self.shared.failed.store(false, Ordering::SeqCst);
        failure.take().is_some()
    }

    /// Why vCPUs must not run.
    pub(crate) fn failure(&self) -> Option<CrashReason> {
        lock(&self.shared.failure).clone()
    }

    /// Whether accesses of vCPUs to devices have no effect.
    #[cfg(feature = "demo")]
    #[cfg(test)]
    pub(super) fn is_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Calls `change` with each vCPU, which must be parked.
    pub(crate) fn each(&self, mut change: impl FnMut(&Vcpu) -> Result<()>) -> Result<()> {
        self.vcpus.iter().try_for_each(|vcpu| change(&lock(vcpu)))
    }

    /// The exit counts of each vCPU, and the host CPU time of its thread.
    pub(crate) fn statistics(&self) -> impl Iterator<Item = (ExitCounts, Duration)> {
        self.threads.iter().map(|thread| (thread.exits.read(), thread.time.total()))
    }

    fn give(&self, order: Order) -> MutexGuard<'_, Orders> {
        let mut orders = lock(&self.shared.orders);
        orders.order = order;
        orders.number += 1;
        self.shared.changed.notify_all();
        orders
    }

    /// Kicks the vCPUs and waits until none runs. After a timeout, checks whether the program keeps kicks from reaching
    /// them.
    fn kick_and_wait<'a>(&'a self, orders: MutexGuard<'a, Orders>) -> (MutexGuard<'a, Orders>, Result<()>) {
        self.threads.iter().for_each(|thread| thread.kicker.kick());
        let running = |orders: &mut Orders| orders.running > 0;
        let waited = self.shared.changed.wait_timeout_while(orders, KICK_AGAIN, running);
        let (orders, limit) = waited.unwrap_or_else(PoisonError::into_inner);
        (orders, if limit.timed_out() { self.check_kicks() } else { Ok(()) })
    }

    /// Checks that kicks can interrupt each vCPU.
    fn check_kicks(&self) -> Result<()> {
        self.signal.check()?;
        self.threads().try_for_each(|thread| self.signal.check_reaches(thread))
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // The thread catches panics itself.
            let _ = thread.handle.join();
        }
    }
}

impl VcpuThread {
    fn spawn(id: usize, vcpu: &Arc<Mutex<Vcpu>>, signal: KickSignal, shared: &Arc<Shared>) -> Result<Self> {
        let (exits, time) = (Arc::<Exits>::default(), Arc::<ThreadTime>::default());
        let (sender, receiver) = mpsc::channel();
        let work = {
            let (vcpu, shared, sender) = (Arc::clone(vcpu), Arc::clone(shared), sender.clone());
            let (exits, time) = (Arc::clone(&exits), Arc::clone(&time));
            move || {
                let _at_work = time.begin();
                // Fails only if the spawning thread is gone.
                let _ = sender.send(Ok(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
                drop(sender);
                shared.obey(&vcpu, &exits, signal);
            }
        };
        let signals = Arc::clone(&shared.signals);
        let panicked = move |panic: Panicked| {
            // The first reaches the spawning thread, the second the owner of the machine.
            let _ = sender.send(Err(panic.clone()));
            signals.send(Signal::Crashed(panic.into()));
        };
        let name = format!("vcpu{id}");
        let handle = thread::spawn(&name, STACK_SIZE, Span::current(), work, panicked).map_err(|e| {
            Error::io(format!("cannot start the thread of vCPU {id}"), e)
                .with_remedy("raise the limit of processes (ulimit -u), or give the VM fewer vCPUs")
        })?;
        let kicker = lock(vcpu).kicker(signal, handle.as_pthread_t());
        let number = match receiver.recv() {
            Ok(Ok(number)) => number,
            Ok(Err(Panicked { message, .. })) => {
                return Err(Error::new(ErrorKind::Io, format!("the thread of vCPU {id} panicked: {message}")));
            }
            Err(error) => {
                return Err(Error::new(ErrorKind::Io, format!("the thread of vCPU {id} ended")).because(error));
            }
        };
        Ok(Self { number, kicker, exits, time, handle })
    }
}

/// Permission for a vCPU to run guest code, until it is dropped.
struct Turn<'a> {
    shared: &'a Shared,
    /// The number of the order.
    number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.shared.orders).running -= 1;
        self.shared.changed.notify_all();
    }
}

/// Why a vCPU stopped running guest code.
enum Stopped {
    /// It was kicked.
    Kicked,
    /// It cannot continue until the next order.
    Stuck(CrashReason),
}

impl Shared {
    /// The main loop of a vCPU thread.
    fn obey(&self, vcpu: &Mutex<Vcpu>, exits: &Exits, signal: KickSignal) {
        let mut obeyed = None;
        while let Some(turn) = self.next_turn(obeyed) {
            signal.unblock();
            let mut vcpu = lock(vcpu);
            let stopped = caught(|| self.run(&mut vcpu, exits));
            match stopped.unwrap_or_else(|panic| Stopped::Stuck(panic.into())) {
                Stopped::Kicked => vcpu.clear_kick(),
                Stopped::Stuck(reason) => {
                    obeyed = Some(turn.number);
                    let reason = lock(&self.failure).clone().unwrap_or(reason);
                    self.signals.send(Signal::Crashed(reason));
                }
            }
        }
    }

    /// Waits for an order to run with a number other than `obeyed`; `None` means stop.
    fn next_turn(&self, obeyed: Option<u64>) -> Option<Turn<'_>> {
        let mut orders = lock(&self.orders);
        loop {
            match orders.order {
                Order::Stop => return None,
                Order::Run if obeyed != Some(orders.number) && !orders.held => {
                    orders.running += 1;
                    return Some(Turn { shared: self, number: orders.number });
                }
                Order::Run | Order::Park => {}
            }
            orders = self.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs guest code and handles its I/O until the vCPU is kicked or cannot continue.
    ///
    /// It returns only after `KVM_RUN` was interrupted: KVM has then completed the I/O of the last instruction, so the
    /// registers are consistent.
    fn run(&self, vcpu: &mut Vcpu, exits: &Exits) -> Stopped {
        if let Some(reason) = lock(&self.failure).clone() {
            return Stopped::Stuck(reason);
        }
        loop {
            let exit = vcpu.run();
            exits.count(&exit);
            match exit {
                // The instruction may be emulated with what is not the guest's memory, so it must have no effect outside.
                // KVM completes it at the next call, which returns because the vCPU was kicked.
                Ok(VcpuExit::IoIn(..) | VcpuExit::IoOut(..) | VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..))
                    if self.failed.load(Ordering::SeqCst) => {}
                Ok(VcpuExit::IoIn(port, data)) => self.ports.read(u64::from(port), data),
                Ok(VcpuExit::IoOut(port, data)) => self.ports.write(u64::from(port), data),
                Ok(VcpuExit::MmioRead(address, data)) => self.memory.read(address, data),
                Ok(VcpuExit::MmioWrite(address, data)) => self.memory.write(address, data),
                Ok(VcpuExit::Shutdown) => return Stopped::Stuck(CrashReason::TripleFault),
                Ok(VcpuExit::InternalError) => return Stopped::Stuck(emulation_failure(vcpu)),
                Ok(VcpuExit::FailEntry(reason, _)) => {
                    return Stopped::Stuck(CrashReason::Hardware(format!(
                        "the CPU refused to enter the guest: {reason:#x}"
                    )));
                }
                Ok(VcpuExit::Intr) => return Stopped::Kicked,
                Ok(VcpuExit::Hlt | VcpuExit::IrqWindowOpen) => {}
                Ok(other) => return Stopped::Stuck(CrashReason::Hardware(format!("unexpected exit {other:?}"))),
                Err(e) if e.errno() == libc::EINTR => return Stopped::Kicked,
                // The vCPU waits for INIT/SIPI.
                Err(e) if e.errno() == libc::EAGAIN => {}
                Err(e) => return Stopped::Stuck(CrashReason::Hardware(format!("KVM_RUN failed: {e}"))),
            }
        }
    }
}

/// Says that kicks may call a handler of the program. Must not panic, whatever the log subscriber does.
fn report_kicks(error: &Error) {
    let _ = caught(|| tracing::error!(%error, "kicks may not reach the vCPUs; still stopping them"));
}

fn emulation_failure(vcpu: &Vcpu) -> CrashReason {
    let at = vcpu.regs().map_or_else(|e| e.to_string(), |regs| format!("{:#x}", regs.rip));
    CrashReason::Hardware(format!(
        "KVM cannot emulate the instruction at {at}; a host without hardware virtualization only runs simple guests"
    ))
}
