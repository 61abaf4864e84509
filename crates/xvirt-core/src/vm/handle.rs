//! The VM handle, and what is behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::Span;
use tracing::span::Entered;
use uuid::Uuid;

use super::assemble::{self, Assembled, Backends, BalloonDevice, DiskDevice, Former, NicDevice};
use super::attached::{Attachments, Kind};
use super::events::{Event, EventReceiver, Events};
use super::limits;
use super::load::load;
use super::state::{PowerState, Verb};
use super::supervisor::{self, Supervisor};
use super::vsock::VsockListeners;
use crate::cgroup::CpuGroup;
use crate::config::{CpuLimit, NicLimit, VmConfig};
use crate::console::Console;
use crate::disk::{self, PointInTime};
use crate::machine::{Machine, Processors};
use crate::net::MacAddress;
use crate::process::Process;
use crate::sync::lock;
use crate::thread::caught;
use crate::virtio::NetState;
use crate::{Error, ErrorKind, Result};

/// A virtual machine.
///
/// All methods may be called from any thread; verbs that change the power state exclude each other. Dropping it is a
/// hard shutdown: threads, descriptors, locks and memory go back to the host.
///
/// It belongs to the process that made it. In a child of fork(2) verbs fail with
/// [`InvalidState`](ErrorKind::InvalidState), questions are answered as for a halted VM without devices, and dropping it
/// changes nothing.
///
/// A verb that the VM's state does not allow fails with [`InvalidState`](ErrorKind::InvalidState), which names both; that
/// state may be the work of another thread, or of the guest.
///
/// # Signals and panics
/// The VM's own threads have all signals blocked. One signal interrupts those of its vCPUs: the first real-time signal
/// without a handler when the first VM of the process starts. A program that sets a handler for it later is told so by the
/// verbs that need it ([`Busy`](ErrorKind::Busy)).
///
/// A panic on one of the VM's threads, as of the program's log subscriber, is a crash of the VM
/// ([`CrashReason::ThreadPanicked`](super::CrashReason::ThreadPanicked)). A log subscriber that panics on the thread of a
/// caller unwinds through the verb; the VM is then as its power state says.
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

/// A network interface of a running VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NicStatus {
    /// Its position.
    pub position: usize,
    /// The host's interface or the socket that it is connected to.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Whether the guest sees the cable plugged in.
    pub link_up: bool,
    /// How fast it may be.
    pub limit: NicLimit,
}

/// What the handle and the supervisor thread share.
pub(super) struct Inner {
    /// Whose it is.
    process: Process,
    /// What it was built from, without disks and network interfaces: those come and go.
    pub(super) config: VmConfig,
    processors: Processors,
    pub(super) consoles: Consoles,
    pub(super) events: Events,
    power: Mutex<Power>,
    /// The power state again, for those who do not want to wait for a verb.
    state: Mutex<PowerState>,
    pub(super) changed: Condvar,
    /// Who listens for connections of its guest.
    pub(super) vsock_listeners: VsockListeners,
    /// What its verbs and threads log is told apart by.
    pub(super) span: Span,
}

/// The consoles of a VM, which outlive its runs.
#[derive(Clone, Debug)]
pub(super) struct Consoles {
    pub(super) serial: Console,
    pub(super) virtio: Console,
}

pub(super) struct Power {
    pub(super) state: PowerState,
    pub(super) running: Option<Running>,
    pub(super) attached: Attachments,
    pub(super) former: Former,
    /// What its vCPUs may take of the host.
    pub(super) cpu_limit: CpuLimit,
    /// Counts the starts, so that a supervisor knows whether its run is over.
    pub(super) run: u64,
    /// Counts the reboots of this run.
    pub(super) reboots: u64,
    /// Whether the guest's next power-off is the first half of a reboot.
    pub(super) reboot_on_power_off: bool,
    /// What ends this run, for those who wait for it.
    pub(super) run_end: Arc<OnceLock<Event>>,
    /// What ends the time up to the next reboot or the end of the run.
    pub(super) boot_end: Arc<OnceLock<Event>>,
    /// The supervisor's thread of a run that the guest ended, to be joined.
    pub(super) ended: Option<JoinHandle<()>>,
}

/// What a VM has while it is in memory. The machine is dropped before the locks of its disks and its control group are.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) machine: Machine,
    pub(super) disks: BTreeMap<usize, DiskDevice>,
    pub(super) nics: BTreeMap<usize, NicDevice>,
    pub(super) balloon: Option<BalloonDevice>,
    pub(super) backends: Backends,
    pub(super) cpu_group: Option<CpuGroup>,
    pub(super) supervisor: Option<Supervisor>,
    /// When it was started.
    pub(super) since: Instant,
}

impl Vm {
    pub(crate) fn new(mut config: VmConfig) -> Result<Self> {
        let attached = Attachments::new(mem::take(&mut config.disks), mem::take(&mut config.nics))?;
        let processors = Processors::new(&config.cpus)?;
        let consoles = Consoles { serial: Console::powered_off()?, virtio: Console::powered_off()? };
        let power = Power {
            state: PowerState::Halted,
            running: None,
            attached,
            former: Former::new(),
            cpu_limit: config.cpus.limit,
            run: 0,
            reboots: 0,
            reboot_on_power_off: false,
            run_end: Arc::default(),
            boot_end: Arc::default(),
            ended: None,
        };
        // The level of errors, so that no filter that shows a line hides which VM it is about.
        let span = tracing::error_span!("vm", name = config.name, uuid = %config.uuid);
        let inner = Inner {
            process: Process::current(),
            config,
            processors,
            consoles,
            events: Events::default(),
            power: Mutex::new(power),
            state: Mutex::new(PowerState::Halted),
            changed: Condvar::new(),
            vsock_listeners: VsockListeners::default(),
            span,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name people know it by.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// What identifies it.
    pub fn uuid(&self) -> Uuid {
        self.inner.config.uuid
    }

    /// What would build it as it is now.
    pub(crate) fn config(&self) -> Result<VmConfig> {
        Ok(self.lock()?.config(&self.inner.config))
    }

    /// Whether it runs. Does not wait for a verb that is changing that.
    pub fn power_state(&self) -> PowerState {
        self.require_process().map_or(PowerState::Halted, |()| *lock(&self.inner.state))
    }

    /// The first serial port (`ttyS0`): output from the first byte on, and input.
    pub fn console(&self) -> &Console {
        &self.inner.consoles.serial
    }

    /// The virtio console (`hvc0`): output from the first byte on, and input.
    pub fn virtio_console(&self) -> &Console {
        &self.inner.consoles.virtio
    }

    /// Listens to what happens from now on.
    ///
    /// # Errors
    /// [`OutOfDescriptors`](ErrorKind::OutOfDescriptors).
    pub fn events(&self) -> Result<EventReceiver> {
        self.require_process()?;
        self.inner.events.subscribe()
    }

    /// The network interfaces in the order of their positions; empty while the VM is halted.
    pub fn nics(&self) -> Vec<NicStatus> {
        let Ok(power) = self.lock() else { return Vec::new() };
        let nics = power.running.iter().flat_map(|running| &running.nics);
        nics.map(|(position, nic)| {
            let (NetState { mac, .. }, link_up) = (nic.net.state(), nic.net.link_up());
            let (position, interface, limit) = (*position, nic.interface.clone(), nic.net.limit());
            NicStatus { position, interface, mac: MacAddress::new(mac), link_up, limit }
        })
        .collect()
    }

    /// Plugs the cable of the network interface at position `nic` in or out, as the guest sees it at once.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if the VM is halted, [`NotFound`](ErrorKind::NotFound) if it has no
    /// interface there.
    pub fn set_link(&self, nic: usize, up: bool) -> Result<()> {
        let power = self.lock()?;
        Verb::SetLink.check(self.name(), power.state)?;
        let found = power.running.as_ref().and_then(|running| running.nics.get(&nic));
        let nic = found.ok_or_else(|| self.no_such(Kind::Nic, nic))?;
        nic.net.set_link(up);
        nic.function.config_changed();
        Ok(())
    }

    /// All disks in the order of their positions, as they are at one moment, to be read while the VM goes on.
    ///
    /// It is what a power failure at this moment would leave: what the guest has written, but not what it still keeps in
    /// its memory. The guest is not stopped; its writes wait until those in flight are done. Afterwards it waits,
    /// whenever it overwrites something for the first time, until the old contents are copied to a file without a name
    /// in the folder `scratch`. That takes as much space as the guest changes, at most the size of the disks. Dropping a
    /// view ends that for its disk.
    ///
    /// A view keeps its disk locked, also when the VM is halted meanwhile; this VM can be started again all the same,
    /// unless the view is one of a halted VM.
    ///
    /// # Errors
    /// The VM is in a state that cannot be exported; `scratch` cannot be written; a disk has four views already
    /// ([`Busy`](ErrorKind::Busy)); a disk of a halted VM cannot be opened.
    pub fn point_in_time(&self, scratch: impl AsRef<Path>) -> Result<Vec<Arc<PointInTime>>> {
        self.config_in_time(scratch.as_ref()).map(|(_, views)| views)
    }

    /// [`point_in_time`](Self::point_in_time), with the configuration that has exactly these disks.
    pub(crate) fn config_in_time(&self, scratch: &Path) -> Result<(VmConfig, Vec<Arc<PointInTime>>)> {
        let power = self.lock()?;
        Verb::Export.check(self.name(), power.state)?;
        let disks: Vec<_> = match &power.running {
            Some(running) => running.backends.values().cloned().collect(),
            None => assemble::open_disks(&power.attached, &power.former, true)?.into_values().collect(),
        };
        Ok((power.config(&self.inner.config), disk::point_in_time(&disks, scratch)?))
    }

    /// Its power state, which nobody else changes meanwhile.
    ///
    /// # Errors
    /// This process is a child of the one that made it, where the lock may never be released.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Power>> {
        self.require_process()?;
        Ok(self.inner.lock())
    }

    /// An error in a child of the process that made it.
    pub(super) fn require_process(&self) -> Result<()> {
        self.inner.process.require(format_args!("VM '{}'", self.name()))
    }
}

impl Consoles {
    pub(super) fn all(&self) -> impl Iterator<Item = &Console> {
        [&self.serial, &self.virtio].into_iter()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if !self.inner.process.is_current() {
            // Its threads are not here, and what it has of the host is still the parent's: so it is never taken apart.
            mem::forget(Arc::clone(&self.inner));
            return;
        }
        // A log subscriber that panics must not keep the machine.
        if caught(|| self.inner.span.in_scope(|| self.inner.end())).is_err() {
            self.inner.end();
        }
    }
}

/// The calling thread is in the VM's span, up to the end of this.
pub(super) struct InSpan<'a>(Option<Entered<'a>>);

impl Drop for InSpan<'_> {
    fn drop(&mut self) {
        // This may be a verb that unwinds because the log subscriber panicked: once more would abort the process.
        let _ = caught(|| drop(self.0.take()));
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Power> {
        lock(&self.power)
    }

    /// The lock, once the supervisor of a run that the guest ended is gone.
    pub(super) fn lock_alone(&self) -> MutexGuard<'_, Power> {
        loop {
            let mut power = self.lock();
            let Some(thread) = power.ended.take() else { return power };
            drop(power);
            supervisor::join(thread);
        }
    }

    pub(super) fn enter_span(&self) -> InSpan<'_> {
        // Not where the log subscriber is a copy, a lock of which may never be released.
        InSpan(self.process.is_current().then(|| self.span.enter()))
    }

    /// Halts the VM and tells who waits for it that it is gone, because its handle is dropped.
    fn end(&self) {
        self.halt(self.lock_alone(), Event::HardShutdown);
        self.consoles.all().for_each(Console::close);
        self.vsock_listeners.end();
        self.events.end();
    }

    pub(super) fn assemble(self: &Arc<Self>, run: u64, power: &Power) -> Result<Running> {
        let Self { config, processors, consoles, events, .. } = &**self;
        let backends = assemble::open_disks(&power.attached, &power.former, false)?;
        let Assembled { machine, disks, nics, balloon } =
            assemble::machine(config, &power.attached, processors, &backends, consoles, events)?;
        machine.prepare(load(&self.config.boot, &backends, machine.ram())?)?;
        let cpu_group = limits::make_cpu_group(config, power.cpu_limit, &machine)?;
        let supervisor = Some(Supervisor::spawn(self, run, &machine)?);
        Ok(Running { machine, disks, nics, balloon, backends, cpu_group, supervisor, since: Instant::now() })
    }

    /// The machine, if `verb` is legal now.
    pub(super) fn machine<'a>(&self, power: &'a Power, verb: Verb) -> Result<&'a Machine> {
        verb.check(&self.config.name, power.state)?;
        let running = power
            .running
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::InvalidState, format!("VM '{}' has no machine", self.config.name)))?;
        Ok(&running.machine)
    }

    pub(super) fn enter(&self, power: &mut Power, state: PowerState, event: &Event) {
        power.state = state;
        *lock(&self.state) = state;
        self.changed.notify_all();
        self.events.send(event);
    }

    /// Takes the machine apart, whoever asked for it.
    pub(super) fn halt(&self, mut power: MutexGuard<'_, Power>, event: Event) {
        self.take_ejected(&mut power);
        let Some(Running { machine, disks, nics, balloon, backends, cpu_group, supervisor, .. }) =
            mem::take(&mut power.running)
        else {
            return;
        };
        self.consoles.all().for_each(Console::power_off);
        if let Some(BalloonDevice { balloon, .. }) = &balloon {
            balloon.end();
        }
        // A backend of the program may panic when it is dropped. The VM is halted all the same.
        let _ = caught(|| {
            drop(machine);
            drop((disks, nics, balloon, backends, cpu_group));
        });
        // Both are empty: they came with the machine, and a machine ends once.
        let _ = (power.boot_end.set(event.clone()), power.run_end.set(event.clone()));
        self.enter(&mut power, PowerState::Halted, &event);
        // The supervisor may be waiting for the lock that we hold.
        drop(power);
        if let Some(supervisor) = supervisor {
            supervisor.join();
        }
    }

    /// Puts the machine at power-on, loads again what it boots, and lets it run. `end` is what ended the guest.
    pub(super) fn reset(&self, power: &mut Power, end: Event) -> Result<()> {
        let Some(Running { machine, .. }) = &power.running else { return Ok(()) };
        machine.park()?;
        self.take_wanted_out(power);
        let Some(Running { machine, backends, .. }) = &power.running else { return Ok(()) };
        // Before the serial port is reset, which takes in what waits.
        self.consoles.all().for_each(Console::reset);
        machine.reset()?;
        machine.prepare(load(&self.config.boot, backends, machine.ram())?)?;
        machine.run();
        power.reboots += 1;
        power.reboot_on_power_off = false;
        // It is empty: it came with the guest that has just ended.
        let _ = mem::take(&mut power.boot_end).set(end);
        Ok(())
    }
}
