//! Suspending a VM to a file in a repository.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;
use xvirt_worker::protocol::{Request, Slot};

use super::{END_PATIENCE, Inner, stop};
use crate::model::{Ref, Vdi, VdiType, Vm, VmOperations};
use crate::operation::{Failure, codes};
use crate::task::Running;
use crate::worker::place::failed;

impl Inner {
    /// Suspends a VM.
    pub(crate) fn suspend(&self, running: &Running, vm: Ref<Vm>) -> Result<Value, Failure> {
        let uuid = Uuid::new_v4();
        let reference = Ref::<Vdi>::new(uuid);
        let mut location = None;
        self.begin(running, vm, VmOperations::Suspend, |change, record| {
            let pool = change.get(self.pool)?;
            let sr = if record.suspend_sr.is_null() { pool.suspend_image_sr } else { record.suspend_sr };
            let path = crate::host::storage::folder_of(change, sr)?.join(format!("{uuid}.suspend"));
            let vdi = Vdi {
                uuid: uuid.to_string(),
                name_label: format!("Saved state of {}", record.name_label),
                sr,
                r#type: VdiType::Suspend,
                location: path.to_string_lossy().into_owned(),
                ..Vdi::default()
            };
            change.put(reference, &vdi)?;
            record.suspend_vdi = reference;
            location = Some(path);
            Ok(())
        })?;
        let outcome = match &location {
            Some(path) => self.save(vm, path),
            None => Err(codes::internal("there is no place for the saved state")),
        };
        let failed = outcome.is_err();
        let recorded = self.finish(running, vm, &outcome, move |change, record, _| {
            if failed && record.suspend_vdi == reference {
                record.suspend_vdi = Ref::NULL;
                change.remove(reference);
            }
            Ok(())
        });
        outcome.and_then(|value| recorded.map(|()| value))
    }

    fn save(&self, vm: Ref<Vm>, path: &Path) -> Result<Value, Failure> {
        let gone = || codes::not_allowed("the VM has just ended", "start it again");
        let worker = vm.uuid().and_then(|uuid| self.worker(uuid)).ok_or_else(gone)?;
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| failed("create", path, &error))?;
        let asked = worker
            .connect(None)
            .and_then(|(mut connection, _)| connection.call(&Request::Suspend { file: Slot(0) }, &[file.as_fd()]));
        if let Err(error) = asked {
            // What is not known to have failed may have been done.
            if stop::is_over(&error) && worker.wait_over(END_PATIENCE) {
                let state = self.objects.get(vm)?.power_state;
                if state == crate::model::VmPowerState::Suspended {
                    return Ok(Value::Null);
                }
            }
            let _ = fs::remove_file(path);
            return Err(codes::of_worker(&error));
        }
        if worker.wait_over(END_PATIENCE) {
            return Ok(Value::Null);
        }
        Err(codes::internal(format!("the end of the VM {vm} is not in the records yet")))
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
}
