//! Suspending a VM to a file in a repository.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;
use xvirt_core::vm::SuspendedVm;
use xvirt_worker::protocol::{Request, Slot};
use xvirt_worker::{Cause, kind};

use super::{END_PATIENCE, Inner};
use crate::model::{Ref, Sr, Vdi, VdiType, Vm, VmOperations, VmPowerState};
use crate::objects::Change;
use crate::operation::{Failure, codes};
use crate::task::Running;
use crate::worker::End;
use crate::worker::place::failed;

/// Why a VM was not suspended.
struct NotSaved {
    failure: Failure,
    /// Whether it is known that it was not. Otherwise, the file may become its only state.
    known: bool,
}

impl Inner {
    /// Suspends a VM.
    pub(crate) fn suspend(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        let uuid = Uuid::new_v4();
        let reference = Ref::<Vdi>::new(uuid);
        let (mut location, mut stale) = (None, None);
        self.begin(running, vm, VmOperations::Suspend, |change, record| {
            // What an earlier service was doing when it ended.
            stale = forget_saved_state(change, record)?;
            let pool = change.get(self.pool)?;
            let sr = if record.suspend_sr.is_null() { pool.suspend_image_sr } else { record.suspend_sr };
            let path = crate::host::storage::folder_of(change, sr)?.join(format!("{uuid}.suspend"));
            let vdi = Vdi {
                uuid: uuid.to_string(),
                name_label: format!("Saved state of {}", record.name_label),
                sr,
                r#type: VdiType::Suspend,
                location: path.to_string_lossy().into_owned(),
                managed: true,
                ..Vdi::default()
            };
            crate::host::storage::add(change, reference, &vdi)?;
            record.suspend_vdi = reference;
            location = Some(path);
            Ok(())
        })?;
        if let Some(stale) = stale {
            remove(&stale);
        }
        let saved = match &location {
            Some(path) => self.save(running, vm, path),
            None => Err(known(codes::internal("there is no place for the saved state"))),
        };
        let is_known_to_run = saved.as_ref().is_err_and(|not_saved| not_saved.known);
        let outcome = saved.map_err(|not_saved| not_saved.failure);
        let recorded = self.finish(running, vm, &outcome, move |change, record, _| {
            if is_known_to_run && record.suspend_vdi == reference && record.power_state != VmPowerState::Suspended {
                forget_saved_state(change, record)?;
            }
            Ok(())
        });
        outcome.and_then(|value| recorded.map(|()| value))
    }

    fn save(&self, running: &Running, vm: Ref<Vm>, path: &Path) -> Result<Value, NotSaved> {
        let worker = self.worker_or_why(vm).and_then(|worker| worker.ok_or_else(codes::just_ended)).map_err(known)?;
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| known(failed("create", path, &error)))?;
        let connected = worker.connect(None).inspect_err(|_| remove(path));
        let (mut connection, copy) = connected.map_err(|error| known(codes::of_worker(&error)))?;
        running.waits_for_answer(copy);
        let asked = connection.call(&Request::Suspend { file: Slot(0) }, &[file.as_fd()]);
        running.waits_for(None);
        let failure = match asked {
            // The guest goes on.
            Err(error) if !connection.is_broken() && error.kind() != kind::GONE => {
                remove(path);
                let cancelled = running.is_cancelled() && error.kind() == "cancelled";
                return Err(known(if cancelled { running.cancelled() } else { codes::of_worker(&error) }));
            }
            Err(error) => codes::of_worker(&error),
            Ok(_) => codes::internal("the worker of the VM did not record that it has suspended it"),
        };
        // Whatever was answered, how the worker ends decides.
        match worker.wait_over(END_PATIENCE) {
            Some(End::Recorded(Cause::Suspended)) => Ok(Value::Null),
            Some(_) => Err(known(failure)),
            None => {
                let what = format!("it is not known yet whether the VM {vm} was suspended: its worker has not ended");
                let failure = codes::internal(what).with_remedy("look at its power state in a while");
                Err(NotSaved { failure, known: false })
            }
        }
    }

    /// How a run has ended. A worker that was killed, or lost with its host, may have suspended its VM before: a saved state
    /// is valid once it is whole, and not any more once it was resumed from.
    pub(crate) fn decided_end(&self, vm: Ref<Vm>, end: End) -> End {
        if !matches!(end, End::Unrecorded | End::HostRestarted) {
            return end;
        }
        let state = self.objects.get(vm).and_then(|record| self.objects.get(record.suspend_vdi));
        let whole = state.is_ok_and(|state| {
            SuspendedVm::open(&state.location).is_ok_and(|saved| Some(saved.uuid().to_string()) == uuid_of(vm))
        });
        if whole { End::Recorded(Cause::Suspended) } else { end }
    }

    /// Removes the saved state of a VM that has gone on from it: it is used up.
    pub(crate) fn remove_saved_state(&self, vm: Ref<Vm>) {
        let removed = self.objects.get(vm).and_then(|record| self.drop_saved_state(&record));
        if let Err(failure) = removed {
            tracing::warn!(%failure, %vm, "a saved state that is used up cannot be removed");
        }
    }

    /// Drops the saved state of a VM.
    pub(crate) fn drop_saved_state(&self, record: &Vm) -> Result<Value, Failure> {
        if let Ok(state) = self.objects.get(record.suspend_vdi) {
            match fs::remove_file(&state.location) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", state.location.as_ref(), &error));
                }
                _ => {}
            }
        }
        Ok(Value::Null)
    }

    /// Checks that a disk is not the saved state of a VM, before `what` is done to it.
    pub(crate) fn require_no_saved_state(&self, vdi: Ref<Vdi>, record: &Vdi, what: &str) -> Result<(), Failure> {
        if record.r#type != VdiType::Suspend {
            return Ok(());
        }
        // One that no VM has never gets one: it was left by a service that ended meanwhile.
        let of = self.objects.all::<Vm>()?.into_iter().find(|(_, vm)| vm.suspend_vdi == vdi);
        let Some((vm, _)) = of else { return Ok(()) };
        Err(Failure::new("VDI_IN_USE", [vdi.to_string(), what.to_owned()])
            .with_remedy(format!("it is the saved state of the VM {vm}: resume that, or use VM.hard_shutdown")))
    }
}

/// Removes the record of a VM's saved state. Returns the file, which is to be removed afterwards.
pub(crate) fn forget_saved_state(change: &mut Change<'_>, record: &mut Vm) -> Result<Option<PathBuf>, Failure> {
    let vdi = std::mem::replace(&mut record.suspend_vdi, Ref::NULL);
    let Some(state) = change.find::<Vdi>(vdi)? else { return Ok(None) };
    if let Some(mut sr) = change.find::<Sr>(state.sr)? {
        sr.vdis.retain(|one| *one != vdi);
        sr.virtual_allocation = sr.virtual_allocation.saturating_sub(state.virtual_size);
        change.put(state.sr, &sr)?;
    }
    change.remove(vdi);
    Ok(Some(state.location.into()))
}

/// Removes the file of a saved state that nobody resumes from.
pub(crate) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "what is left of a suspend cannot be removed");
        }
        _ => {}
    }
}

fn known(failure: Failure) -> NotSaved {
    NotSaved { failure, known: true }
}

fn uuid_of(vm: Ref<Vm>) -> Option<String> {
    vm.uuid().map(|uuid| uuid.to_string())
}
