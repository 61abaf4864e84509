//! The memory target of a running VM, and the memory statistics of its guest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Vm;
use super::assemble::{BalloonDevice, balloon_pages};
use super::live::Live;
use super::state::Verb;
use crate::config::{ByteSize, PAGE, check_memory_target};
use crate::virtio::{Balloon, GuestReport};
use crate::{Error, ErrorKind, Result};

/// The memory of a running VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// How much memory the guest should have.
    pub target: ByteSize,
    /// How much it has, according to its balloon driver; all of it while there is no driver.
    pub actual: ByteSize,
    /// The guest's last report since its driver was loaded.
    pub guest: Option<GuestMemory>,
}

/// A guest's report on its memory. Counters start at its boot; values that the guest does not report are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestMemory {
    /// When the report arrived.
    pub taken: SystemTime,
    /// The memory known to the guest.
    pub total: Option<ByteSize>,
    /// The unused memory.
    pub free: Option<ByteSize>,
    /// The memory that could be used without swapping, including reclaimable disk caches.
    pub available: Option<ByteSize>,
    /// The memory used to cache files.
    pub disk_caches: Option<ByteSize>,
    /// The amount swapped in.
    pub swapped_in: Option<ByteSize>,
    /// The amount swapped out.
    pub swapped_out: Option<ByteSize>,
    /// Page faults that waited for a disk.
    pub major_faults: Option<u64>,
    /// All page faults.
    pub minor_faults: Option<u64>,
}

impl MemoryStatistics {
    /// The state of the balloon of a VM with `memory`.
    pub(super) fn of(balloon: &Balloon, memory: ByteSize) -> Self {
        let state = balloon.state();
        let left = |pages: u32| ByteSize::new(memory.bytes().saturating_sub(u64::from(pages) * PAGE));
        Self { target: left(state.target), actual: left(state.actual), guest: balloon.report().map(GuestMemory::from) }
    }
}

impl From<GuestReport> for GuestMemory {
    fn from(report: GuestReport) -> Self {
        let size = |bytes: Option<u64>| bytes.map(ByteSize::new);
        Self {
            taken: report.taken,
            total: size(report.total),
            free: size(report.free),
            available: size(report.available),
            disk_caches: size(report.disk_caches),
            swapped_in: size(report.swapped_in),
            swapped_out: size(report.swapped_out),
            major_faults: report.major_faults,
            minor_faults: report.minor_faults,
        }
    }
}

impl Vm {
    /// Sets how much of its memory a running VM should have. The guest's balloon driver releases the rest to the host,
    /// or claims it again; [`wait_memory_target`](Self::wait_memory_target) waits for that. The target is kept across
    /// reboots, until the VM halts. A guest that runs out of memory claims what it needs.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the target is too high or too low,
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted or has no balloon.
    pub fn set_memory_target(&self, target: ByteSize) -> Result<()> {
        let config = &self.inner.config;
        check_memory_target(target, config.memory, &config.memory_backing)?;
        let _turn = self.begin(Verb::SetMemoryTarget)?;
        let live = self.inner.live();
        let device = self.balloon_device(&live, Verb::SetMemoryTarget)?;
        device.balloon.set_target(balloon_pages(config.memory, target));
        device.function.config_changed();
        Ok(())
    }

    /// Waits until the guest has exactly the memory of its target.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted, or is halted while this waits, or has no balloon;
    /// [`Timeout`](ErrorKind::Timeout) if it has not reached its target within `timeout`.
    pub fn wait_memory_target(&self, timeout: Duration) -> Result<()> {
        let (turn, _listed) = self.begin(Verb::WaitMemoryTarget)?;
        let balloon = self.balloon(Verb::WaitMemoryTarget)?;
        drop(turn);
        if balloon.wait_target(timeout)? {
            return Ok(());
        }
        self.still_allows(Verb::WaitMemoryTarget)?;
        let now = MemoryStatistics::of(&balloon, self.inner.config.memory);
        let what = format!("VM '{}' has {} of memory after {timeout:?}, not {}", self.name(), now.actual, now.target);
        Err(Error::new(ErrorKind::Timeout, what)
            .with_remedy("give it more time or more memory, or see whether its guest has a balloon driver"))
    }

    /// The last known memory statistics, without asking the guest.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted or has no balloon.
    pub fn memory_statistics(&self) -> Result<MemoryStatistics> {
        let live = self.live()?;
        Verb::ReadMemoryStatistics.check(self.name(), live.state)?;
        live.statistics().memory.ok_or_else(|| self.no_balloon())
    }

    /// Asks the guest for a report on its memory, and waits for it.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted, or is halted while this waits, has no balloon, or its
    /// guest has no balloon driver loaded; [`Timeout`](ErrorKind::Timeout) if the guest has not answered within
    /// `timeout`.
    pub fn refresh_memory_statistics(&self, timeout: Duration) -> Result<MemoryStatistics> {
        let (turn, _listed) = self.begin(Verb::ReadMemoryStatistics)?;
        let balloon = self.balloon(Verb::ReadMemoryStatistics)?;
        drop(turn);
        if balloon.answers() && balloon.refresh(timeout)? {
            return Ok(MemoryStatistics::of(&balloon, self.inner.config.memory));
        }
        self.still_allows(Verb::ReadMemoryStatistics)?;
        if !balloon.answers() {
            let what = format!("the guest of VM '{}' has no balloon driver now", self.name());
            return Err(
                Error::new(ErrorKind::InvalidState, what).with_remedy("let it boot first, and load virtio_balloon")
            );
        }
        let what = format!("VM '{}' has not reported on its memory within {timeout:?}", self.name());
        Err(Error::new(ErrorKind::Timeout, what).with_remedy("give it more time; a paused VM does not answer"))
    }

    fn balloon(&self, verb: Verb) -> Result<Arc<Balloon>> {
        Ok(Arc::clone(&self.balloon_device(&*self.live()?, verb)?.balloon))
    }

    /// The balloon, if `verb` is legal in the current state.
    fn balloon_device<'a>(&self, live: &'a Live, verb: Verb) -> Result<&'a BalloonDevice> {
        verb.check(self.name(), live.state)?;
        live.running.as_ref().and_then(|running| running.balloon.as_ref()).ok_or_else(|| self.no_balloon())
    }

    fn no_balloon(&self) -> Error {
        Error::new(ErrorKind::InvalidState, format!("VM '{}' has no memory balloon", self.name()))
            .with_remedy("enable it in the configuration of the VM")
    }
}
