//! Follows each worker: writes what happens to its VM into the records, until it has ended.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;
use xvirt_core::vm::{Event, EventRecord};
use xvirt_worker::protocol::EventFrame;

use super::owner::{Owner, Phase};
use super::plan::{self, AfterEnd};
use super::start::{Start, power_state};
use super::suspend::{self, forget_saved_state};
use super::{Inner, attach, slot};
use crate::event::News;
use crate::model::{Console, Ref, Vbd, Vif, Vm, VmPowerState};
use crate::objects::Change;
use crate::operation::{Caller, Failure};
use crate::sync::lock;
use crate::worker::{End, Worker};

const STACK: usize = 256 << 10;
/// How long a worker whose events cannot be read is waited for before it is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a worker that has no VM any more may take to end.
const LAST_CONNECTIONS: Duration = Duration::from_secs(30);

impl Inner {
    /// Follows a worker from an event on.
    pub(crate) fn follow(self: &Arc<Self>, worker: Arc<Worker>, after: u64) {
        let inner = Arc::clone(self);
        self.spawn_watcher(Ref::new(worker.vm), move || inner.watch(&worker, after));
    }

    /// Starts a thread that is about a VM until the host is closed.
    pub(crate) fn spawn_watcher(&self, vm: Ref<Vm>, run: impl FnOnce() + Send + 'static) {
        match thread::Builder::new().name("watch".to_owned()).stack_size(STACK).spawn(run) {
            Ok(thread) => {
                let mut watchers = lock(&self.watchers);
                watchers.retain(|thread| !thread.is_finished());
                watchers.push(thread);
            }
            // The VM runs; the next service follows it.
            Err(error) => tracing::error!(%error, %vm, "a VM cannot be followed: no thread"),
        }
    }

    fn watch(self: &Arc<Self>, worker: &Arc<Worker>, mut after: u64) {
        while !self.is_closing() {
            // The socket is that of another worker then.
            if worker.is_replaced() {
                return self.replaced(worker);
            }
            if let Ok(mut stream) = worker.events(after) {
                // It may have been closed before the stream was there to be given up.
                while !self.is_closing() {
                    let Ok(Some(frame)) = stream.next(None) else { break };
                    if frame.sequence > after.saturating_add(1) {
                        self.look_again(worker);
                    }
                    after = frame.sequence;
                    self.happened(worker, &frame);
                }
            }
            if self.is_closing() {
                return;
            }
            if worker.wait(Some(AGAIN)) {
                return if worker.is_replaced() { self.replaced(worker) } else { self.ended(worker) };
            }
        }
    }

    /// Waits until a worker has ended that has handed its VM over, and serves its last connections.
    fn replaced(&self, worker: &Worker) {
        let deadline = Instant::now() + LAST_CONNECTIONS;
        while !self.is_closing() && !worker.wait(Some(AGAIN)) {
            if Instant::now() >= deadline {
                tracing::warn!(vm = %worker.vm, "a worker that has handed its VM over does not end, and is killed");
                return worker.kill();
            }
        }
    }

    /// Writes what an event says.
    fn happened(&self, worker: &Arc<Worker>, frame: &EventFrame) {
        // Then its VM is described by the other worker, with everything that had happened before.
        if worker.is_replaced() {
            return;
        }
        let Ok(record) = frame.record.read::<EventRecord>("an event") else {
            tracing::warn!(vm = %worker.vm, "a worker tells of an event that this service does not know");
            return;
        };
        let vm = Ref::<Vm>::new(worker.vm);
        match &record.event {
            // A reset leaves a paused VM paused, and an operation may have changed more meanwhile.
            Event::Paused | Event::Started | Event::Unpaused | Event::Resumed | Event::HardReset | Event::Restarted => {
                self.look_again(worker)
            }
            Event::Crashed(_) => {
                let preserves = self
                    .objects
                    .get(vm)
                    .is_ok_and(|vm| vm.actions_after_crash == crate::model::OnCrashBehaviour::Preserve);
                if preserves {
                    self.tell_of_event(worker, frame.sequence, &News::Preserved);
                }
            }
            Event::DiskUnplugged { .. } => look_for_gone(self.look_for_gone::<Vbd>(worker), vm),
            Event::NicUnplugged { .. } => look_for_gone(self.look_for_gone::<Vif>(worker), vm),
            Event::IoError { disk, operation, offset, reason, .. } if worker.may_tell_of_disk(self.since_boot()) => {
                let text = format!("disk {disk}: {operation:?} at offset {offset} failed: {reason}");
                self.tell_of_event(worker, frame.sequence, &News::DiskError(text));
            }
            _ => {}
        }
    }

    /// Asks a worker for the power state of its VM, because of an event, or because events are missing.
    fn look_again(&self, worker: &Arc<Worker>) {
        let described = worker.connect(Some(super::END_PATIENCE)).and_then(|(mut connection, _)| connection.describe());
        let Ok(description) = described else { return };
        if let Some(state @ (VmPowerState::Running | VmPowerState::Paused)) = power_state(&description) {
            self.set_state(worker, state, description.last_event);
        }
    }

    /// Writes the power state of a VM after an event.
    fn set_state(&self, worker: &Arc<Worker>, state: VmPowerState, sequence: u64) {
        let (vm, worker) = (Ref::<Vm>::new(worker.vm), Arc::clone(worker));
        let _ = self.later.make(&self.objects, move |change| {
            let mut owner = slot::owner_of(change, vm)?;
            // What an operation has written meanwhile is newer.
            if worker.was_replaced()
                || owner.epoch != worker.epoch
                || owner.phase != Phase::Running
                || sequence <= owner.seen
            {
                return Ok(());
            }
            let Some(mut record) = change.find(vm)? else { return Ok(()) };
            if record.power_state != state {
                record.power_state = state;
                slot::put(change, vm, &mut record)?;
                owner.seen = sequence;
                change.put_beside(&Owner::key(vm), &owner)?;
            }
            Ok(())
        });
    }

    /// Writes a message about a VM.
    pub(crate) fn tell(&self, vm: Ref<Vm>, news: News) {
        self.write_message(vm, &news, |_| Ok(true));
    }

    /// Writes the message that an event is worth, once: the next service reads the events of a living worker again.
    fn tell_of_event(&self, worker: &Worker, sequence: u64, news: &News) {
        let vm = Ref::<Vm>::new(worker.vm);
        self.write_message(vm, news, |change| {
            let owner = slot::owner_of(change, vm)?;
            let is_new = owner.epoch == worker.epoch && sequence > owner.told;
            if is_new {
                change.put_beside(&Owner::key(vm), &Owner { told: sequence, ..owner })?;
            }
            Ok(is_new)
        });
    }

    /// Writes a message, if `is_new` says so in the same transaction.
    fn write_message(&self, vm: Ref<Vm>, news: &News, is_new: impl Fn(&mut Change<'_>) -> Result<bool, Failure>) {
        let (uuid, now) = (Uuid::new_v4(), self.now());
        let written = self.objects.change(|change| {
            let is_new = is_new(change)?;
            if is_new {
                crate::event::about_vm(change, uuid, vm, news, now)?;
            }
            Ok(is_new)
        });
        if let Ok(false) = written {
            return;
        }
        tracing::warn!(%vm, "{news}");
        if let Err(failure) = written.and_then(|_| self.messages.written(&self.objects, uuid)) {
            tracing::error!(%failure, ?news, "a message cannot be written");
        }
    }

    /// Records the end of a worker, cleans up after it, and starts its VM again if that is configured.
    fn ended(self: &Arc<Self>, worker: &Arc<Worker>) {
        let vm = Ref::<Vm>::new(worker.vm);
        let end = self.decided_end(vm, worker.place.end());
        let after = self.record_end(vm, worker.epoch, &end);
        let restarts = match after {
            Ok(after) => {
                self.remove_place(worker.vm);
                matches!(after, Some(AfterEnd::Restart(_)))
            }
            // The exit record stays for the next service, in case this one ends before the store has room.
            Err(_) => false,
        };
        lock(&self.memory).release(worker.vm);
        // Last, because a start may have begun meanwhile, and waits for it: nothing of the next run is removed.
        worker.set_over(end);
        let mut workers = lock(&self.workers);
        if workers.get(&worker.vm).is_some_and(|known| Arc::ptr_eq(known, worker)) {
            workers.remove(&worker.vm);
        }
        drop(workers);
        if restarts {
            self.start_by_itself(vm);
        }
    }

    /// Writes that a run has ended. `None` if another one has begun.
    ///
    /// # Errors
    /// It is written later.
    pub(crate) fn record_end(&self, vm: Ref<Vm>, epoch: u64, end: &End) -> Result<Option<AfterEnd>, Failure> {
        let (uuid, now, since, brake) = (Uuid::new_v4(), self.now(), self.since_boot(), self.options.restart_brake);
        let decided = Arc::new(std::sync::Mutex::new(None));
        let unused = Arc::new(std::sync::Mutex::new(None));
        let (decision, dropped, end) = (Arc::clone(&decided), Arc::clone(&unused), end.clone());
        self.later.make(&self.objects, move |change| {
            let owner = slot::owner_of(change, vm)?;
            if owner.epoch != epoch || owner.phase == Phase::None {
                return Ok(());
            }
            let Some(mut record) = change.find(vm)? else { return Ok(()) };
            let ran = Duration::from_millis(since.saturating_sub(owner.started));
            let after = plan::after_end(&record, &end, ran, brake);
            let restart = matches!(after, AfterEnd::Restart(_));
            change.put_beside(&Owner::key(vm), &Owner { restart, ..owner.release() })?;
            set_halted(change, &mut record, after != AfterEnd::Suspended)?;
            if after == AfterEnd::Suspended {
                record.power_state = VmPowerState::Suspended;
            } else {
                // What is left of a suspend that failed.
                *lock(&dropped) = forget_saved_state(change, &mut record)?;
            }
            slot::put(change, vm, &mut record)?;
            if let Some(news) = news(&after) {
                crate::event::about_vm(change, uuid, vm, &news, now)?;
            }
            *lock(&decision) = Some(after);
            Ok(())
        })?;
        if let Some(path) = lock(&unused).take() {
            suspend::remove(&path);
        }
        let after = lock(&decided).take();
        if let Some(news) = after.as_ref().and_then(news) {
            tracing::warn!(%vm, "{news}");
            let _ = self.messages.written(&self.objects, uuid);
        }
        Ok(after)
    }

    /// Starts the VMs that crashed and are to run again.
    pub(crate) fn start_what_crashed(self: &Arc<Self>) -> Result<(), Failure> {
        for (vm, _) in self.objects.all::<Vm>()? {
            let owner: Owner = self.objects.beside(&Owner::key(vm))?.unwrap_or_default();
            if owner.restart && owner.phase == Phase::None {
                self.start_by_itself(vm);
            }
        }
        Ok(())
    }

    /// Starts a VM because it is configured so.
    pub(crate) fn start_by_itself(self: &Arc<Self>, vm: Ref<Vm>) {
        let inner = Arc::clone(self);
        let submitted = self.jobs.submit(false, move || {
            let caller = Caller::Local { uid: rustix::process::geteuid().as_raw() };
            let running = inner.tasks.begin(&caller, "VM.start", Some(vm.to_string()), inner.host, inner.now());
            let started = inner.start(&running, vm, Start { paused: false, resumes: false });
            running.log(&started);
            // Somebody else may have started it meanwhile.
            let faster = ["VM_BAD_POWER_STATE", "OTHER_OPERATION_IN_PROGRESS", "HANDLE_INVALID"];
            if let Err(failure) = started
                && !faster.contains(&failure.code.as_str())
            {
                inner.tell(vm, News::Crashed(format!("The VM should be started, and cannot be: {failure}")));
            }
            inner.forget(&running);
        });
        if let Err(failure) = submitted {
            tracing::error!(%failure, %vm, "a VM cannot be started again");
        }
    }
}

/// The records of a VM that is no longer in memory. A suspended one keeps its devices.
pub(crate) fn set_halted(change: &mut Change<'_>, record: &mut Vm, detach: bool) -> Result<(), Failure> {
    record.power_state = VmPowerState::Halted;
    record.resident_on = Ref::NULL;
    record.scheduled_to_be_resident_on = Ref::NULL;
    record.domid = -1;
    record.domarch = String::new();
    record.memory_target = 0;
    record.xvirt_worker_version = String::new();
    for console in std::mem::take(&mut record.consoles) {
        change.remove::<Console>(console);
    }
    if !detach {
        return Ok(());
    }
    attach::set_attached(change, record, |_| Some(false))
}

fn news(after: &AfterEnd) -> Option<News> {
    match after {
        AfterEnd::Halted | AfterEnd::Suspended => None,
        AfterEnd::Crashed(reason) => Some(News::Crashed(reason.clone())),
        AfterEnd::Restart(reason) => Some(News::Restarting(reason.clone())),
        AfterEnd::TooSoon(reason) => Some(News::TooSoon(reason.clone())),
        AfterEnd::Lost => Some(News::Lost),
    }
}

fn look_for_gone(looked: Result<(), Failure>, vm: Ref<Vm>) {
    if let Err(failure) = looked {
        tracing::warn!(%failure, %vm, "a device was unplugged, and its record cannot say so yet");
    }
}
