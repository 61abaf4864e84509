//! The requests of a service.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use xvirt_core::config::{ByteSize, Disk, Nic};
use xvirt_core::console::Console;
use xvirt_core::vm::{PowerState, Resume};

use super::build::{self, Guest};
use super::hand_over;
use super::sources::{Received, replace_disk, replace_nic};
use super::{Worker, lock};
use crate::protocol::{Answer, ConsoleKind, Description, Json, NewDisk, NewNic, Request, VERSIONS};
use crate::{Cause, Error, Result, kind};

/// The longest time that a request waits for a guest.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What becomes of the connection.
pub(super) enum Done {
    /// It gets an answer.
    Answer(Answer),
    /// It becomes a stream of the events after this number.
    Events(u64),
    /// It becomes a console.
    Console(Console),
}

/// Carries out a request. It may take as long as its timeout.
pub(super) fn carry_out(worker: &Worker, request: Request, descriptors: Vec<OwnedFd>) -> Result<Done> {
    let done = match request {
        Request::Build(build) => build::build(worker, &build, descriptors).map(|()| Answer::Nothing)?,
        Request::TakeOver(other) => hand_over::take_over(worker, &other, descriptors).map(|()| Answer::Nothing)?,
        Request::Describe => Answer::Description(Box::new(describe(worker)?)),
        Request::Events { after } => return Ok(Done::Events(after)),
        Request::Console { console } => {
            let guest = worker.guest()?;
            let vm = &guest.vm;
            let console = if console == ConsoleKind::Virtio { vm.virtio_console() } else { vm.console() };
            return Ok(Done::Console(console.clone()));
        }
        Request::End => end(worker),
        request => of_vm(&*worker.guest()?, request, Received::new(descriptors))?,
    };
    Ok(Done::Answer(done))
}

/// Carries out a request about the VM.
fn of_vm(guest: &Guest, request: Request, mut received: Received) -> Result<Answer> {
    let vm = &guest.vm;
    match request {
        Request::Start => {
            require_unused(guest)?;
            vm.start()?;
        }
        Request::Resume { how } => {
            let _turn = lock(&guest.state);
            require_not_suspended(guest)?;
            let how: Resume = how.map(|how| how.read("how to resume")).transpose()?.unwrap_or_default();
            return Ok(Answer::Report(Json::of(&vm.resume_with(how, &())?)?));
        }
        Request::CleanShutdown { timeout } => vm.clean_shutdown(limit(timeout))?,
        Request::HardShutdown => {
            let _turn = lock(&guest.state);
            // Otherwise what it has just been saved to would be dropped.
            require_not_suspended(guest)?;
            vm.hard_shutdown()?;
        }
        Request::CleanReboot { timeout } => vm.clean_reboot(limit(timeout))?,
        Request::HardReboot => vm.hard_reboot()?,
        Request::Pause => vm.pause()?,
        Request::Unpause => vm.unpause()?,
        Request::Suspend { file } => {
            let file = received.take(file, "the saved state")?;
            return suspend(guest, file);
        }
        Request::HandOver { channel } => return hand_over::hand_over(guest, received.take(channel, "the channel")?),
        Request::ResolveHandOver { moved } => vm.resolve_migration(moved)?,
        Request::PlugDisk(disk) => return plug_disk(guest, &disk, received),
        Request::UnplugDisk { position, timeout } => vm.unplug_disk(place(position)?, limit(timeout))?,
        Request::ResizeDisk { position, size } => vm.resize_disk(place(position)?, size)?,
        Request::PlugNic(nic) => return plug_nic(guest, &nic, received),
        Request::UnplugNic { position, timeout } => vm.unplug_nic(place(position)?, limit(timeout))?,
        Request::SetDiskLimit { position, limit } => vm.set_disk_limit(place(position)?, limit.read("the limit")?)?,
        Request::SetNicLimit { position, limit } => vm.set_nic_limit(place(position)?, limit.read("the limit")?)?,
        Request::SetMemoryTarget { target } => vm.set_memory_target(ByteSize::new(target))?,
        Request::Statistics => return Ok(Answer::Statistics(Json::of(&vm.statistics())?)),
        _ => return Err(Error::new(kind::UNKNOWN_REQUEST, "this request is not about the VM")),
    }
    Ok(Answer::Nothing)
}

/// A worker ends with its VM, so that a start cannot come between.
fn require_unused(guest: &Guest) -> Result<()> {
    let halted = guest.vm.power_state() == PowerState::Halted;
    if halted && build::ended(&guest.vm).is_some() {
        return Err(Error::new(kind::GONE, "the VM has ended, and its worker ends with it")
            .with_remedy("start it in another worker"));
    }
    Ok(())
}

/// Suspends the VM, with which the worker ends.
fn suspend(guest: &Guest, file: OwnedFd) -> Result<Answer> {
    let _turn = lock(&guest.state);
    let report = guest.vm.suspend_to(file, &())?;
    guest.suspended.store(true, Ordering::SeqCst);
    Ok(Answer::Report(Json::of(&report)?))
}

/// A VM that was suspended here is resumed by another worker.
fn require_not_suspended(guest: &Guest) -> Result<()> {
    if guest.suspended.load(Ordering::SeqCst) {
        return Err(Error::new(kind::GONE, "the VM was suspended, and its worker ends with it")
            .with_remedy("resume it in another worker"));
    }
    Ok(())
}

fn plug_disk(guest: &Guest, disk: &NewDisk, mut received: Received) -> Result<Answer> {
    let mut config: Disk = disk.config.read("the configuration of the disk")?;
    let source = replace_disk(&mut config, &disk.layers, &mut received)?;
    let position = guest.vm.plug_disk(config)?;
    lock(&guest.sources).add_disk(position, source);
    Ok(Answer::Position(position as u64))
}

fn plug_nic(guest: &Guest, nic: &NewNic, mut received: Received) -> Result<Answer> {
    let mut config: Nic = nic.config.read("the configuration of the network interface")?;
    let source = replace_nic(&mut config, nic.backend, &mut received)?;
    let position = guest.vm.plug_nic(config)?;
    lock(&guest.sources).add_nic(position, source);
    Ok(Answer::Position(position as u64))
}

/// Ends the worker, with its VM. A saved state stays: it is all that is left of its guest.
fn end(worker: &Worker) -> Answer {
    worker.end.intend(Cause::Requested);
    let mut cause = Cause::Requested;
    if let Ok(guest) = worker.guest() {
        let _turn = lock(&guest.state);
        if guest.suspended.load(Ordering::SeqCst) {
            cause = Cause::Suspended;
        } else if guest.vm.power_state() != PowerState::Suspended {
            // Fails if it is halted already.
            let _ = guest.vm.hard_shutdown();
        }
    }
    worker.end.because(cause);
    Answer::Nothing
}

fn describe(worker: &Worker) -> Result<Description> {
    let guest = match worker.guest() {
        Ok(guest) => Some(guest),
        Err(error) if error.kind() == kind::INVALID_STATE => None,
        Err(error) => return Err(error),
    };
    let mut description = Description {
        worker: env!("CARGO_PKG_VERSION").to_owned(),
        versions: VERSIONS,
        vm: None,
        name: None,
        power_state: None,
        owner_epoch: None,
        config: None,
        disk_positions: Vec::new(),
        nic_positions: Vec::new(),
        last_event: worker.history.last(),
        missing_walls: worker.missing_walls.clone(),
    };
    if let Some(guest) = guest {
        describe_vm(&guest, &mut description)?;
    }
    Ok(description)
}

fn describe_vm(guest: &Arc<Guest>, description: &mut Description) -> Result<()> {
    let vm = &guest.vm;
    let (mut config, disks, nics) = guest.config()?;
    lock(&guest.sources).restore(&mut config, &disks, &nics);
    let numbers = |positions: Vec<usize>| positions.into_iter().map(|position| position as u64).collect();
    description.vm = Some(vm.uuid().to_string());
    description.name = Some(vm.name().to_owned());
    description.power_state = Some(vm.power_state().to_string());
    description.owner_epoch = Some(guest.owner_epoch);
    description.config = Some(Json::of(&config)?);
    description.disk_positions = numbers(disks);
    description.nic_positions = numbers(nics);
    Ok(())
}

fn limit(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(LONGEST)
}

fn place(position: u64) -> Result<usize> {
    usize::try_from(position).map_err(|_| Error::new(kind::INVALID_CONFIG, "there is no such position"))
}
