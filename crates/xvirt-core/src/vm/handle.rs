//! The VM handle and its shared state.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::Span;
use tracing::span::Entered;
use uuid::Uuid;

use super::assemble::{self, Assembled, DiskDevice, NicDevice};
use super::clock::ClockThreads;
use super::consoles::Consoles;
use super::devices::{Devices, DiskSlot};
use super::events::{Event, EventReceiver, Events};
use super::limits;
use super::live::{Live, Running, Teardown};
use super::operation::{LongOperation, Operations};
use super::resume::Resumed;
use super::saved::SavedState;
use super::state::{PowerState, Verb};
use super::supervisor::{self, IdleSupervisor, Supervisor};
use super::vsock::VsockListeners;
use crate::agent::Channel;
use crate::config::VmConfig;
use crate::console::Console;
use crate::disk::{self, Access, SnapshotView};
use crate::host::Host;
use crate::machine::{DiskAt, Machine, Processors, Restore};
use crate::process::Process;
use crate::sync::lock;
use crate::thread::caught;
use crate::wait;
use crate::{Error, ErrorKind, Result};

/// A virtual machine.
///
/// All methods may be called from any thread. Verbs change the VM one at a time: each waits for its turn, and
/// [`current_operations`](Self::current_operations) lists those in progress. Queries (power state, statistics, lists,
/// events) never wait for a verb. The timeout of a verb starts when its turn comes. Dropping the VM is a hard shutdown:
/// it releases threads, descriptors, locks and memory.
///
/// It belongs to the process that made it. In a child of fork(2), verbs fail with
/// [`InvalidState`](ErrorKind::InvalidState), queries return what they do for a halted VM without devices, and dropping
/// it has no effect.
///
/// A verb that the VM's state does not allow fails with [`InvalidState`](ErrorKind::InvalidState), which names both.
/// Another thread or the guest may have caused that state.
///
/// # Signals and panics
/// The VM's own threads block all signals. One signal interrupts vCPU threads: the first real-time signal without a
/// handler when the first VM of the process starts. If the program installs a handler for it later, the verbs that need
/// it fail with [`Busy`](ErrorKind::Busy).
///
/// A panic on one of the VM's threads, for example in the program's log subscriber, is a crash of the VM
/// ([`CrashReason::ThreadPanicked`](super::CrashReason::ThreadPanicked)). If a log subscriber panics on a caller's
/// thread, the panic unwinds through the verb; the VM's power state is still accurate.
pub struct Vm {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, uuid, power_state) = (self.name(), self.uuid(), self.power_state());
        let mut vm = f.debug_struct("Vm");
        vm.field("name", &name).field("uuid", &uuid).field("power_state", &power_state).finish_non_exhaustive()
    }
}

/// The state shared by the handle and the supervisor thread.
pub(super) struct Inner {
    /// The process it belongs to.
    process: Process,
    /// The configuration it was built from, without disks and network interfaces, which may change.
    pub(super) config: VmConfig,
    pub(super) processors: Processors,
    pub(super) consoles: Consoles,
    /// The connection to its guest agent.
    pub(super) agent: Arc<Channel>,
    pub(super) events: Events,
    /// The operation lock, held while the VM is changed, however long that takes.
    pub(super) power: Mutex<Power>,
    /// The VM's current state. Locked after the operation lock, and only for a moment.
    live: Mutex<Live>,
    pub(super) operations: Operations,
    /// Notified of changes that verbs wait for while they release the operation lock.
    pub(super) changed: Condvar,
    /// The listeners for connections from its guest.
    pub(super) vsock_listeners: VsockListeners,
    pub(super) clock_threads: ClockThreads,
    /// The span of everything that its verbs and threads log.
    span: Span,
}

/// State that only verbs and the supervisor use.
#[derive(Debug, Default)]
pub(super) struct Power {
    /// The number of starts, by which a supervisor knows whether its run has ended.
    pub(super) run: u64,
    /// The number of reboots in this run.
    pub(super) reboots: u64,
    /// Whether the guest's next power-off is the first half of a reboot.
    pub(super) reboot_on_power_off: bool,
    /// Set to the event that ends this run, for threads that wait for it.
    pub(super) run_end: Arc<OnceLock<Event>>,
    /// Set to the event that ends this run or brings the next reboot.
    pub(super) boot_end: Arc<OnceLock<Event>>,
    /// The supervisor of this run.
    pub(super) supervisor: Option<Supervisor>,
    /// The supervisor's thread of a run that the guest ended, not yet joined.
    pub(super) ended: Option<JoinHandle<()>>,
}

/// Everything that a start has assembled. Dropping it gives it back.
pub(super) struct Started {
    running: Running,
    disks: BTreeMap<usize, DiskDevice>,
    nics: BTreeMap<usize, NicDevice>,
    supervisor: IdleSupervisor,
}

impl Started {
    /// Records how it was resumed.
    pub(super) fn resumed(&mut self, resumed: Resumed) {
        self.running.resumed = Some(resumed);
    }

    /// The machine, which does not run yet.
    pub(super) fn machine(&self) -> &Arc<Machine> {
        &self.running.machine
    }

    /// Announces the network interfaces, so that switches learn where they are.
    pub(super) fn announce(&self) {
        for nic in self.nics.values() {
            if nic.net.announce() | nic.net.has_other_address() {
                nic.function.config_changed();
            }
        }
    }
}

impl Vm {
    /// A VM with these devices: halted, or suspended to the file `saved`.
    pub(super) fn new(
        config: VmConfig,
        devices: Devices,
        saved: Option<Arc<dyn SavedState>>,
        host: &Host,
    ) -> Result<Self> {
        let processors = Processors::new(&config.cpus, host)?;
        let consoles = Consoles::powered_off()?;
        let agent = Arc::new(Channel::new(config.name.clone(), consoles.agent.clone()));
        let live = Live::new(devices, config.cpus.limit, saved);
        // Error level, so that a filter that shows any line also shows which VM it is about.
        let span = tracing::error_span!("vm", name = config.name, uuid = %config.uuid);
        let events = Events::new(config.uuid);
        let inner = Inner {
            process: Process::current(),
            config,
            processors,
            consoles,
            agent,
            events,
            power: Mutex::default(),
            live: Mutex::new(live),
            operations: Operations::default(),
            changed: Condvar::new(),
            vsock_listeners: VsockListeners::default(),
            clock_threads: ClockThreads::default(),
            span,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its name, which need not be unique.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Its UUID, which identifies it.
    pub fn uuid(&self) -> Uuid {
        self.inner.config.uuid
    }

    /// The configuration that builds this VM as it is now, with all changes since it was built: devices that were
    /// plugged in or unplugged, and limits. Positions of disks and network interfaces have no gaps in it. Does not wait
    /// for a verb.
    ///
    /// It can be serialized, unless it holds open objects such as a [`Disk::backend`](crate::config::Disk::backend).
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) in a child of the process that made the VM.
    pub fn config(&self) -> Result<VmConfig> {
        Ok(self.live()?.config(&self.inner.config))
    }

    /// Its power state. Does not wait for a verb that is changing it.
    pub fn power_state(&self) -> PowerState {
        self.live().map_or(PowerState::Halted, |live| live.state)
    }

    /// The first serial port (`ttyS0`): input, and output from the first byte.
    pub fn console(&self) -> &Console {
        &self.inner.consoles.serial
    }

    /// The virtio console (`hvc0`): input, and output from the first byte.
    pub fn virtio_console(&self) -> &Console {
        &self.inner.consoles.virtio
    }

    /// Listens to events from now on. One [`EventReceiver`] can listen to many VMs.
    ///
    /// # Errors
    /// [`OutOfDescriptors`](ErrorKind::OutOfDescriptors).
    pub fn events(&self) -> Result<EventReceiver> {
        let receiver = EventReceiver::new()?;
        receiver.listen(self)?;
        Ok(receiver)
    }

    /// Read-only views of all disks at this moment, ordered by position, while the VM keeps running.
    ///
    /// The views are crash-consistent: they contain what the guest has written, but not what it still caches in memory.
    /// The guest is not stopped. New writes wait until those in flight are done. Later, the first write to each block
    /// waits until the old contents are copied to an unnamed file in the folder `scratch`. That file needs as much
    /// space as the guest changes, at most the size of the disks. Dropping a view ends the copying for its disk.
    ///
    /// A view keeps its disk locked, even when the VM is halted. This VM can still be started again, unless the view
    /// was made while it was halted.
    ///
    /// # Errors
    /// The VM is in a state that cannot be exported; `scratch` cannot be written; a disk already has four views
    /// ([`Busy`](ErrorKind::Busy)); a disk of a halted VM cannot be opened.
    pub fn snapshot_views(&self, scratch: impl AsRef<Path>) -> Result<Vec<Arc<SnapshotView>>> {
        let export = self.begin_long(Verb::Export)?;
        self.config_and_views(&export, scratch.as_ref()).map(|(_, views)| views)
    }

    /// [`snapshot_views`](Self::snapshot_views), with the configuration that has exactly these disks, for an export
    /// that still holds the operation lock.
    pub(crate) fn config_and_views(
        &self,
        _: &LongOperation<'_>,
        scratch: &Path,
    ) -> Result<(VmConfig, Vec<Arc<SnapshotView>>)> {
        let (config, devices) = {
            let live = self.inner.live();
            (live.config(&self.inner.config), live.devices.clone())
        };
        // The disks of a VM in memory are all open already.
        let disks: Vec<_> = assemble::open_disks(&devices, Some(Access::ReadOnly))?.into_values().collect();
        Ok((config, disk::snapshot_views(&disks, scratch)?))
    }

    /// Its current state.
    ///
    /// # Errors
    /// This process is a child of the one that made the VM, where the lock may never be released.
    pub(super) fn live(&self) -> Result<MutexGuard<'_, Live>> {
        self.require_process()?;
        Ok(self.inner.live())
    }

    /// The operation lock, which prevents all other changes.
    ///
    /// # Errors
    /// As [`live`](Self::live); or the caller has cancelled the wait for another verb.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Power>> {
        self.require_process()?;
        let others = || wait::cancelled(format_args!("other verbs on VM '{}'", self.name()));
        wait::lock(&self.inner.power).ok_or_else(others)
    }

    /// [`lock`](Self::lock), after the supervisor of a run that the guest ended has been joined.
    pub(super) fn lock_alone(&self) -> Result<MutexGuard<'_, Power>> {
        Inner::lock_alone(|| self.lock())
    }

    /// Fails in a child of the process that made the VM.
    pub(super) fn require_process(&self) -> Result<()> {
        self.inner.process.require(format_args!("VM '{}'", self.name()))
    }
}

impl EventReceiver {
    /// Listens to events of `vm` from now on, in addition to other VMs. If called twice for one VM, its events arrive
    /// twice.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) in a child of the process that made the VM or the listener.
    pub fn listen(&self, vm: &Vm) -> Result<()> {
        self.require_process()?;
        vm.require_process()?;
        vm.inner.events.add(self);
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if !self.inner.process.is_current() {
            // This process does not have its threads, and its host resources belong to the parent. So it is never torn
            // down here.
            mem::forget(Arc::clone(&self.inner));
            return;
        }
        // A log subscriber that panics must not keep the machine alive.
        if caught(|| self.inner.span.in_scope(|| self.inner.end())).is_err() {
            self.inner.end();
        }
    }
}

/// Keeps the calling thread in the VM's span until it is dropped.
pub(super) struct InSpan<'a>(Option<Entered<'a>>);

impl Drop for InSpan<'_> {
    fn drop(&mut self) {
        // This may run while a verb unwinds because the log subscriber panicked; a second panic would abort the
        // process.
        let _ = caught(|| drop(self.0.take()));
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Power> {
        lock(&self.power)
    }

    /// Locks it, by `lock`, after the supervisor of a run that the guest ended has been joined.
    fn lock_alone<'a, E>(
        lock: impl Fn() -> std::result::Result<MutexGuard<'a, Power>, E>,
    ) -> std::result::Result<MutexGuard<'a, Power>, E> {
        loop {
            let mut power = lock()?;
            let Some(thread) = power.ended.take() else { return Ok(power) };
            drop(power);
            supervisor::join(thread);
        }
    }

    /// The VM's current state, to be locked only briefly.
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }

    /// The machine, while the VM is in memory. The caller must hold the operation lock, and drop this first.
    pub(super) fn machine(&self) -> Option<Arc<Machine>> {
        self.live().running.as_ref().map(|running| Arc::clone(&running.machine))
    }

    /// The machine of a VM whose state says that it is in memory.
    pub(super) fn running_machine(&self) -> Result<Arc<Machine>> {
        self.machine()
            .ok_or_else(|| Error::new(ErrorKind::InvalidState, format!("VM '{}' has no machine", self.config.name)))
    }

    pub(super) fn enter_span(&self) -> InSpan<'_> {
        // Not in a forked child, where the log subscriber's locks may never be released.
        InSpan(self.process.is_current().then(|| self.span.enter()))
    }

    /// Halts the VM and tells all waiting threads that it is gone, because its handle is dropped.
    fn end(&self) {
        let Ok(power) = Self::lock_alone(|| Ok::<_, Infallible>(self.lock()));
        self.halt(power, Event::HardShutdown);
        self.consoles.close();
        self.agent.end();
        self.clock_threads.join();
        self.vsock_listeners.end();
        self.events.end();
    }

    /// Assembles everything for run number `run`, parked: from saved state, if given. `load` fills the memory.
    pub(super) fn assemble(
        self: &Arc<Self>,
        run: u64,
        restore: Option<Restore<'_>>,
        load: impl FnOnce(&Machine, DiskAt<'_>) -> Result<()>,
    ) -> Result<Started> {
        let Self { config, processors, consoles, events, .. } = &**self;
        let (devices, cpu_limit) = {
            let live = self.live();
            (live.devices.clone(), live.cpu_limit)
        };
        let backends = assemble::open_disks(&devices, None)?;
        let Assembled { machine, disks, nics, balloon } =
            assemble::machine(config, &devices, processors, backends, consoles, events, restore)?;
        load(&machine, &|position: usize| disks.get(&position).map(|disk| Arc::clone(&disk.backend)))?;
        let cpu_group = limits::make_cpu_group(config, cpu_limit, &machine)?;
        let supervisor = Supervisor::spawn(self, run, &machine)?;
        let (machine, memory) = (Arc::new(machine), config.memory);
        let running =
            Running { machine, memory, balloon, cpu_group, since: Instant::now(), resumed: None, tracked: None };
        Ok(Started { running, disks, nics, supervisor })
    }

    /// Runs the assembled machine, because of `event`.
    pub(super) fn run(&self, power: &mut Power, started: Started, event: &Event) {
        let Started { running, disks, nics, supervisor } = started;
        running.machine.run();
        // Threads that wait for the VM to halt wait for the end of this run.
        let run_end = mem::take(&mut power.run_end);
        *power = Power { run: power.run + 1, run_end, supervisor: supervisor.take(), ..Power::default() };
        let mut live = self.live();
        live.devices.enter_machine(disks, nics);
        live.started(running, event);
        drop(live);
        self.changed.notify_all();
        self.events.send(event);
    }

    pub(super) fn enter(&self, state: PowerState, event: &Event) {
        self.live().enter(state, event);
        self.changed.notify_all();
        self.events.send(event);
    }

    /// Tears the machine down.
    pub(super) fn halt(&self, power: MutexGuard<'_, Power>, event: Event) {
        self.take_ejected();
        let Some(teardown) = self.live().begin_teardown() else { return };
        self.consoles.power_off();
        self.tear_down(teardown, power, PowerState::Halted, event);
    }

    /// Tears the machine down after it was saved to the file `saved`.
    pub(super) fn leave_memory(&self, power: MutexGuard<'_, Power>, saved: Arc<dyn SavedState>) {
        let teardown = {
            let mut live = self.live();
            live.saved = Some(saved);
            live.begin_teardown()
        };
        if let Some(teardown) = teardown {
            self.tear_down(teardown, power, PowerState::Suspended, Event::Suspended);
        }
    }

    /// Tears a machine down, and sets the power state to `state` because of `event`.
    fn tear_down(&self, teardown: Teardown, mut power: MutexGuard<'_, Power>, state: PowerState, event: Event) {
        // A backend of the program may panic when it is dropped. The state changes anyway.
        let _ = caught(|| drop(teardown));
        // Both are empty, because a machine ends only once.
        let _ = (power.boot_end.set(event.clone()), mem::take(&mut power.run_end).set(event.clone()));
        self.enter(state, &event);
        let supervisor = power.supervisor.take();
        // The supervisor may be waiting for the lock.
        drop(power);
        if let Some(supervisor) = supervisor {
            supervisor.join();
        }
    }

    /// Resets the parked machine to power-on, loads its boot source again, and runs it. `end` is the event that ended
    /// the guest.
    pub(super) fn reset(&self, power: &mut Power, end: Event) -> Result<()> {
        let Some(machine) = self.machine() else { return Ok(()) };
        self.take_wanted_out(&machine);
        // Before the serial port is reset, because the reset takes in waiting input.
        self.consoles.reset();
        let disk_at = |position: usize| self.live().devices.disks.get(&position).and_then(DiskSlot::backend);
        machine.reset(&disk_at)?;
        machine.run();
        power.reboots += 1;
        power.reboot_on_power_off = false;
        // It is empty: it is new for each boot, and this boot has just ended.
        let _ = mem::take(&mut power.boot_end).set(end);
        Ok(())
    }
}
