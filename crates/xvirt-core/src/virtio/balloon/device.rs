//! The driver-visible side of a balloon, and the operations of the VM's owner on it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::GuestReport;
use super::handler::BalloonHandler;
use crate::memory::Contents;
use crate::sandbox::Work;
use crate::sync::lock;
use crate::virtio::device::read_config_bytes;
use crate::virtio::{BalloonState, DeviceKind, DeviceState, Handler, VirtioDevice};
use crate::wait::{Ended, Wait, cancelled};
use crate::{Error, Result};

/// Inflate, deflate, statistics, and two for free page reporting: see [`handler`](super::handler).
const QUEUE_SIZES: [u16; 5] = [128, 128, 16, 32, 32];

/// Feature bits (section 5.5.3).
const STATISTICS: u64 = 1 << 1;
const DEFLATE_ON_OOM: u64 = 1 << 2;
/// A driver that fills free pages with a pattern reports them only if it can tell the device that pattern.
const PAGE_POISON: u64 = 1 << 4;
const REPORTING: u64 = 1 << 5;

/// Offsets of the fields that the driver writes (section 5.5.4).
const ACTUAL: usize = 4;
const POISON: usize = 12;

/// A memory balloon.
#[derive(Debug)]
pub(crate) struct Balloon {
    shared: Arc<Shared>,
    reporting: bool,
    interval: Option<Duration>,
}

/// State that vCPUs, the worker and the owner share.
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Wakes the worker to request statistics.
    question: EventFd,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) target: u32,
    pub(super) actual: u32,
    pub(super) poison: u32,
    pub(super) report: Option<GuestReport>,
    /// A driver that supplies statistics is present.
    pub(super) answering: bool,
    /// The number of the last request for statistics, and of the last one answered.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// The VM is halted; no more answers will come.
    ended: bool,
}

impl Balloon {
    /// Restores the balloon from `state`. The guest supplies statistics each `interval`, or only on request.
    pub(crate) fn new(interval: Option<Duration>, state: BalloonState) -> Result<Self> {
        let question = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|e| Error::io("cannot create the event of a balloon", e))?;
        let BalloonState { target, actual, poison, reporting } = state;
        let inner =
            Inner { target, actual, poison, report: None, answering: false, asked: 0, answered: 0, ended: false };
        let shared = Shared { inner: Mutex::new(inner), changed: Condvar::new(), question };
        Ok(Self { shared: Arc::new(shared), reporting, interval })
    }

    /// Sets the number of pages that the host wants; the transport notifies the driver.
    pub(crate) fn set_target(&self, pages: u32) {
        self.shared.change(|inner| inner.target = pages);
    }

    /// Ends all waits, because the VM is halted.
    pub(crate) fn end(&self) {
        self.shared.change(|inner| inner.ended = true);
    }

    /// The current state as the driver sees it.
    pub(crate) fn state(&self) -> BalloonState {
        let inner = self.shared.lock();
        BalloonState { target: inner.target, actual: inner.actual, poison: inner.poison, reporting: self.reporting }
    }

    /// The guest's latest memory statistics, if the current driver has supplied any.
    pub(crate) fn report(&self) -> Option<GuestReport> {
        self.shared.lock().report
    }

    /// Whether a driver that supplies statistics is present.
    pub(crate) fn answers(&self) -> bool {
        self.shared.lock().answering
    }

    /// Requests statistics and waits for them; `false` if none arrive within `timeout`, or if the driver is gone.
    ///
    /// # Errors
    /// The caller has cancelled the wait.
    pub(crate) fn refresh(&self, timeout: Duration) -> Result<bool> {
        let question = self.shared.ask();
        // Fails only if the counter is full; then the worker is awake already.
        let _ = self.shared.question.write(1);
        let answered = |inner: &Inner| inner.answered >= question;
        let inner = self
            .shared
            .wait(timeout, "the memory statistics of the guest", |inner| answered(inner) || !inner.answering)?;
        Ok(answered(&inner))
    }

    /// Waits until the balloon has its target size; `false` if it has not within `timeout`, or if the VM was halted.
    ///
    /// # Errors
    /// The caller has cancelled the wait.
    pub(crate) fn wait_target(&self, timeout: Duration) -> Result<bool> {
        let reached = |inner: &Inner| inner.actual == inner.target;
        let inner = self.shared.wait(timeout, "the guest to reach its memory target", reached)?;
        Ok(reached(&inner) && !inner.ended)
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Applies a change and wakes all waiters.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Discards what the driver said, because it is gone. The host's target stays.
    pub(super) fn forget_driver(&self) {
        self.change(|inner| (inner.actual, inner.poison, inner.report, inner.answering) = (0, 0, None, false));
    }

    /// Counts a request for statistics and returns its number.
    pub(super) fn ask(&self) -> u64 {
        let mut inner = self.lock();
        inner.asked += 1;
        inner.asked
    }

    pub(super) fn question(&self) -> RawFd {
        self.question.as_raw_fd()
    }

    /// Clears the event.
    pub(super) fn hear(&self) {
        // The worker may have cleared it already.
        let _ = self.question.read();
    }

    /// Waits until `done`, at most `timeout`, or until the VM is halted.
    fn wait(&self, timeout: Duration, what: &str, done: impl Fn(&Inner) -> bool) -> Result<MutexGuard<'_, Inner>> {
        let over = |inner: &Inner| done(inner) || inner.ended;
        match Wait::at_most(timeout).until_done(&self.changed, &self.inner, self.lock(), over) {
            (_, Err(Ended::Cancelled)) => Err(cancelled(what)),
            (inner, _) => Ok(inner),
        }
    }
}

impl VirtioDevice for Balloon {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Balloon
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        STATISTICS | DEFLATE_ON_OOM | PAGE_POISON | if self.reporting { REPORTING } else { 0 }
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let BalloonState { target, actual, poison, .. } = self.state();
        // The third field is the free page hint command; that feature is not offered.
        let fields = [target, actual, 0, poison].map(u32::to_le_bytes);
        read_config_bytes(fields.as_flattened(), offset, data);
    }

    fn write_config(&self, offset: usize, data: &[u8]) {
        let Ok(value) = data.try_into().map(u32::from_le_bytes) else { return };
        match offset {
            ACTUAL => self.shared.change(|inner| inner.actual = value),
            POISON => self.shared.change(|inner| inner.poison = value),
            _ => {}
        }
    }

    fn activate(&self, features: u64) -> Result<Box<dyn Handler>> {
        let statistics = features & STATISTICS != 0;
        self.shared.change(|inner| inner.answering = statistics);
        let interval = self.interval.filter(|_| statistics);
        // Without the feature, drivers must expect anything in reported pages; with it, what they had (section 5.5.6.7).
        let contents = if features & PAGE_POISON == 0 { Contents::Undefined } else { Contents::Zeroes };
        let reported = (features & REPORTING != 0).then_some(contents);
        Ok(Box::new(BalloonHandler::new(Arc::clone(&self.shared), interval, reported)))
    }

    fn reset(&self) {
        self.shared.forget_driver();
    }

    fn save(&self) -> DeviceState {
        DeviceState::Balloon(self.state())
    }

    fn work(&self) -> Option<Work> {
        Some(Work::Memory)
    }
}
