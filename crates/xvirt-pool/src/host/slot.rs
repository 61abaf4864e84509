//! The begin and the end of an operation on a VM: the slot of the VM, the task, and the records of both.

use serde_json::Value;

use super::Inner;
use super::owner::Owner;
use crate::model::{Ref, Vm, VmOperations};
use crate::objects::Change;
use crate::operation::{Failure, power};
use crate::task::Running;

impl Inner {
    /// Takes the slot of a VM, if the operation is legal, and records the task, in one transaction with what `more` does.
    pub(crate) fn begin(
        &self,
        running: &Running,
        vm: Ref<Vm>,
        operation: VmOperations,
        mut more: impl FnMut(&mut Change<'_>, &mut Vm) -> Result<(), Failure>,
    ) -> Result<Vm, Failure> {
        let begun = self.objects.change(|change| {
            let mut record = change.get(vm)?;
            power::require(&record, vm, operation)?;
            more(change, &mut record)?;
            record.current_operations.insert(running.reference().to_string(), operation);
            put(change, vm, &mut record)?;
            running.record(change)?;
            Ok(record)
        })?;
        running.set_recorded();
        Ok(begun)
    }

    /// Gives the slot back, and records what came of the task, in one transaction with what `more` does; later, if the
    /// store cannot take it now.
    pub(crate) fn finish(
        &self,
        running: &Running,
        vm: Ref<Vm>,
        outcome: &Result<Value, Failure>,
        mut more: impl FnMut(&mut Change<'_>, &mut Vm, &mut Owner) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let (now, outcome, end) = (self.now(), outcome.clone(), running.end());
        running.set_ended();
        self.later.make(&self.objects, move |change| {
            if let Some(mut record) = change.find(vm)? {
                let mut owner = owner_of(change, vm)?;
                let before = owner.clone();
                more(change, &mut record, &mut owner)?;
                record.current_operations.remove(&end.task.to_string());
                put(change, vm, &mut record)?;
                if owner != before {
                    change.put_beside(&Owner::key(vm), &owner)?;
                }
            }
            end.record(change, &outcome, now)
        })
    }
}

/// The owner of a VM.
pub(crate) fn owner_of(change: &mut Change<'_>, vm: Ref<Vm>) -> Result<Owner, Failure> {
    Ok(change.beside(&Owner::key(vm))?.unwrap_or_default())
}

/// Writes the record of a VM, with what is allowed now.
pub(crate) fn put(change: &mut Change<'_>, vm: Ref<Vm>, record: &mut Vm) -> Result<(), Failure> {
    record.allowed_operations = power::allowed(record);
    change.put(vm, record)
}
