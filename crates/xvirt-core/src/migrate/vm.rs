//! Moves VMs: what the two sides need of one, and the calls of a program.

use super::channel::Channel;
use super::decision::CommitDecision;
use super::message::Offer;
use super::report::{MigrationObserver, MigrationSummary};
use super::settings::{Migration, Reception};
use super::source::{self, Outcome, SourceVm};
use super::target::{self, Refusal, TargetVm};
use crate::config::VmConfig;
use crate::host::Host;
use crate::memory::GuestRam;
use crate::progress::{Done, Progress};
use crate::state::DirtyPages;
use crate::state::ranges_of;
use crate::vm::{ArrivingVm, Incoming, Outgoing, Vm};
use crate::{Error, Result};

impl Vm {
    /// Asks the target at the other end of `channel`, which called [`receive`], whether it would take the VM, and moves
    /// nothing. The target checks the same as for a migration, and then waits for further connections.
    ///
    /// Only what can be known while the guest runs is checked; a migration can still fail.
    ///
    /// # Errors
    /// [`MigrationRefused`](crate::ErrorKind::MigrationRefused) with everything that is missing at the target; others as
    /// [`migrate`](Self::migrate).
    pub fn check_migration(
        &self,
        channel: &dyn Channel,
        settings: &Migration,
        observer: &dyn MigrationObserver,
    ) -> Result<()> {
        source::check(&mut self.begin_migration()?, channel, settings, observer)
    }

    /// Moves the VM to the target at the other end of `channel`, which called [`receive`], while its guest runs. The
    /// [module](crate::migrate) has an example and describes all outcomes.
    ///
    /// # Errors
    /// After an error the guest runs on here, unless the VM is [paused](crate::vm::PowerState::Paused), until
    /// [`resolve_migration`](Self::resolve_migration) decides: with [`Indeterminate`](crate::ErrorKind::Indeterminate), the guest
    /// may run at the target; with any other kind, a disk could not be opened here again.
    ///
    /// Errors are [`InvalidState`](crate::ErrorKind::InvalidState) if it is not running; [`Busy`](crate::ErrorKind::Busy) while a
    /// [`clean_shutdown`](Self::clean_shutdown) or [`clean_reboot`](Self::clean_reboot) waits for the guest; [`InvalidConfig`](crate::ErrorKind::InvalidConfig)
    /// if it cannot be moved; [`MigrationRefused`](crate::ErrorKind::MigrationRefused) with all reasons of the target;
    /// [`PeerFailed`](crate::ErrorKind::PeerFailed); [`Timeout`](crate::ErrorKind::Timeout); [`Cancelled`](crate::ErrorKind::Cancelled); and
    /// errors of the connections.
    pub fn migrate(
        &self,
        channel: &dyn Channel,
        settings: &Migration,
        decision: &dyn CommitDecision,
        observer: &dyn MigrationObserver,
    ) -> Result<MigrationSummary> {
        let mut outgoing = self.begin_migration()?;
        outgoing.require_memory(&Cancellation(observer))?;
        match source::migrate(&mut outgoing, channel, settings, decision, observer) {
            Outcome::Migrated(summary) => {
                outgoing.migrated();
                Ok(summary)
            }
            Outcome::Resumed(error) => Err(error),
            Outcome::Paused { cause, reclaim } => {
                drop(outgoing);
                let what =
                    format!("VM '{}' stays paused, because a disk cannot be opened again: {reclaim}", self.name());
                Err(Error::new(reclaim.kind(), what)
                    .because(cause)
                    .with_remedy("make the disk available, and call resolve_migration(false)"))
            }
            // Dropped, `outgoing` leaves the VM paused.
            Outcome::Indeterminate(error) => Err(error),
        }
    }
}

/// Cancels the wait for memory that is still being loaded. It is not part of what a migration reports.
struct Cancellation<'a>(&'a dyn MigrationObserver);

impl Progress for Cancellation<'_> {
    fn report(&self, _: Done) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Waits for a source to connect over `channel`, and receives the VM that it [migrates](Vm::migrate) here. When this
/// returns, its guest runs here.
///
/// The wait has no time limit; `observer` can [cancel](MigrationObserver::cancelled) it. Peers that connect but are not a
/// source, or not the first one, are logged and dropped.
///
/// `accept` gets the VM as the source describes it, and returns its configuration here: the same with the paths, networks
/// and sockets of this host; or all reasons why it is not taken, which the source reports. It must have the same number
/// of vCPUs, disks and network interfaces, and the same memory, in a file for a
/// [local hand-over](ArrivingVm::is_local_hand_over). Its disks are opened only when the source has closed them; descriptors
/// of them must have been opened for it alone, since duplicates share the locks of the source.
///
/// Sources that only [ask](Vm::check_migration) whether their VM would be taken are answered before, so `accept` can be
/// called several times. It should have no effects that outlast it if the VM [is only checked](ArrivingVm::is_only_checked).
///
/// # Errors
/// The guest does not run here, and never will: its memory, disks and locks were given back.
/// [`Cancelled`](crate::ErrorKind::Cancelled); [`MigrationRefused`](crate::ErrorKind::MigrationRefused) with all reasons of `accept` and
/// of this host; [`PeerFailed`](crate::ErrorKind::PeerFailed); [`Timeout`](crate::ErrorKind::Timeout); or an error of the connections,
/// disks or machine.
pub fn receive(
    channel: &dyn Channel,
    host: &Host,
    settings: &Reception,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
    accept: &mut dyn FnMut(&ArrivingVm) -> std::result::Result<VmConfig, Vec<String>>,
) -> Result<Vm> {
    let refuse = |errors: Vec<Error>| Refusal { reasons: errors.iter().map(Error::to_string).collect() };
    target::receive(channel, settings, decision, observer, &mut |offer, memory| {
        let arriving = ArrivingVm::decode(&offer.requirements, &offer.configuration);
        let arriving = arriving.map_err(|error| unreadable(&error, &offer.version))?;
        let arriving = arriving.only_checked(offer.check).local_hand_over(memory.is_some());
        let config = accept(&arriving).map_err(|reasons| Refusal { reasons })?;
        Incoming::new(&arriving, config, host, memory).map_err(refuse)
    })
}

/// Refuses a VM whose description cannot be read, with the versions, which may be the cause.
fn unreadable(error: &Error, source: &str) -> Refusal {
    let target = env!("CARGO_PKG_VERSION");
    Refusal { reasons: vec![format!("{error} (the source runs xvirt {source:?}, and the target {target:?})")] }
}

impl SourceVm for Outgoing<'_> {
    fn offer(&self) -> Result<Offer> {
        let (configuration, requirements) = Outgoing::offer(self)?;
        Ok(Offer {
            uuid: self.vm().uuid(),
            name: self.vm().name().to_owned(),
            configuration,
            memory: ranges_of(Outgoing::memory(self)),
            requirements,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            check: false,
        })
    }

    fn memory(&self) -> &GuestRam {
        Outgoing::memory(self)
    }

    fn start_dirty_log(&self) -> Result<()> {
        Outgoing::start_dirty_log(self)
    }

    fn take_dirty(&self) -> Result<DirtyPages> {
        let bitmaps = Outgoing::take_dirty(self)?;
        Ok(DirtyPages::of_regions(Outgoing::memory(self), &bitmaps))
    }

    fn stop_dirty_log(&self) {
        Outgoing::stop_dirty_log(self);
    }

    fn throttle(&self, percent: u8) -> Result<()> {
        Outgoing::throttle(self, percent.into())
    }

    fn flush(&self) -> Result<()> {
        Outgoing::flush(self)
    }

    fn park(&mut self) -> Result<()> {
        Outgoing::park(self)
    }

    fn release(&mut self) -> Result<Vec<u8>> {
        Outgoing::release(self)
    }

    fn reclaim(&mut self) -> Result<()> {
        Outgoing::reclaim(self)
    }
}

impl TargetVm for Incoming {
    type Running = Vm;

    fn memory(&self) -> &GuestRam {
        Self::memory(self)
    }

    fn prepare(&mut self, state: &[u8]) -> Result<()> {
        Self::prepare(self, state)
    }

    fn run(self) -> Result<Vm> {
        Self::run(self)
    }
}
