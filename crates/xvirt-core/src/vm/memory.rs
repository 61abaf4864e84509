//! How much of its memory a running VM has, and what the guest says of it.

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

/// What a running VM does with its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// How much the guest is to have.
    pub target: ByteSize,
    /// How much it has, by what its balloon driver says; all of it while there is no driver.
    pub actual: ByteSize,
    /// What the guest reported last, since its driver came.
    pub guest: Option<GuestMemory>,
}

/// What a guest reports on its memory. Counts are since it booted; what it does not know is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestMemory {
    /// When the report came.
    pub taken: SystemTime,
    /// What the guest knows of.
    pub total: Option<ByteSize>,
    /// What is not used for anything.
    pub free: Option<ByteSize>,
    /// What could be used without swapping, disk caches given up.
    pub available: Option<ByteSize>,
    /// What caches hold of files.
    pub disk_caches: Option<ByteSize>,
    /// What was swapped in.
    pub swapped_in: Option<ByteSize>,
    /// What was swapped out.
    pub swapped_out: Option<ByteSize>,
    /// Page faults that had to wait for a disk.
    pub major_faults: Option<u64>,
    /// All page faults.
    pub minor_faults: Option<u64>,
}

impl MemoryStatistics {
    /// What the balloon of a VM of `memory` knows.
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
    /// Sets how much of its memory a running VM is to have. The guest's balloon driver gives the rest to the host, or
    /// takes it back; [`wait_memory_target`](Self::wait_memory_target) waits for that. The target outlasts reboots, and
    /// ends when the VM halts. A guest that runs out of memory takes back what it needs.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it cannot have so much or so little,
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

    /// Waits until the guest has just as much memory as it is to have.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted, also while this waits, or has no balloon;
    /// [`Timeout`](ErrorKind::Timeout) if it has not come to its target within `timeout`.
    pub fn wait_memory_target(&self, timeout: Duration) -> Result<()> {
        let (turn, _listed) = self.begin(Verb::WaitMemoryTarget)?;
        let balloon = self.balloon(Verb::WaitMemoryTarget)?;
        drop(turn);
        if balloon.wait_target(timeout) {
            return Ok(());
        }
        self.still_allows(Verb::WaitMemoryTarget)?;
        let now = MemoryStatistics::of(&balloon, self.inner.config.memory);
        let what = format!("VM '{}' has {} of memory after {timeout:?}, not {}", self.name(), now.actual, now.target);
        Err(Error::new(ErrorKind::Timeout, what)
            .with_remedy("give it more time or more memory, or see whether its guest has a balloon driver"))
    }

    /// What is known of its memory, without asking the guest.
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
    /// [`InvalidState`](ErrorKind::InvalidState) if it is halted, also while this waits, has no balloon, or its guest has no
    /// balloon driver now; [`Timeout`](ErrorKind::Timeout) if it has not answered within `timeout`.
    pub fn refresh_memory_statistics(&self, timeout: Duration) -> Result<MemoryStatistics> {
        let (turn, _listed) = self.begin(Verb::ReadMemoryStatistics)?;
        let balloon = self.balloon(Verb::ReadMemoryStatistics)?;
        drop(turn);
        if balloon.answers() && balloon.refresh(timeout) {
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

    /// The balloon, if `verb` is legal now.
    fn balloon_device<'a>(&self, live: &'a Live, verb: Verb) -> Result<&'a BalloonDevice> {
        verb.check(self.name(), live.state)?;
        live.running.as_ref().and_then(|running| running.balloon.as_ref()).ok_or_else(|| self.no_balloon())
    }

    fn no_balloon(&self) -> Error {
        Error::new(ErrorKind::InvalidState, format!("VM '{}' has no memory balloon", self.name()))
            .with_remedy("enable it in the configuration of the VM")
    }
}
