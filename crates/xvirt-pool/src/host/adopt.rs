//! Adopts the workers that an earlier service has left: goes on with those that live, records the ends of others, and asks
//! those that do not answer again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::Description;

use super::observe::{self, Positions};
use super::owner::{Owner, Phase};
use super::plan::{self, Observed, Recovery};
use super::settle::Settled;
use super::start::{power_state, promised, set_running, version};
use super::suspend::forget_saved_state;
use super::{Inner, attach, slot};
use crate::model::{DateTime, Ref, Task, Vm, VmOperations, VmPowerState};
use crate::operation::{Failure, codes};
use crate::sync::lock;
use crate::task;
use crate::worker::{End, Worker};

/// How many workers are looked at at once.
const AT_ONCE: usize = 16;
/// How long passes before a worker that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a worker may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one that did not answer may take when it is asked again.
const PATIENCE_AGAIN: Duration = Duration::from_secs(5);
/// How long all of them may take before those that answer are served.
const LOOK_AT_ALL: Duration = Duration::from_secs(60);

/// A worker that was found, with what it says of itself.
type Found = Result<Option<(Worker, Description)>, Failure>;

impl Inner {
    /// Goes on with the workers that live, and records the end of those that do not. Returns the VMs to start again.
    pub(crate) fn adopt(self: &Arc<Self>) -> Result<Vec<Ref<Vm>>, Failure> {
        let vms: BTreeMap<Uuid, Vm> =
            self.objects.all::<Vm>()?.into_iter().filter_map(|(vm, record)| Some((vm.uuid()?, record))).collect();
        let folders: BTreeSet<Uuid> = self.places.list()?.into_iter().collect();
        let looked: Vec<Uuid> = folders.into_iter().collect();
        let mut found = self.look_at(&looked);
        let mut restarts = Vec::new();
        for (uuid, record) in vms {
            let vm = Ref::<Vm>::new(uuid);
            let owner: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
            let worker = found.remove(&uuid).unwrap_or(Ok(None));
            let settled = owner.phase == Phase::None && record.current_operations.is_empty();
            if settled && matches!(worker, Ok(None)) {
                if owner.restart {
                    restarts.push(vm);
                }
                continue;
            }
            if let Err(failure) = self.recover(vm, record, &owner, worker) {
                // The others are not worse off for it.
                tracing::error!(%failure, %vm, "a VM cannot be adopted yet; it is tried again");
                self.adopt_later(vm);
                continue;
            }
            let now: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
            if now.restart && now.phase == Phase::None {
                restarts.push(vm);
            }
        }
        // Workers of VMs that the records do not know: after a restore of an older state, for example.
        for (uuid, worker) in found {
            match worker {
                Ok(None) => self.remove_place(uuid),
                _ => tracing::error!(vm = %uuid, "a worker lives whose VM is not in the records; it is left alone"),
            }
        }
        Ok(restarts)
    }

    /// Asks all workers what they are.
    fn look_at(&self, vms: &[Uuid]) -> BTreeMap<Uuid, Found> {
        let found = Mutex::new(BTreeMap::new());
        let next = Mutex::new(vms.iter());
        let deadline = Instant::now() + LOOK_AT_ALL;
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(vms.len()) {
                scope.spawn(|| {
                    loop {
                        let Some(vm) = lock(&next).next() else { return };
                        // Those that are left are asked again while the others are served.
                        let worker =
                            if Instant::now() < deadline { self.find(*vm, PATIENCE) } else { Err(not_asked()) };
                        lock(&found).insert(*vm, worker);
                    }
                });
            }
        });
        found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn find(&self, vm: Uuid, patience: Duration) -> Found {
        let took_over = self.settle(vm)? == Settled::Moved;
        let found = Worker::find_within(vm, 0, self.places.of(vm), patience)?;
        let Some(mut worker) = found else { return Ok(None) };
        worker.took_over = took_over;
        let described = worker.connect(Some(patience)).and_then(|(mut connection, _)| connection.describe());
        match described {
            Ok(description) => {
                worker.epoch = description.owner_epoch.unwrap_or_default();
                Ok(Some((worker, description)))
            }
            Err(_) if worker.wait(Some(Duration::from_secs(1))) => Ok(None),
            Err(error) => Err(codes::of_worker(&error)),
        }
    }

    /// Makes the records of a VM what its worker says.
    fn recover(self: &Arc<Self>, vm: Ref<Vm>, record: Vm, owner: &Owner, worker: Found) -> Result<(), Failure> {
        let uuid = vm.uuid().unwrap_or_default();
        let observed = match &worker {
            Ok(Some((worker, description))) => {
                let states = [Some(VmPowerState::Running), Some(VmPowerState::Paused)];
                Observed::Live { epoch: worker.epoch, active: states.contains(&power_state(description)) }
            }
            Ok(None) if owner.boot != self.boot => Observed::Gone(self.decided_end(vm, End::HostRestarted)),
            Ok(None) => Observed::Gone(self.decided_end(vm, self.places.of(uuid).end())),
            Err(failure) => {
                tracing::error!(%failure, %vm, "a worker does not answer; it is left alone until it does");
                Observed::Silent
            }
        };
        let running = matches!(observed, Observed::Live { active: true, .. });
        let recovery = plan::recover(owner, observed);
        match recovery {
            Recovery::Adopt => {}
            // It has its memory as long as it lives.
            Recovery::Wait => lock(&self.memory).has(uuid, promised(&record)),
            _ => lock(&self.memory).release(uuid),
        }
        match (recovery, worker) {
            (Recovery::Adopt, Ok(Some((worker, description)))) if running => {
                self.take_over(vm, record, owner, worker, &description)?;
            }
            (Recovery::Discard, Ok(Some((worker, _)))) => {
                // One whose VM has run, or was suspended, ends by itself and says why.
                if (owner.phase != Phase::Running || !worker.wait(Some(PATIENCE))) && !worker.discard() {
                    self.adopt_later(vm);
                    return Ok(());
                }
                let end = self.decided_end(vm, worker.place.end());
                if owner.phase == Phase::Running && record.power_state != VmPowerState::Suspended {
                    return self.recover_ended(vm, owner, &end);
                }
                self.recover_start(vm)?;
                self.remove_place(uuid);
            }
            (Recovery::Ended(end), _) => return self.recover_ended(vm, owner, &end),
            (Recovery::StartFailed(_), _) => {
                self.recover_start(vm)?;
                self.remove_place(uuid);
                self.tell(vm, crate::event::News::Interrupted);
            }
            (Recovery::Nothing, _) => {
                self.recover_start(vm)?;
                self.remove_place(uuid);
            }
            (Recovery::Wait, _) => {
                // What an earlier service was doing with it is over.
                self.objects.change(|change| {
                    let Some(mut record) = change.find(vm)? else { return Ok(()) };
                    end_operations(change, &mut record, false, self.now())?;
                    slot::put(change, vm, &mut record)
                })?;
                self.adopt_later(vm);
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks a worker that does not answer again and again, and goes on with it once it does.
    fn adopt_later(self: &Arc<Self>, vm: Ref<Vm>) {
        let inner = Arc::clone(self);
        self.spawn_watcher(vm, move || {
            while !inner.is_closing() {
                thread::sleep(ASK_AGAIN);
                match inner.adopt_silent(vm) {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(failure) => tracing::warn!(%failure, %vm, "a worker that was silent cannot be adopted yet"),
                }
            }
        });
    }

    /// Goes on with a worker that was silent; `false` if it still is.
    fn adopt_silent(self: &Arc<Self>, vm: Ref<Vm>) -> Result<bool, Failure> {
        let uuid = vm.uuid().unwrap_or_default();
        let asked: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        let worker = self.find(uuid, PATIENCE_AGAIN);
        // That can have taken long.
        let record = match self.objects.get(vm) {
            Err(failure) if failure.code == "HANDLE_INVALID" => return Ok(true),
            record => record?,
        };
        let owner: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        if owner.phase == Phase::None || owner.epoch != asked.epoch {
            // Somebody has powered it off.
            return Ok(true);
        }
        // An operation that has begun meanwhile ends first.
        if worker.is_err() || !record.current_operations.is_empty() {
            return Ok(false);
        }
        self.recover(vm, record, &owner, worker)?;
        let now: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        if now.restart && now.phase == Phase::None {
            self.start_by_itself(vm);
        }
        Ok(true)
    }

    fn take_over(
        self: &Arc<Self>,
        vm: Ref<Vm>,
        record: Vm,
        owner: &Owner,
        worker: Worker,
        description: &Description,
    ) -> Result<(), Failure> {
        lock(&self.memory).has(worker.vm, promised(&record));
        if record.power_state == VmPowerState::Suspended {
            self.remove_saved_state(vm);
        }
        let records = self.gather(vm, record)?;
        let positions = observe::positions(&records, description);
        let (epoch, state, now) = (worker.epoch, power_state(description), self.since_boot());
        // What is described has all events before; those that were not told yet may be worth a message.
        let seen = description.last_event;
        let told = if owner.phase == Phase::Running { owner.told } else { seen };
        let (host, boot, console, version) = (self.host, self.boot.clone(), Uuid::new_v4(), version(description));
        let (described, took_over, ended) = (positions.clone(), worker.took_over, self.now());
        // A store without room takes it later: the VM runs, and can be used.
        let _ = self.later.make(&self.objects, move |change| {
            let Some(mut record) = change.find(vm)? else { return Ok(()) };
            let mut owner = slot::owner_of(change, vm)?;
            // It may have ended before there was room.
            if owner.phase == Phase::None {
                return Ok(());
            }
            let was_starting = owner.phase != Phase::Running;
            if was_starting {
                (owner.started, owner.boot) = (now, boot.clone());
            }
            (owner.host, owner.epoch, owner.phase) = (host.uuid(), epoch, Phase::Running);
            (owner.seen, owner.told) = (seen, told);
            owner.restart = false;
            let resumed = record.power_state == VmPowerState::Suspended;
            record.power_state = state.unwrap_or(record.power_state);
            record.domid = i64::try_from(epoch).unwrap_or(i64::MAX);
            set_running(change, vm, &mut record, host, console)?;
            record.xvirt_worker_version.clone_from(&version);
            attach::set_attached(change, &record, |device| match &described {
                Some(positions) => Some(positions.has(device)),
                // It may have each that it was built with.
                None if was_starting => Some(true),
                None => None,
            })?;
            if resumed {
                forget_saved_state(change, &mut record)?;
            }
            end_operations(change, &mut record, took_over, ended)?;
            change.put_beside(&Owner::key(vm), &owner)?;
            slot::put(change, vm, &mut record)
        });
        if let Err(failure) = worker.place.remove_beside() {
            tracing::warn!(%failure, %vm, "the folder of a worker cannot be removed");
        }
        let Positions { disks, nics } = positions.unwrap_or_default();
        (*lock(&worker.disks), *lock(&worker.nics)) = (disks, nics);
        let worker = Arc::new(worker);
        lock(&self.workers).insert(worker.vm, Arc::clone(&worker));
        self.follow(worker, told);
        Ok(())
    }

    fn recover_ended(&self, vm: Ref<Vm>, owner: &Owner, end: &End) -> Result<(), Failure> {
        if self.record_end(vm, owner.epoch, end).is_err() {
            // It is recorded later. The exit record stays for the next service, in case this one ends before that.
            return Ok(());
        }
        self.recover_start(vm)?;
        let now: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        // Unless somebody has started it meanwhile.
        if now.epoch == owner.epoch {
            self.remove_place(vm.uuid().unwrap_or_default());
        }
        Ok(())
    }

    /// Ends what was being done with a VM that does not run.
    fn recover_start(&self, vm: Ref<Vm>) -> Result<(), Failure> {
        self.objects.change(|change| {
            let Some(mut record) = change.find(vm)? else { return Ok(()) };
            let owner = slot::owner_of(change, vm)?;
            if owner.phase != Phase::None {
                change.put_beside(&Owner::key(vm), &owner.release())?;
            }
            record.scheduled_to_be_resident_on = Ref::NULL;
            end_operations(change, &mut record, false, self.now())?;
            slot::put(change, vm, &mut record)
        })
    }
}

fn not_asked() -> Failure {
    codes::internal("other workers did not answer in time")
}

/// Whether a VM in this power state is what the operation was to make of it.
fn is_done(operation: VmOperations, state: VmPowerState) -> bool {
    use VmOperations as Op;
    use VmPowerState as State;
    match operation {
        Op::Start | Op::StartOn | Op::Resume | Op::ResumeOn => matches!(state, State::Running | State::Paused),
        Op::CleanShutdown | Op::HardShutdown => state == State::Halted,
        Op::Pause => state == State::Paused,
        Op::Unpause => state == State::Running,
        Op::Suspend => state == State::Suspended,
        _ => false,
    }
}

/// Ends the tasks that were changing a VM: as done, if the VM is as they were to make it. `moved` says whether it is in
/// a new worker.
fn end_operations(
    change: &mut crate::objects::Change<'_>,
    record: &mut Vm,
    moved: bool,
    now: DateTime,
) -> Result<(), Failure> {
    for (task, operation) in std::mem::take(&mut record.current_operations) {
        let Ok(task) = task.parse::<Ref<Task>>() else { continue };
        let Some(mut found) = change.find(task)? else { continue };
        if !task::has_ended(&found) {
            let done = match operation {
                VmOperations::PoolMigrate => moved,
                other => is_done(other, record.power_state),
            };
            let outcome = if done { Ok(Value::Null) } else { Err(task::interrupted()) };
            task::end(&mut found, &outcome, now);
            change.put(task, &found)?;
        }
    }
    Ok(())
}
