//! Builds the VM from descriptors, and follows what happens to it.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::VmConfig;
use xvirt_core::vm::{Event, EventReceiver, EventRecord, HaltCause, PowerState, SuspendedVm, Vm};

use super::sources::{Received, Sources};
use super::{Place, Worker, lock};
use crate::protocol::{Build, EventFrame, Json};
use crate::{Cause, Error, Result, kind};

const STACK: usize = 256 << 10;

/// The VM of the worker.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) vm: Vm,
    pub(super) owner_epoch: u64,
    pub(super) sources: Mutex<Sources>,
    /// Whether a request has suspended it here.
    pub(super) suspended: AtomicBool,
    /// Held while a request saves the guest, goes on from its saved state, or cuts its power: whoever cuts it must know
    /// whether the guest is in memory or in a file.
    pub(super) state: Mutex<()>,
}

impl Guest {
    pub(super) fn new(vm: Vm, owner_epoch: u64, mut sources: Sources) -> Self {
        sources.place(&vm);
        let suspended = AtomicBool::new(false);
        Self { vm, owner_epoch, sources: Mutex::new(sources), suspended, state: Mutex::default() }
    }

    /// The configuration of the VM, and the positions of its disks and network interfaces, all of which have names.
    pub(super) fn config(&self) -> Result<(VmConfig, Vec<usize>, Vec<usize>)> {
        let positions = || (self.vm.disk_positions(), self.vm.nic_positions());
        loop {
            let (disks, nics) = positions();
            let config = self.vm.config()?;
            // A device may have been plugged in or ejected meanwhile, and gets its name in a moment.
            let named = lock(&self.sources).has(&disks, &nics);
            if named && (&disks, &nics) == (&self.vm.disk_positions(), &self.vm.nic_positions()) {
                return Ok((config, disks, nics));
            }
            thread::yield_now();
        }
    }
}

/// Builds the VM. If that fails, the worker ends.
pub(super) fn build(worker: &Worker, build: &Build, descriptors: Vec<OwnedFd>) -> Result<()> {
    occupy(worker, || construct(build, descriptors))
}

/// Makes the VM of this worker. If that fails, the worker ends.
pub(super) fn occupy(worker: &Worker, make: impl FnOnce() -> Result<Guest>) -> Result<()> {
    {
        let mut place = lock(&worker.place);
        if !matches!(*place, Place::Empty) {
            return Err(Error::new(kind::INVALID_STATE, "this worker has a VM already")
                .with_remedy("start another worker for another VM"));
        }
        *place = Place::Taken;
    }
    let built = make().and_then(|guest| {
        let events = guest.vm.events()?;
        Ok((Arc::new(guest), events))
    });
    let followed = built.and_then(|(guest, events)| {
        worker.end.set_vm(guest.vm.uuid().to_string());
        worker.end.record_signals(&guest.vm.uuid().to_string());
        follow(worker, &guest, events)?;
        Ok(guest)
    });
    match followed {
        Ok(guest) => {
            tracing::info!(vm = %guest.vm.uuid(), name = guest.vm.name(), "the VM was built");
            *lock(&worker.place) = Place::Built(guest);
            Ok(())
        }
        Err(error) => {
            worker.end.because(Cause::BuildFailed { error: error.clone() });
            Err(error)
        }
    }
}

fn construct(build: &Build, descriptors: Vec<OwnedFd>) -> Result<Guest> {
    let mut received = Received::new(descriptors);
    let host = received.host(&build.host, build.kvm)?;
    let mut config: VmConfig = build.config.read("the configuration of the VM")?;
    let sources = Sources::replace(&mut config, build, &mut received)?;
    let vm = match build.saved_state {
        None => config.build(&host)?,
        Some(slot) => {
            let file = received.take(slot, "the saved state")?;
            SuspendedVm::from_descriptor(file)?.build_with(config, &host)?
        }
    };
    Ok(Guest::new(vm, build.owner_epoch, sources))
}

/// Starts the thread that keeps the VM's events, and ends the worker with the VM.
fn follow(worker: &Worker, guest: &Arc<Guest>, events: EventReceiver) -> Result<()> {
    let (history, end, guest) = (Arc::clone(&worker.history), Arc::clone(&worker.end), Arc::downgrade(guest));
    let run = move || {
        // Fails once the VM is dropped.
        while let Some(record) = next(&events) {
            match Json::of(&record) {
                Ok(json) => history.add(EventFrame { sequence: record.sequence, record: json }),
                Err(error) => tracing::error!(%error, "an event is lost"),
            }
            let Some(guest) = guest.upgrade() else { continue };
            if matches!(record.event, Event::DiskUnplugged { .. } | Event::NicUnplugged { .. }) {
                lock(&guest.sources).forget_absent(&guest.vm);
            }
            if let Some(cause) = ended(&guest.vm) {
                end.because(cause);
            }
        }
    };
    let started = thread::Builder::new().name("events".to_owned()).stack_size(STACK).spawn(run);
    started.map(drop).map_err(|e| Error::io("cannot start a thread for events", &e))
}

/// The next event; `None` once the VM is dropped.
fn next(events: &EventReceiver) -> Option<EventRecord> {
    const LONG: Duration = Duration::from_secs(3600);
    loop {
        match events.next_timeout(LONG) {
            Ok(record) => return Some(record),
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(_) => return None,
        }
    }
}

/// Why the VM has ended, if it has.
pub(super) fn ended(vm: &Vm) -> Option<Cause> {
    if vm.power_state() == PowerState::Suspended {
        // One that was built suspended has not ended: its first event is that it runs.
        return Some(Cause::Suspended);
    }
    match vm.halted()?.cause {
        HaltCause::NotStarted => None,
        HaltCause::GuestShutdown => Some(Cause::GuestShutdown),
        HaltCause::Migrated => Some(Cause::Migrated),
        HaltCause::Crashed(reason) => Some(Cause::Crashed { reason: reason.to_string() }),
        _ => Some(Cause::HardShutdown),
    }
}
