//! Operations on devices and disks: while one goes on, the object says so, and another one is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Inner;
use crate::model::{Record, Ref, Vbd, VbdOperations, Vdi, VdiOperations, Vif, VifOperations};
use crate::operation::Failure;
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
            if let Some((task, other)) = record.current().iter().next() {
                let parameters = [R::TABLE.name.to_owned(), object.to_string(), other.to_string(), task.clone()];
                return Err(
                    Failure::new("OTHER_OPERATION_IN_PROGRESS", parameters).with_remedy("wait for that task to end")
                );
            }
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

    /// Ends what an earlier service was doing with devices and disks.
    pub(crate) fn end_occupations(&self) -> Result<(), Failure> {
        self.end_occupations_of::<Vbd>()?;
        self.end_occupations_of::<Vif>()?;
        self.end_occupations_of::<Vdi>()
    }

    fn end_occupations_of<R: Occupied>(&self) -> Result<(), Failure> {
        for (object, mut record) in self.objects.all::<R>()? {
            if record.current().is_empty() {
                continue;
            }
            self.objects.change(|change| {
                let Some(mut record) = change.find(object)? else { return Ok(()) };
                record.current().clear();
                change.put(object, &record)
            })?;
        }
        Ok(())
    }
}
