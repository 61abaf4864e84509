//! The PCI function of a device, from power-on to unplugging.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
};

use super::layout::{self, BAR, BAR_SIZE, MAX_QUEUES, NOTIFY, PAGE, Places};
use super::registers::{Registers, TRANSPORT_FEATURES, notify_offset};
use crate::bus::BusDevice;
use crate::device::{Device, not_paused};
use crate::kvm::ThreadTime;
use crate::memory::GuestRam;
use crate::pci::{ConfigSpace, ConfigState, PciHost};
use crate::sandbox::Filter;
use crate::sync::lock;
use crate::virtio::failure::Failures;
use crate::virtio::interrupt::{Interrupt, InterruptState};
use crate::virtio::worker::{Control, Surroundings, Wake, Worker};
use crate::virtio::{DeviceKind, DeviceState, Malformed, Queues, VirtQueue, VirtioDevice};
use crate::{Error, ErrorKind, Result};

pub(super) const FEATURES_OK: u8 = VIRTIO_CONFIG_S_FEATURES_OK as u8;
pub(super) const DRIVER_OK: u8 = VIRTIO_CONFIG_S_DRIVER_OK as u8;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;

/// A virtio device in a PCI slot. Dropping it ends its worker and releases its machine resources.
#[derive(Debug)]
pub(crate) struct VirtioPci {
    pub(super) device: Arc<dyn VirtioDevice>,
    memory: GuestRam,
    host: Arc<dyn PciHost>,
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) wake: Arc<Wake>,
    /// The address of the BAR at power-on.
    bar: u64,
    /// The host CPU time of its workers.
    worker_time: Arc<ThreadTime>,
    failures: Arc<Failures>,
    pub(super) inner: Mutex<Inner>,
    this: Weak<Self>,
}

/// State that accesses to configuration space and to the common structure change.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: ConfigSpace,
    pub(super) places: Places,
    pub(super) registers: Registers,
    /// Serves the queues, from `DRIVER_OK` to reset.
    worker: Option<Worker>,
    /// The worker takes no requests.
    paused: bool,
    /// The address at which the machine maps the BAR.
    mapped: Option<u64>,
    /// The addresses of the ioeventfds.
    doorbells: Vec<u64>,
}

/// All guest-visible state of a device, and nothing of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VirtioPciState {
    /// PCI configuration space.
    pub(crate) config: ConfigState,
    /// The common configuration structure.
    pub(crate) registers: Registers,
    /// Status and interrupts.
    pub(crate) interrupt: InterruptState,
    /// The state of the device itself, for its constructor.
    pub(crate) device: DeviceState,
}

/// The BAR on the machine's bus; it does not keep the function alive.
#[derive(Debug)]
struct Bar(Weak<VirtioPci>);

impl BusDevice for Bar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match self.0.upgrade() {
            Some(function) => function.bar_read(offset, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(function) = self.0.upgrade() {
            function.bar_write(offset, data);
        }
    }
}

impl VirtioPci {
    /// Puts `device` behind a BAR of [`BAR_SIZE`] bytes at `bar`. With a saved state, the BAR is at the guest's
    /// address, and the device is paused.
    pub(crate) fn new(
        device: Arc<dyn VirtioDevice>,
        memory: GuestRam,
        host: Arc<dyn PciHost>,
        bar: u64,
        state: Option<&VirtioPciState>,
    ) -> Result<Arc<Self>> {
        Self::make(device, memory, host, bar, state, true)
    }

    /// Like [`new`](Self::new), but for a running guest without firmware to assign the BAR: the BAR is inactive until
    /// the guest has assigned and enabled it, so it cannot overlap other devices.
    pub(crate) fn new_plugged(
        device: Arc<dyn VirtioDevice>,
        memory: GuestRam,
        host: Arc<dyn PciHost>,
        bar: u64,
    ) -> Result<Arc<Self>> {
        Self::make(device, memory, host, bar, None, false)
    }

    fn make(
        device: Arc<dyn VirtioDevice>,
        memory: GuestRam,
        host: Arc<dyn PciHost>,
        bar: u64,
        state: Option<&VirtioPciState>,
        enabled: bool,
    ) -> Result<Arc<Self>> {
        let name = device.kind().name();
        let sizes = device.queue_sizes();
        let queues = sizes.len();
        if queues > MAX_QUEUES {
            return Err(Error::new(ErrorKind::InvalidConfig, format!("{name} cannot have {queues} queues"))
                .with_remedy(format!("use at most {MAX_QUEUES}")));
        }
        let interrupt = Arc::new(Interrupt::new(Arc::clone(&host), queues, state.map(|s| &s.interrupt))?);
        let (mut config, places) = layout::config_space(device.kind(), queues, &interrupt.msix, bar)?;
        if !enabled {
            config.disable_memory();
        }
        let mut registers = Registers::new(sizes);
        if let Some(state) = state {
            config.restore(&state.config)?;
            check(state, sizes, device.features() | TRANSPORT_FEATURES, name)?;
            registers = state.registers.clone();
        }
        let wake = Arc::new(Wake::new()?);
        let paused = state.is_some();
        let inner = Inner { config, places, registers, worker: None, paused, mapped: None, doorbells: Vec::new() };
        let this = Arc::new_cyclic(|this| Self {
            device,
            memory,
            host,
            interrupt,
            wake,
            bar,
            worker_time: Arc::default(),
            failures: Arc::default(),
            inner: Mutex::new(inner),
            this: this.clone(),
        });
        let mut inner = lock(&this.inner);
        this.place(&mut inner)?;
        if this.interrupt.status() & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK {
            this.activate(&mut inner)?;
        }
        drop(inner);
        Ok(this)
    }

    /// The kind of device it carries.
    pub(crate) fn kind(&self) -> DeviceKind {
        self.device.kind()
    }

    /// The host CPU time that its workers have used.
    pub(crate) fn worker_time(&self) -> Duration {
        self.worker_time.total()
    }

    /// Calls `listener` on a vCPU's or the device's thread with the error when the host cannot serve the device; it
    /// must not block. The driver sees that it must reset the device.
    pub(crate) fn on_failure(&self, listener: impl Fn(&Error) + Send + Sync + 'static) {
        self.failures.listen(Box::new(listener));
    }

    /// Makes the worker check all queues, as after a notification, because something it waited for has happened.
    pub(crate) fn kick(&self) {
        self.wake.serve_all();
    }

    /// Notifies the driver of a changed device configuration, such as a grown disk or a link that went down.
    pub(crate) fn config_changed(&self) {
        if self.interrupt.status() & DRIVER_OK != 0 {
            self.interrupt.config_changed();
        }
    }

    /// Ends the worker and releases the addresses. The device cannot be used afterwards.
    pub(crate) fn stop(&self) {
        let mut inner = lock(&self.inner);
        inner.worker = None;
        self.unplace(&mut inner);
    }

    /// The features offered to the driver.
    pub(super) fn offered(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES
    }

    /// Handles the driver's write to the device status (virtio 1.2, section 2.1).
    pub(super) fn set_status(&self, inner: &mut Inner, status: u8) {
        if status == 0 {
            return self.reset_device(inner);
        }
        let old = self.interrupt.status();
        // Only the device may set `DEVICE_NEEDS_RESET`: a driver that sets it would lose its worker after a restore.
        let mut new = status & !old & !NEEDS_RESET;
        if new & FEATURES_OK != 0 && !inner.registers.acceptable(self.offered()) {
            new &= !FEATURES_OK;
        }
        if (old | new) & FEATURES_OK == 0 {
            new &= !DRIVER_OK;
        }
        self.interrupt.add_status(new);
        if new & DRIVER_OK != 0 {
            // The worker itself detects later failures.
            if let Err(error) = self.activate(inner) {
                self.interrupt.needs_reset(&error);
                if error.kind() != ErrorKind::GuestFault {
                    self.failures.tell(&error);
                }
            }
        }
    }

    /// Starts to serve the queues that the driver enabled.
    fn activate(&self, inner: &mut Inner) -> Result<()> {
        let name = self.device.kind().name();
        let control = Control::new(inner.paused, Arc::clone(&self.wake));
        let mut queues = Vec::new();
        for index in 0..self.device.queue_sizes().len() {
            let Some(state) = inner.registers.queue_state(index) else {
                queues.push(None);
                continue;
            };
            let (memory, interrupt) = (self.memory.clone(), self.interrupt.clone());
            let queue = VirtQueue::new(state, index, memory, interrupt, control.stop_serving());
            let why = || Malformed("a ring is not aligned or not in guest memory");
            queues.push(Some(queue.ok_or_else(why).map_err(|why| {
                Error::new(ErrorKind::GuestFault, format!("queue {index} of {name} cannot be used: {why}"))
            })?));
        }
        // Before the worker starts, because it would report a working device even if this fails.
        self.attach_doorbells(inner)?;
        let handler = self.device.activate(inner.registers.driver_features)?;
        let filter = self.device.work().filter(|_| self.host.filters_threads()).map(Filter::new).transpose()?;
        let (time, failures) = (self.worker_time.clone(), self.failures.clone());
        let surroundings = Surroundings { host: self.host.clone(), filter, time, failures };
        let interrupt = self.interrupt.clone();
        let worker = Worker::start(name, control, handler, Queues(queues), interrupt, surroundings)?;
        if inner.paused {
            // From now on the device can be saved.
            worker.pause();
        }
        inner.worker = Some(worker);
        Ok(())
    }

    /// Resets the device on the driver's request (section 2.4).
    fn reset_device(&self, inner: &mut Inner) {
        inner.worker = None;
        self.detach_doorbells(inner);
        self.device.reset();
        self.interrupt.reset_device();
        inner.registers = Registers::new(self.device.queue_sizes());
    }

    /// Maps the BAR at its new address, if the guest has moved it. While memory decoding is off, the guest may be
    /// sizing the BAR, so nothing changes.
    pub(super) fn place(&self, inner: &mut Inner) -> Result<()> {
        let wanted = inner.config.memory_bar(BAR);
        if !inner.config.memory_enabled() || inner.mapped == Some(wanted) {
            return Ok(());
        }
        self.unplace(inner);
        self.host.map(wanted, BAR_SIZE, Arc::new(Bar(self.this.clone())))?;
        inner.mapped = Some(wanted);
        if inner.worker.is_some() { self.attach_doorbells(inner) } else { Ok(()) }
    }

    fn unplace(&self, inner: &mut Inner) {
        self.detach_doorbells(inner);
        if let Some(old) = inner.mapped.take() {
            log(self.host.unmap(old, BAR_SIZE));
        }
    }

    fn attach_doorbells(&self, inner: &mut Inner) -> Result<()> {
        let Some(bar) = inner.mapped else { return Ok(()) };
        for queue in inner.registers.enabled() {
            let address = bar + NOTIFY * PAGE + notify_offset(queue);
            self.host.attach_doorbell(address, self.wake.event())?;
            inner.doorbells.push(address);
        }
        Ok(())
    }

    fn detach_doorbells(&self, inner: &mut Inner) {
        for address in inner.doorbells.drain(..) {
            log(self.host.detach_doorbell(address, self.wake.event()));
        }
    }
}

impl Device for VirtioPci {
    type State = VirtioPciState;

    fn name(&self) -> &'static str {
        self.device.kind().name()
    }

    /// Waits until no request is in flight; the worker takes none until it is resumed.
    fn pause(&self) {
        let mut inner = lock(&self.inner);
        inner.paused = true;
        if let Some(worker) = &inner.worker {
            worker.pause();
        }
    }

    /// The worker checks all queues, as after a notification.
    fn resume(&self) {
        let mut inner = lock(&self.inner);
        inner.paused = false;
        if let Some(worker) = &inner.worker {
            worker.resume();
        }
    }

    /// Returns the BAR to its power-on address, which another function may occupy.
    fn reset(&self) -> Result<()> {
        let mut inner = lock(&self.inner);
        self.reset_device(&mut inner);
        self.failures.forget();
        self.interrupt.reset();
        let queues = self.device.queue_sizes().len();
        (inner.config, inner.places) =
            layout::config_space(self.device.kind(), queues, &self.interrupt.msix, self.bar)?;
        self.place(&mut inner)
    }

    /// # Errors
    /// The device is not paused, or its worker has panicked.
    fn save(&self) -> Result<VirtioPciState> {
        let inner = lock(&self.inner);
        if !inner.paused {
            return Err(not_paused());
        }
        let mut registers = inner.registers.clone();
        if let Some(worker) = &inner.worker {
            let panicked = || Error::new(ErrorKind::InvalidState, "its worker thread has panicked");
            let positions = worker.positions().ok_or_else(panicked)?;
            for (queue, position) in registers.queues.iter_mut().zip(positions) {
                if let Some(position) = position {
                    (queue.next_avail, queue.next_used) = (position.next_avail, position.next_used);
                }
            }
        }
        Ok(VirtioPciState {
            config: inner.config.save(),
            registers,
            interrupt: self.interrupt.save(),
            device: self.device.save(),
        })
    }
}

impl Drop for VirtioPci {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Logs errors that neither the guest nor a caller can receive. A guest can cause them at any rate, so the level is
/// low.
pub(super) fn log(result: Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "cannot map the addresses of a virtio device");
    }
}

/// Checks that this device can have been in the saved state.
fn check(state: &VirtioPciState, sizes: &[u16], offered: u64, name: &str) -> Result<()> {
    let queues = &state.registers.queues;
    let fits = queues.len() == sizes.len()
        && state.interrupt.queue_vectors.len() == sizes.len()
        && queues.iter().zip(sizes).all(|(q, max)| q.size.is_power_of_two() && q.size <= *max)
        && (state.interrupt.status & FEATURES_OK == 0 || state.registers.acceptable(offered));
    if fits {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("the saved {name} has other queues or features than this one"))
        .with_remedy("restore with the devices that the VM was saved with"))
}
