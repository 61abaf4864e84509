//! Operations on devices and disks: while one goes on, the object says so, and another one is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Inner;
use crate::model::{Record, Ref, Vbd, VbdOperations, Vdi, VdiOperations, Vif, VifOperations};
use crate::operation::{Failure, codes};
use crate::task::Running;

/// A record that says what is being done with its object.
pub(crate) trait Occupied: Record {
    /// A kind of operation.
    type Operation: Copy + Send + std::fmt::Display + 'static;

    /// What is being done, by the reference of the task.
    fn current(&mut self) -> &mut BTreeMap<String, Self::Operation>;
}

macro_rules! occupied {
    ($record:ty, $operation:ty) => {
        impl Occupied for $record {
            type Operation = $operation;

            fn current(&mut self) -> &mut BTreeMap<String, $operation> {
                &mut self.current_operations
            }
        }
    };
}

occupied!(Vbd, VbdOperations);
occupied!(Vif, VifOperations);
occupied!(Vdi, VdiOperations);

/// Requires that nothing is done with an object.
///
/// # Errors
/// `OTHER_OPERATION_IN_PROGRESS`
pub(crate) fn require_unoccupied<R: Occupied>(object: Ref<R>, record: &mut R) -> Result<(), Failure> {
    let Some((task, operation)) = record.current().first_key_value() else { return Ok(()) };
    Err(codes::other_operation(R::TABLE.name, object, operation, task))
}

impl Inner {
    /// Does something with an object, which says so meanwhile.
    ///
    /// # Errors
    /// `OTHER_OPERATION_IN_PROGRESS`, or what `work` fails with.
    pub(crate) fn occupy<R: Occupied>(
        &self,
        running: &Running,
        object: Ref<R>,
        operation: R::Operation,
        work: impl FnOnce() -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let task = running.reference().to_string();
        self.objects.change(|change| {
            let mut record = change.get(object)?;
            require_unoccupied(object, &mut record)?;
            record.current().insert(task.clone(), operation);
            change.put(object, &record)?;
            running.record(change)
        })?;
        running.set_recorded();
        let outcome = work();
        let (now, end, told) = (self.now(), running.end(), outcome.clone());
        running.set_ended();
        let recorded = self.later.make(&self.objects, move |change| {
            if let Some(mut record) = change.find(object)? {
                record.current().remove(&task);
                change.put(object, &record)?;
            }
            end.record(change, &told, now)
        });
        outcome.and_then(|value| recorded.map(|()| value))
    }

    /// Ends what an earlier service was doing with disks. What it was doing with devices ends with the adoption of their VM:
    /// the worker says whether it has them.
    pub(crate) fn end_occupations(&self) -> Result<(), Failure> {
        for (disk, record) in self.objects.all::<Vdi>()? {
            if record.current_operations.is_empty() {
                continue;
            }
            self.objects.change(|change| {
                let Some(mut record) = change.find(disk)? else { return Ok(()) };
                record.current_operations.clear();
                change.put(disk, &record)
            })?;
        }
        Ok(())
    }
}
