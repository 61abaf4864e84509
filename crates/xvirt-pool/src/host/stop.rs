//! Ending and interrupting the run of a VM.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::Request;
use xvirt_worker::{Cause, kind};

use super::later::FULL;
use super::owner::{Owner, Phase};
use super::start::power_state;
use super::suspend::forget_saved_state;
use super::{END_PATIENCE, Inner};
use crate::model::{Ref, Vm, VmOperations, VmPowerState};
use crate::operation::{Failure, codes, power};
use crate::sync::lock;
use crate::task::Running;
use crate::worker::{End, Worker};

/// How much longer than the guest the worker may take.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a worker may take to say whether its VM has ended.
const LOOK: Duration = Duration::from_secs(20);

impl Inner {
    /// Powers a VM off, or drops its saved state.
    pub(crate) fn hard_shutdown(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        let record = match self.begin(running, vm, VmOperations::HardShutdown, |_, _| Ok(())) {
            // Power can always be cut. What comes of it is recorded once there is room.
            Err(failure) if failure.code == FULL => return self.power_off_unrecorded(vm, failure),
            begun => begun?,
        };
        let outcome = if record.power_state == VmPowerState::Suspended {
            self.drop_saved_state(&record)
        } else {
            self.power_off(vm)
        };
        let halted = outcome.is_ok();
        let recorded = self.finish(running, vm, &outcome, move |change, record, _| {
            if halted && record.power_state == VmPowerState::Suspended {
                forget_saved_state(change, record)?;
                super::watch::set_halted(change, record, true)?;
            }
            Ok(())
        });
        outcome.and_then(|value| recorded.map(|()| value))
    }

    fn power_off_unrecorded(&self, vm: Ref<Vm>, full: Failure) -> Result<Value, Failure> {
        let record = self.objects.get(vm)?;
        power::require(&record, vm, VmOperations::HardShutdown)?;
        if record.power_state == VmPowerState::Suspended {
            return Err(full);
        }
        self.power_off(vm)
    }

    fn power_off(&self, vm: Ref<Vm>) -> Result<Value, Failure> {
        let uuid = vm.uuid().unwrap_or_default();
        let end = loop {
            let Some(worker) = self.worker(uuid) else { break self.power_off_unknown(vm, uuid)? };
            cut_power(&worker, vm);
            // Otherwise the VM is in the worker that has taken it over meanwhile.
            if !worker.is_replaced() {
                break Some(ended(&worker, vm)?);
            }
        };
        if end == Some(End::Recorded(Cause::Suspended)) {
            // A suspend was faster.
            self.drop_saved_state(&self.objects.get(vm)?)?;
        }
        Ok(Value::Null)
    }

    /// Powers off a VM whose worker does not answer, or has just ended.
    fn power_off_unknown(&self, vm: Ref<Vm>, uuid: Uuid) -> Result<Option<End>, Failure> {
        let owner: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        if owner.phase == Phase::None {
            return Ok(None);
        }
        let place = self.places.of(uuid);
        // One that was to take the VM over may have it.
        for place in [place.beside(), place.clone()] {
            let Some(worker) = Worker::find_unasked(uuid, owner.epoch, place)? else { continue };
            tracing::warn!(vm = %vm, "a worker that does not answer is killed, because its VM is to be powered off");
            worker.kill();
            if !worker.wait(Some(END_PATIENCE)) {
                return Err(codes::internal(format!("the worker of the VM {vm} was killed, and has not ended yet"))
                    .with_remedy("see in the log of the kernel what it waits for"));
            }
        }
        let end = self.decided_end(vm, place.end());
        self.record_end(vm, owner.epoch, &end)?;
        lock(&self.memory).release(uuid);
        self.remove_place(uuid);
        Ok(Some(end))
    }

    /// The worker of a VM; `None` if the VM has ended.
    ///
    /// # Errors
    /// `OPERATION_NOT_ALLOWED`: it has one, which does not answer.
    pub(crate) fn worker_or_why(&self, vm: Ref<Vm>) -> Result<Option<Arc<Worker>>, Failure> {
        if let Some(worker) = vm.uuid().and_then(|uuid| self.worker(uuid)) {
            return Ok(Some(worker));
        }
        let owner: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
        if owner.phase != Phase::Running {
            return Ok(None);
        }
        Err(codes::not_allowed("the worker of the VM does not answer", "wait until it does, or use VM.hard_shutdown"))
    }

    /// Asks the guest to shut down, and waits for that.
    pub(crate) fn clean_shutdown(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        self.begin(running, vm, VmOperations::CleanShutdown, |_, _| Ok(()))?;
        let timeout = milliseconds(self.options.shutdown_timeout);
        let outcome =
            self.ask_guest(running, vm, &Request::CleanShutdown { timeout }).and_then(|worker| match worker {
                Some(worker) => ended(&worker, vm).map(|_| Value::Null),
                None => Ok(Value::Null),
            });
        let recorded = self.finish(running, vm, &outcome, |_, _, _| Ok(()));
        outcome.and_then(|value| recorded.map(|()| value))
    }

    /// Asks the guest to shut down, waits for that, and starts it again.
    pub(crate) fn clean_reboot(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        self.begin(running, vm, VmOperations::CleanReboot, |_, _| Ok(()))?;
        let timeout = milliseconds(self.options.shutdown_timeout);
        let asked = self.ask_guest(running, vm, &Request::CleanReboot { timeout });
        let outcome = asked.and_then(|worker| worker.map(|_| Value::Null).ok_or_else(codes::just_ended));
        let recorded = self.finish(running, vm, &outcome, |_, _, _| Ok(()));
        outcome.and_then(|value| recorded.map(|()| value))
    }

    /// Sends a request that waits for the guest; the task can be cancelled meanwhile, but not what the guest was asked.
    fn ask_guest(&self, running: &Running, vm: Ref<Vm>, request: &Request) -> Result<Option<Arc<Worker>>, Failure> {
        let Some(worker) = self.worker_or_why(vm)? else { return Ok(None) };
        let patience = self.options.shutdown_timeout + MARGIN;
        let asked = worker.connect(Some(patience)).and_then(|(mut connection, copy)| {
            running.waits_for(Some(copy));
            connection.call(request, &[])
        });
        running.waits_for(None);
        match asked {
            Ok(_) => Ok(Some(worker)),
            // It powered off, or somebody cut its power.
            Err(error) if is_over(&worker, &error) && worker.wait(Some(Duration::ZERO)) => Ok(Some(worker)),
            Err(_) if running.is_cancelled() => Err(running.cancelled()),
            Err(error) if error.kind() == kind::TIMEOUT => {
                let seconds = self.options.shutdown_timeout.as_secs().to_string();
                Err(Failure::new("VM_SHUTDOWN_TIMEOUT", [vm.to_string(), seconds])
                    .with_remedy("look at its console, or use VM.hard_shutdown"))
            }
            Err(error) if is_over(&worker, &error) && worker.wait(Some(END_PATIENCE)) => Ok(Some(worker)),
            Err(error) => Err(codes::of_worker(&error)),
        }
    }

    /// Resets a VM, pauses or unpauses it: what a worker does at once.
    pub(crate) fn at_once(
        &self,
        running: &Running,
        vm: Ref<Vm>,
        operation: VmOperations,
        request: &Request,
    ) -> Result<Value, Failure> {
        self.begin(running, vm, operation, |_, _| Ok(()))?;
        let done = self.worker_or_why(vm).and_then(|worker| worker.ok_or_else(codes::just_ended)).and_then(|worker| {
            let asked = worker.ask(request, &[]).map_err(|error| codes::of_worker(&error));
            // What it is afterwards, also if that failed.
            let described = worker.connect(Some(END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
            Ok((asked?, described))
        });
        let now = done.as_ref().ok().and_then(|(_, described)| described.as_ref().ok()).cloned();
        let outcome = done.map(|_| Value::Null);
        let recorded = self.finish(running, vm, &outcome, move |_, record, owner| {
            if let Some(state) = now.as_ref().and_then(power_state)
                && matches!(record.power_state, VmPowerState::Running | VmPowerState::Paused)
                && matches!(state, VmPowerState::Running | VmPowerState::Paused)
            {
                record.power_state = state;
                owner.seen = now.as_ref().map_or(owner.seen, |now| now.last_event.max(owner.seen));
            }
            Ok(())
        });
        outcome.and_then(|value| recorded.map(|()| value))
    }
}

/// Powers off the VM of a worker, which is killed if it does not.
fn cut_power(worker: &Worker, vm: Ref<Vm>) {
    match worker.ask(&Request::HardShutdown, &[]) {
        Err(error) if !is_over(worker, &error) => {
            tracing::warn!(%error, vm = %vm, "a worker does not power its VM off, and is killed");
            worker.kill();
        }
        _ => {}
    }
    if !worker.wait(Some(END_PATIENCE)) {
        worker.kill();
    }
}

/// Waits until the end of a worker is in the records.
fn ended(worker: &Worker, vm: Ref<Vm>) -> Result<End, Failure> {
    worker.wait_over(END_PATIENCE).ok_or_else(|| {
        codes::internal(format!("the end of the VM {vm} is not in the records yet"))
            .with_remedy("look at the VM again; see whether its worker has ended, and whether the state store has room")
    })
}

/// Whether a worker that gave this error has ended, or ends. A VM that is in the wrong state for a verb may only be
/// paused.
fn is_over(worker: &Worker, error: &xvirt_worker::Error) -> bool {
    if error.kind() != kind::INVALID_STATE {
        return error.kind() == kind::GONE;
    }
    let described = worker.connect(Some(LOOK)).and_then(|(mut connection, _)| connection.describe());
    match described {
        Ok(description) => power_state(&description) == Some(VmPowerState::Halted),
        Err(error) => error.kind() == kind::GONE,
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
