//! The vCPU threads: started parked, run and parked together.

use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvm_ioctls::VcpuExit;

use super::exits::{ExitCounts, Exits};
use super::signal::{CrashReason, Signal, Signals};
use crate::bus::Bus;
use crate::kvm::{Kicker, ThreadTime, Vcpu};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// Running guest code needs little stack; the default of 8 MiB would only cost address space.
const STACK_SIZE: usize = 256 << 10;

/// What the vCPU threads are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Park,
    Run,
    Stop,
}

#[derive(Debug)]
struct Orders {
    order: Order,
    /// Counts the orders, so that a vCPU that cannot go on waits for the next one.
    number: u64,
    parked: usize,
}

/// What all vCPU threads of a machine share.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    ports: Arc<Bus>,
    memory: Arc<Bus>,
    signals: Signals,
}

/// The vCPUs of a machine and their threads. Dropping it stops and joins them.
#[derive(Debug)]
pub(crate) struct Vcpus {
    vcpus: Vec<Arc<Mutex<Vcpu>>>,
    threads: Vec<VcpuThread>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct VcpuThread {
    /// What the kernel calls it.
    number: u32,
    kicker: Kicker,
    exits: Arc<Exits>,
    time: Arc<ThreadTime>,
    handle: JoinHandle<()>,
}

impl Vcpus {
    /// Starts a parked thread for each vCPU.
    pub(crate) fn spawn(vcpus: Vec<Vcpu>, ports: Arc<Bus>, memory: Arc<Bus>, signals: Signals) -> Result<Self> {
        crate::kvm::install_kick_handler()?;
        let orders = Mutex::new(Orders { order: Order::Park, number: 0, parked: 0 });
        let shared = Arc::new(Shared { orders, changed: Condvar::new(), ports, memory, signals });
        let vcpus: Vec<_> = vcpus.into_iter().map(|v| Arc::new(Mutex::new(v))).collect();
        let mut group = Self { vcpus, threads: Vec::new(), shared };
        for (id, vcpu) in group.vcpus.iter().enumerate() {
            // If a thread cannot be started, dropping the group stops the others.
            let thread = VcpuThread::spawn(id, vcpu, Arc::clone(&group.shared))?;
            group.threads.push(thread);
        }
        Ok(group)
    }

    /// What the kernel calls their threads (gettid(2)).
    pub(crate) fn threads(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|thread| thread.number)
    }

    /// Lets all vCPUs run guest code.
    pub(crate) fn run(&self) {
        drop(self.give(Order::Run));
    }

    /// Parks all vCPUs and returns once none runs guest code any more.
    pub(crate) fn park(&self) {
        let mut orders = self.give(Order::Park);
        self.kick();
        while orders.parked < self.threads.len() {
            orders = self.shared.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls `change` with each vCPU, which must be parked.
    pub(crate) fn each(&self, mut change: impl FnMut(&Vcpu) -> Result<()>) -> Result<()> {
        self.vcpus.iter().try_for_each(|vcpu| change(&lock(vcpu)))
    }

    /// For each vCPU, why it left the guest so far, and how much of the host's processors its thread has taken.
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

    fn kick(&self) {
        self.threads.iter().for_each(|thread| thread.kicker.kick());
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        drop(self.give(Order::Stop));
        self.kick();
        for thread in self.threads.drain(..) {
            // A thread that panicked has already said so on standard error; there is nothing left to do for it.
            let _ = thread.handle.join();
        }
    }
}

impl VcpuThread {
    fn spawn(id: usize, vcpu: &Arc<Mutex<Vcpu>>, shared: Arc<Shared>) -> Result<Self> {
        let own = Arc::clone(vcpu);
        let (exits, time, span) = (Arc::<Exits>::default(), Arc::<ThreadTime>::default(), tracing::Span::current());
        let (own_exits, own_time) = (Arc::clone(&exits), Arc::clone(&time));
        let (sender, receiver) = mpsc::channel();
        let handle = thread::Builder::new()
            .name(format!("vcpu{id}"))
            .stack_size(STACK_SIZE)
            .spawn(move || {
                let (_span, _at_work) = (span.enter(), own_time.begin());
                // Only fails if the one who started it has gone.
                let _ = sender.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
                shared.obey(&own, &own_exits);
            })
            .map_err(|e| {
                Error::io(format!("cannot start the thread of vCPU {id}"), e)
                    .remedy("raise the limit of processes (ulimit -u), or give the VM fewer vCPUs")
            })?;
        let kicker = lock(vcpu).kicker(handle.as_pthread_t());
        let ended = |e| Error::new(ErrorKind::Io, format!("the thread of vCPU {id} ended at once")).because(e);
        Ok(Self { number: receiver.recv().map_err(ended)?, kicker, exits, time, handle })
    }
}

/// Why a vCPU stopped running guest code.
enum Stopped {
    /// It was kicked.
    Kicked,
    /// It cannot go on before the next order.
    Stuck(CrashReason),
}

impl Shared {
    /// The life of a vCPU thread.
    fn obey(&self, vcpu: &Mutex<Vcpu>, exits: &Exits) {
        let mut obeyed = None;
        while let Some(number) = self.wait_for_run(obeyed) {
            let mut vcpu = lock(vcpu);
            match self.run(&mut vcpu, exits) {
                Stopped::Kicked => vcpu.clear_kick(),
                Stopped::Stuck(reason) => {
                    obeyed = Some(number);
                    self.signals.send(Signal::Crashed(reason));
                }
            }
        }
    }

    /// Waits for an order to run, other than the one numbered `obeyed`, and returns its number; `None` is the end.
    fn wait_for_run(&self, obeyed: Option<u64>) -> Option<u64> {
        let mut orders = lock(&self.orders);
        orders.parked += 1;
        self.changed.notify_all();
        loop {
            match orders.order {
                Order::Stop => return None,
                Order::Run if obeyed != Some(orders.number) => {
                    orders.parked -= 1;
                    return Some(orders.number);
                }
                Order::Run | Order::Park => {}
            }
            orders = self.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs guest code until kicked or stuck, and does the I/O that it asks for.
    ///
    /// A vCPU is only left after `KVM_RUN` was interrupted, which is after KVM has finished the last instruction's I/O:
    /// so its registers are whole.
    fn run(&self, vcpu: &mut Vcpu, exits: &Exits) -> Stopped {
        loop {
            let exit = vcpu.run();
            exits.count(&exit);
            match exit {
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
                // A vCPU that waits for another to start it.
                Err(e) if e.errno() == libc::EAGAIN => {}
                Err(e) => return Stopped::Stuck(CrashReason::Hardware(format!("KVM_RUN failed: {e}"))),
            }
        }
    }
}

fn emulation_failure(vcpu: &Vcpu) -> CrashReason {
    let at = vcpu.regs().map_or_else(|e| e.to_string(), |regs| format!("{:#x}", regs.rip));
    CrashReason::Hardware(format!(
        "KVM cannot emulate the instruction at {at}; a host without hardware virtualisation only runs simple guests"
    ))
}
