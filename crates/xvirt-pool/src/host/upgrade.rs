//! Moving a running VM to a new worker, whose program may be another version: `VM.xvirt_upgrade_worker`.
//!
//! The new worker is made beside the old one, and both are asked for the hand-over. `settle` says what came of it, here as
//! well as after a crash of the service.
//!
//! Its result is how long the guest was stopped, in seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_core::migrate::MigrationSummary;
use xvirt_worker::protocol::{Answer, Description, Request, Slot};

use super::observe::{self, Positions};
use super::owner::Phase;
use super::settle::Settled;
use super::start::{power_state, version};
use super::{Inner, attach, descriptors};
use crate::model::{Ref, Vbd, Vdi, Vm, VmOperations, VmPowerState};
use crate::operation::{Failure, codes};
use crate::sync::lock;
use crate::task::Running;
use crate::worker::config::Records;
use crate::worker::{Worker, parts};

/// How long a worker may take to hand its VM over. It gives up sooner by itself.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long passes before workers that have not decided are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const STACK: usize = 256 << 10;
/// How far the task is once the new worker is there.
const WORKER_MADE: f64 = 0.5;

/// What the records say of a disk.
type DiskRecords = (Uuid, Vbd, Vdi);

/// A VM in its new worker.
struct Moved {
    worker: Arc<Worker>,
    description: Description,
    /// Where its devices are, if the worker says so.
    positions: Option<Positions>,
    /// How long the guest was stopped.
    downtime: Duration,
}

impl Moved {
    /// The devices that the VM had before, and has no longer.
    fn lost(&self, records: &Records) -> BTreeSet<Uuid> {
        let Some(positions) = &self.positions else { return BTreeSet::new() };
        let disks = records.disks.iter().filter(|(_, vbd, _)| vbd.currently_attached).map(|(uuid, ..)| *uuid);
        let nics = records.nics.iter().filter(|(_, vif, _)| vif.currently_attached).map(|(uuid, ..)| *uuid);
        disks.chain(nics).filter(|device| !positions.has(*device)).collect()
    }
}

impl Inner {
    /// Moves a running VM to a new worker.
    pub(crate) fn upgrade_worker(self: &Arc<Self>, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        let record = self.begin(running, vm, VmOperations::PoolMigrate, |_, _| Ok(()))?;
        let upgraded = self.move_to_new_worker(running, vm, record);
        let outcome = match &upgraded {
            Ok((_, moved)) => Ok(json!(moved.downtime.as_secs_f64())),
            Err(failure) => Err(failure.clone()),
        };
        let now = upgraded.ok();
        let followed = now.as_ref().map(|(_, moved)| (Arc::clone(&moved.worker), moved.description.last_event));
        let recorded = self.finish(running, vm, &outcome, move |change, record, owner| {
            let Some((records, moved)) = &now else { return Ok(()) };
            // It may have ended since.
            if owner.epoch != moved.worker.epoch || owner.phase != Phase::Running {
                return Ok(());
            }
            owner.seen = moved.description.last_event;
            owner.told = owner.seen;
            record.xvirt_worker_version = version(&moved.description);
            if let Some(state @ (VmPowerState::Running | VmPowerState::Paused)) = power_state(&moved.description) {
                record.power_state = state;
            }
            // What is being plugged in meanwhile is not in the records that were moved.
            let lost = moved.lost(records);
            attach::set_attached(change, record, |device| lost.contains(&device).then_some(false))
        });
        if let Some((worker, seen)) = followed {
            // The next service needs what is beside if the store has not got the end of the task.
            if recorded.is_ok() {
                worker.place.forget_move();
            }
            self.follow(worker, seen);
        }
        outcome.and_then(|value| recorded.map(|()| value))
    }

    fn move_to_new_worker(&self, running: &Running, vm: Ref<Vm>, record: Vm) -> Result<(Records, Moved), Failure> {
        let uuid = vm.uuid().unwrap_or_default();
        let old = self.worker(uuid).ok_or_else(codes::just_ended)?;
        // An earlier one may have ended without an answer.
        self.settle(uuid).and_then(|_| old.place.remove_beside())?;
        let undecided = old.begin_hand_over();
        // Devices are plugged in before or afterwards.
        let (mut disks, mut nics) = (lock(&old.disks), lock(&old.nics));
        let records = self.gather(vm, record)?;
        descriptors::require(&records)?;
        let description = described(&old).and_then(|description| {
            require_movable(&description)?;
            Ok(description)
        })?;
        running.check()?;
        let memory = u64::try_from(records.vm.memory_static_max).unwrap_or(0);
        let new = self.launcher.make_beside(&old, memory).map_err(kept)?;
        let _ = self.objects.change(|change| running.record_progress(change, WORKER_MADE));
        let asked = running.check().and_then(|()| self.hand_over(&old, &new, disks_of(&records, &description)?));
        if asked.is_err() {
            // It has no VM, unless it was asked.
            let _ = new.ask(&Request::Build(Box::default()), &[]);
        }
        let settled = match self.settle_at_last(uuid) {
            Ok(settled) => settled,
            // The next service finds out. This one says nothing about the end of either.
            Err(failure) => {
                undecided.done();
                return Err(failure);
            }
        };
        if settled == Settled::Kept {
            new.wait(Some(super::END_PATIENCE));
            let _ = old.place.remove_beside();
            let failure = || codes::internal("the new worker did not take the VM over").with_remedy("see the VM's log");
            return Err(asked.err().map_or_else(failure, kept));
        }
        let downtime = asked.unwrap_or_default();
        let moved = match self.find_moved(&old, &records, downtime) {
            Ok(Some(moved)) => moved,
            // What follows is decided by its exit record, which is in the place of the old one's.
            Ok(None) => return Err(codes::internal("the VM was moved to a new worker, which has ended since")),
            Err(failure) => {
                undecided.done();
                return Err(failure);
            }
        };
        if let Some(positions) = &moved.positions {
            (*disks, *nics) = (positions.disks.clone(), positions.nics.clone());
        }
        lock(&self.workers).insert(uuid, Arc::clone(&moved.worker));
        undecided.done();
        old.give_up_watch();
        Ok((records, moved))
    }

    /// Asks both workers, and waits for both.
    fn hand_over(&self, old: &Worker, new: &Worker, disks: Vec<&DiskRecords>) -> Result<Duration, Failure> {
        let failed = |error: xvirt_worker::Error| codes::of_worker(&error);
        let cannot = |error: std::io::Error| codes::internal(format!("cannot connect two workers: {error}"));
        let (mut from, _) = old.connect(Some(PATIENCE)).map_err(failed)?;
        let (here, there) = UnixStream::pair().map_err(cannot)?;
        let (wish, files) = parts::take_over(disks, &self.report, there)?;
        let (mut to, _) = new.connect(Some(PATIENCE)).map_err(failed)?;
        thread::scope(|scope| {
            let take = move || {
                let taken = to.call(&Request::TakeOver(Box::new(wish)), &files.borrowed());
                // If it was not taken, the old worker must not wait for it.
                drop(files);
                taken
            };
            let target = thread::Builder::new().name("take-over".to_owned()).stack_size(STACK);
            let target = target.spawn_scoped(scope, take).map_err(cannot)?;
            let given = from.call(&Request::HandOver { channel: Slot(0) }, &[here.as_fd()]);
            drop(here);
            let taken = target.join().unwrap_or(Ok(Answer::Nothing));
            match (given, taken) {
                (Ok(Answer::Report(report)), _) => {
                    let summary = report.read::<MigrationSummary>("what a worker reports of its hand-over");
                    let downtime = summary.map(|summary| summary.downtime).unwrap_or_default();
                    tracing::info!(vm = %old.vm, ?downtime, "a VM was moved to a new worker");
                    Ok(downtime.total())
                }
                (Ok(_), _) | (_, Ok(_)) => Ok(Duration::ZERO),
                (Err(given), Err(taken)) => Err(failed(cause_of(given, taken))),
            }
        })
    }

    /// Waits until it is decided which worker has the VM.
    fn settle_at_last(&self, vm: Uuid) -> Result<Settled, Failure> {
        loop {
            match self.settle(vm) {
                Err(failure) if !self.is_closing() => {
                    tracing::warn!(%failure, %vm, "it is not decided where a VM runs")
                }
                settled => return settled,
            }
            thread::sleep(ASK_AGAIN);
        }
    }

    /// The new worker of a VM, whose files are in their place; `None` if it has ended.
    fn find_moved(&self, old: &Worker, records: &Records, downtime: Duration) -> Result<Option<Moved>, Failure> {
        loop {
            match moved_from(old, records, downtime) {
                Err(failure) if !self.is_closing() => {
                    tracing::warn!(%failure, vm = %old.vm, "a worker that has taken a VM over does not answer");
                }
                found => return found,
            }
            thread::sleep(ASK_AGAIN);
        }
    }
}

fn moved_from(old: &Worker, records: &Records, downtime: Duration) -> Result<Option<Moved>, Failure> {
    let Some(new) = Worker::find(old.vm, old.epoch, old.place.clone())? else { return Ok(None) };
    let new = new.instead_of(old);
    let described = new.connect(Some(PATIENCE)).and_then(|(mut connection, _)| connection.describe());
    match described {
        Ok(description) => {
            let positions = observe::positions(records, &description);
            Ok(Some(Moved { worker: Arc::new(new), description, positions, downtime }))
        }
        Err(_) if new.wait(Some(ASK_AGAIN)) => Ok(None),
        Err(error) => Err(codes::of_worker(&error)),
    }
}

/// Checks that another worker can have what this one has.
fn require_movable(description: &Description) -> Result<(), Failure> {
    let config: Value =
        description.config.as_ref().and_then(|json| serde_json::from_str(&json.0).ok()).unwrap_or_default();
    let shared = config.pointer("/memory_backing/shared").and_then(Value::as_bool).unwrap_or(false);
    let nics = config.get("nics").and_then(Value::as_array);
    let known = nics.is_none_or(|nics| nics.iter().all(|nic| nic.get("mtu").is_some_and(Value::is_number)));
    if shared && known {
        return Ok(());
    }
    let what = "the VM was started by a service that did not prepare for this: its memory is private to its worker";
    Err(codes::not_allowed(what, "shut the VM down and start it: then it runs in a new worker, and can be moved later"))
}

fn described(worker: &Worker) -> Result<Description, Failure> {
    let described = worker.connect(Some(super::END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
    described.map_err(|error| codes::of_worker(&error))
}

/// The records of a worker's disks, in its order. Only what the records name is opened, whatever the worker says.
fn disks_of<'a>(records: &'a Records, description: &Description) -> Result<Vec<&'a DiskRecords>, Failure> {
    let found = observe::positions(records, description).unwrap_or_default().disks;
    let by_position: BTreeMap<u64, Uuid> = found.into_iter().map(|(vbd, position)| (position, vbd)).collect();
    let of = |position: &u64| {
        let vbd = by_position.get(position)?;
        records.disks.iter().find(|(uuid, ..)| uuid == vbd)
    };
    let unknown = |position: &u64| {
        codes::internal(format!("the worker has a disk at position {position} that is not in the records"))
            .with_remedy("shut the VM down and start it: then it runs in a new worker")
    };
    description.disk_positions.iter().map(|position| of(position).ok_or_else(|| unknown(position))).collect()
}

/// The one of two workers' errors that says why: the other one says that its peer has gone.
fn cause_of(given: xvirt_worker::Error, taken: xvirt_worker::Error) -> xvirt_worker::Error {
    if matches!(given.kind(), "peer_failed" | xvirt_worker::kind::GONE) { taken } else { given }
}

/// The failure of an upgrade after which the VM is where it was.
fn kept(mut failure: Failure) -> Failure {
    if let Some(what) = failure.parameters.first_mut()
        && ["INTERNAL_ERROR", "OPERATION_NOT_ALLOWED"].contains(&failure.code.as_str())
    {
        *what = format!("the VM stays in its old worker: {what}");
    }
    failure
}

#[cfg(test)]
mod tests {
    use xvirt_worker::protocol::{Json, Versions};

    use super::*;

    #[test]
    fn a_vm_that_an_older_service_started_is_refused_with_what_to_do() {
        let of = |config: &str| Description {
            worker: String::new(),
            versions: Versions { oldest: 1, newest: 1 },
            vm: None,
            name: None,
            power_state: None,
            owner_epoch: None,
            config: Some(Json(config.to_owned())),
            disk_positions: vec![0],
            nic_positions: Vec::new(),
            last_event: 0,
            missing_walls: Vec::new(),
        };
        require_movable(&of(r#"{"memory_backing":{"shared":true},"nics":[{"mtu":1500}]}"#)).unwrap();
        for config in [
            "{}",
            "[",
            r#"{"memory_backing":{"shared":false}}"#,
            r#"{"memory_backing":{"shared":true},"nics":[{"mtu":1500},{"mtu":null}]}"#,
        ] {
            assert_eq!(require_movable(&of(config)).unwrap_err().code, "OPERATION_NOT_ALLOWED", "{config}");
        }
        // A worker names no file that the service opens for another one.
        let records = Records { uuid: Uuid::new_v4(), vm: Vm::default(), disks: Vec::new(), nics: Vec::new() };
        let hostile = of(r#"{"disks":[{"source":{"image":{"path":"/etc/shadow"}}}]}"#);
        assert!(disks_of(&records, &hostile).unwrap_err().to_string().contains("not in the records"));
    }
}
