//! The VM handle: its power state and the verbs that change it.

use std::collections::BTreeMap;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Span;
use uuid::Uuid;

use super::assemble::{self, Assembled, Backends, BalloonDevice, DiskDevice, Former, NicDevice};
use super::attached::Attachments;
use super::events::{CrashReason, Event, EventReceiver, Events};
use super::limits;
use super::state::{PowerState, Verb};
use super::supervisor::Supervisor;
use super::vsock::VsockListeners;
use crate::cgroup::CpuGroup;
use crate::config::{CpuLimit, NicLimit, VmConfig};
use crate::console::Console;
use crate::disk::{self, PointInTime};
use crate::machine::{Machine, Processors, SignalReceiver, signals};
use crate::net::MacAddress;
use crate::process::Process;
use crate::sync::lock;
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
#[derive(Debug)]
pub struct Vm {
    pub(super) inner: Arc<Inner>,
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
#[derive(Debug)]
pub(super) struct Inner {
    /// Whose it is.
    process: Process,
    /// What it was built from, without disks and network interfaces: those come and go.
    pub(super) config: VmConfig,
    processors: Processors,
    consoles: Consoles,
    pub(super) events: Events,
    power: Mutex<Power>,
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

#[derive(Debug)]
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
    reboot_on_power_off: bool,
    /// The supervisor of a run that the guest ended, to be joined.
    ended: Option<Supervisor>,
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
    supervisor: Option<Supervisor>,
    /// When it was started.
    pub(super) since: Instant,
}

impl Vm {
    pub(crate) fn new(mut config: VmConfig) -> Result<Self> {
        let attached = Attachments::new(mem::take(&mut config.disks), mem::take(&mut config.nics))?;
        let processors = Processors::new(&config.cpus)?;
        let consoles = Consoles { serial: Console::new()?, virtio: Console::new()? };
        let power = Power {
            state: PowerState::Halted,
            running: None,
            attached,
            former: Former::new(),
            cpu_limit: config.cpus.limit,
            run: 0,
            reboots: 0,
            reboot_on_power_off: false,
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

    /// Whether it runs.
    pub fn power_state(&self) -> PowerState {
        self.lock().map_or(PowerState::Halted, |power| power.state)
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
    /// The process has no descriptors left.
    pub fn events(&self) -> Result<EventReceiver> {
        self.require_process()?;
        self.inner.events.subscribe()
    }

    /// Starts a halted VM: locks its disks, assembles the machine, loads what it boots and lets it run.
    ///
    /// # Errors
    /// It is not halted, or any of these steps fails; then it is halted as before and nothing is left behind.
    pub fn start(&self) -> Result<()> {
        let _span = self.inner.span.enter();
        let mut power = self.lock()?;
        Verb::Start.check(self.name(), power.state)?;
        if let Some(supervisor) = power.ended.take() {
            supervisor.join();
        }
        let run = power.run + 1;
        let running = self.inner.assemble(run, &power)?;
        running.machine.run();
        power.former = running.backends.iter().map(|(at, disk)| (*at, Arc::downgrade(disk))).collect();
        power.running = Some(running);
        (power.run, power.reboots, power.reboot_on_power_off) = (run, 0, false);
        self.inner.enter(&mut power, PowerState::Running, &Event::Started);
        Ok(())
    }

    /// Stops a running VM, which stays in memory.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&self) -> Result<()> {
        let _span = self.inner.span.enter();
        let mut power = self.lock()?;
        self.inner.machine(&power, Verb::Pause)?.park();
        self.inner.enter(&mut power, PowerState::Paused, &Event::Paused);
        Ok(())
    }

    /// Lets a paused VM go on.
    ///
    /// # Errors
    /// It is not paused.
    pub fn unpause(&self) -> Result<()> {
        let _span = self.inner.span.enter();
        let mut power = self.lock()?;
        self.inner.machine(&power, Verb::Unpause)?.run();
        self.inner.enter(&mut power, PowerState::Running, &Event::Unpaused);
        Ok(())
    }

    /// Presses the power button and waits until the guest has switched itself off.
    ///
    /// # Errors
    /// It is not running, or it has not switched off within `timeout`; then it still runs.
    pub fn clean_shutdown(&self, timeout: Duration) -> Result<()> {
        let _span = self.inner.span.enter();
        let power = self.lock()?;
        self.inner.machine(&power, Verb::CleanShutdown)?.press_power_button();
        let run = power.run;
        let done = |power: &Power| power.run != run || power.state == PowerState::Halted;
        self.inner
            .wait(power, timeout, done)
            .map(drop)
            .map_err(|_| self.too_late("shut down", timeout).remedy("give it more time, or use hard_shutdown"))
    }

    /// Takes the power away.
    ///
    /// # Errors
    /// It is halted already.
    pub fn hard_shutdown(&self) -> Result<()> {
        let _span = self.inner.span.enter();
        let power = self.lock()?;
        Verb::HardShutdown.check(self.name(), power.state)?;
        self.inner.halt(power, &Event::HardShutdown);
        Ok(())
    }

    /// Presses the power button, waits until the guest has switched itself off, and starts it again.
    ///
    /// # Errors
    /// It is not running, or it has not switched off within `timeout`; then it still runs. Or what it boots cannot be
    /// loaded any more; then it is halted.
    pub fn clean_reboot(&self, timeout: Duration) -> Result<()> {
        let _span = self.inner.span.enter();
        let mut power = self.lock()?;
        self.inner.machine(&power, Verb::CleanReboot)?.press_power_button();
        power.reboot_on_power_off = true;
        let (run, reboots) = (power.run, power.reboots);
        let done = |power: &Power| power.run != run || power.reboots != reboots || power.state == PowerState::Halted;
        let power = self.inner.wait(power, timeout, done).map_err(|mut power| {
            power.reboot_on_power_off = false;
            self.too_late("reboot", timeout).remedy("give it more time, or use hard_reboot")
        })?;
        if power.state == PowerState::Halted {
            return Err(Error::new(ErrorKind::NotBootable, format!("VM '{}' did not come back up", self.name()))
                .remedy("its last event says why"));
        }
        Ok(())
    }

    /// Resets the machine in place: what the guest has not written is lost. A paused VM runs afterwards.
    ///
    /// # Errors
    /// It is halted. Or what it boots cannot be loaded any more; then it is halted.
    pub fn hard_reboot(&self) -> Result<()> {
        let _span = self.inner.span.enter();
        let mut power = self.lock()?;
        self.inner.machine(&power, Verb::HardReboot)?;
        if let Err(error) = self.inner.reset(&mut power) {
            self.inner.halt(power, &Event::Crashed(CrashReason::Reset(error.to_string())));
            return Err(error);
        }
        self.inner.enter(&mut power, PowerState::Running, &Event::HardReset);
        Ok(())
    }

    /// Waits until the VM is halted, for whatever reason.
    ///
    /// # Errors
    /// It is not halted within `timeout`.
    pub fn wait_halted(&self, timeout: Duration) -> Result<()> {
        let power = self.lock()?;
        self.inner.wait(power, timeout, |power| power.state == PowerState::Halted).map(drop).map_err(|_| {
            self.too_late("halt", timeout).remedy("give it more time, or use clean_shutdown or hard_shutdown")
        })
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
    /// The VM is halted, or has no interface there.
    pub fn set_link(&self, nic: usize, up: bool) -> Result<()> {
        let power = self.lock()?;
        let Some(nic) = power.running.as_ref().and_then(|running| running.nics.get(&nic)) else {
            return Err(Error::new(ErrorKind::NotFound, format!("VM '{}' has no NIC {nic} now", self.name()))
                .remedy("start the VM, and see nics() for those it has"));
        };
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

    pub(super) fn too_late(&self, what: &str, timeout: Duration) -> Error {
        Error::new(ErrorKind::Timeout, format!("VM '{}' did not {what} within {timeout:?}", self.name()))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if !self.inner.process.is_current() {
            // Its threads are not here, and what it has of the host is still the parent's: so it is never taken apart.
            mem::forget(Arc::clone(&self.inner));
            return;
        }
        let _span = self.inner.span.enter();
        let mut power = self.inner.lock();
        if let Some(supervisor) = power.ended.take() {
            supervisor.join();
        }
        if power.running.is_some() {
            self.inner.halt(power, &Event::HardShutdown);
        } else {
            drop(power);
        }
        self.inner.consoles.serial.close();
        self.inner.consoles.virtio.close();
        self.inner.vsock_listeners.end();
        self.inner.events.end();
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Power> {
        lock(&self.power)
    }

    fn assemble(self: &Arc<Self>, run: u64, power: &Power) -> Result<Running> {
        let Self { config, processors, consoles, events, .. } = &**self;
        let backends = assemble::open_disks(&power.attached, &power.former, false)?;
        let (sender, receiver) = signals()?;
        let Assembled { machine, disks, nics, balloon } =
            assemble::machine(config, &power.attached, processors, &backends, consoles, sender, events)?;
        machine.prepare(assemble::load(&self.config.boot, &backends, machine.ram())?)?;
        let cpu_group = limits::make_cpu_group(config, power.cpu_limit, &machine)?;
        let supervisor = Some(Supervisor::spawn(self, run, receiver, &machine)?);
        Ok(Running { machine, disks, nics, balloon, backends, cpu_group, supervisor, since: Instant::now() })
    }

    /// The machine, if `verb` is legal now.
    fn machine<'a>(&self, power: &'a Power, verb: Verb) -> Result<&'a Machine> {
        verb.check(&self.config.name, power.state)?;
        let running = power
            .running
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::InvalidState, format!("VM '{}' has no machine", self.config.name)))?;
        Ok(&running.machine)
    }

    pub(super) fn enter(&self, power: &mut Power, state: PowerState, event: &Event) {
        power.state = state;
        self.events.send(event);
        self.changed.notify_all();
    }

    /// Waits until `done`; the error is that it is not after `timeout`.
    fn wait<'a>(
        &self,
        mut power: MutexGuard<'a, Power>,
        timeout: Duration,
        done: impl Fn(&Power) -> bool,
    ) -> std::result::Result<MutexGuard<'a, Power>, MutexGuard<'a, Power>> {
        let began = Instant::now();
        while !done(&power) {
            let Some(left) = timeout.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(power);
            };
            power = self.changed.wait_timeout(power, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(power)
    }

    /// Takes the machine apart, whoever asked for it.
    fn halt(&self, mut power: MutexGuard<'_, Power>, event: &Event) {
        self.take_ejected(&mut power);
        let Some(Running { machine, disks, nics, balloon, backends, cpu_group, supervisor, .. }) =
            mem::take(&mut power.running)
        else {
            return;
        };
        drop(machine);
        drop((disks, nics, balloon, backends, cpu_group));
        self.enter(&mut power, PowerState::Halted, event);
        // The supervisor may be waiting for the lock that we hold.
        drop(power);
        if let Some(supervisor) = supervisor {
            supervisor.join();
        }
    }

    /// As [`halt`](Self::halt), called by the supervisor itself, which somebody else has to join.
    pub(super) fn halt_from_supervisor(&self, mut power: MutexGuard<'_, Power>, event: &Event) {
        let supervisor = power.running.as_mut().and_then(|running| running.supervisor.take());
        power.ended = supervisor;
        self.halt(power, event);
    }

    /// Puts the machine at power-on, loads again what it boots, and lets it run.
    fn reset(&self, power: &mut Power) -> Result<()> {
        let Some(Running { machine, .. }) = &power.running else { return Ok(()) };
        machine.park();
        self.take_wanted_out(power);
        let Some(Running { machine, backends, .. }) = &power.running else { return Ok(()) };
        machine.reset(&self.processors)?;
        machine.prepare(assemble::load(&self.config.boot, backends, machine.ram())?)?;
        machine.run();
        power.reboots += 1;
        power.reboot_on_power_off = false;
        Ok(())
    }

    /// The guest of run `run` switched itself off. Whether the VM still runs.
    pub(super) fn guest_powered_off(&self, run: u64, signals: &SignalReceiver) -> bool {
        let power = self.lock();
        if power.run != run || power.running.is_none() {
            return false;
        }
        if power.reboot_on_power_off {
            return self.reset_from_supervisor(power, signals, &Event::GuestReset);
        }
        self.halt_from_supervisor(power, &Event::GuestShutdown);
        false
    }

    /// The guest of run `run` wants to be reset. Whether the VM still runs.
    pub(super) fn guest_reset(&self, run: u64, signals: &SignalReceiver) -> bool {
        let power = self.lock();
        if power.run != run || power.running.is_none() {
            return false;
        }
        self.reset_from_supervisor(power, signals, &Event::GuestReset)
    }

    /// Resets the machine, called by the supervisor itself; `event` says why. Whether the VM still runs.
    pub(super) fn reset_from_supervisor(
        &self,
        mut power: MutexGuard<'_, Power>,
        signals: &SignalReceiver,
        event: &Event,
    ) -> bool {
        if let Some(running) = &power.running {
            running.machine.park();
        }
        // What the old guest has sent meanwhile is not the new one's.
        signals.clear();
        match self.reset(&mut power) {
            Ok(()) => {
                self.enter(&mut power, PowerState::Running, event);
                true
            }
            Err(error) => {
                self.halt_from_supervisor(power, &Event::Crashed(CrashReason::Reset(error.to_string())));
                false
            }
        }
    }
}
