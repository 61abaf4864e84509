//! The verbs of tasks, and what becomes of those that have ended.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Inner;
use crate::model::{Class, Ref, Task, TaskAllowedOperations, TaskStatusType};
use crate::objects::beside_of;
use crate::operation::arguments::Arguments;
use crate::operation::{Caller, Failure, codes};
use crate::task::{self, Origin};

/// How often ended tasks are looked at.
pub(crate) const COLLECT: Duration = Duration::from_secs(300);

impl Inner {
    /// The verbs of tasks.
    pub(crate) fn own_of_task(&self, caller: &Caller, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        if name == "create" {
            return self.create_task(caller, &arguments.text(0), &arguments.text(1));
        }
        let task: Ref<Task> = arguments.reference(0)?;
        match name {
            "cancel" => self.cancel_task(task),
            "destroy" => self.destroy_task(task),
            "set_status" => {
                let status = serde_json::from_value(arguments.value(1)).unwrap_or(TaskStatusType::Pending);
                self.set_of_task(task, |task| task.status = status)
            }
            "set_progress" => {
                let progress = arguments.value(1).as_f64().unwrap_or_default();
                if !(0.0..=1.0).contains(&progress) {
                    return Err(codes::invalid_value("progress", progress, "give 0 to 1"));
                }
                self.set_of_task(task, |task| task.progress = progress)
            }
            "set_result" => self.set_of_task(task, |task| task.result = arguments.text(1)),
            "set_error_info" => {
                let info: Vec<String> = serde_json::from_value(arguments.value(1)).unwrap_or_default();
                self.set_of_task(task, |task| task.error_info.clone_from(&info))
            }
            "set_other_config" | "add_to_other_config" | "remove_from_other_config" => {
                self.set_map(Task::TABLE, name, "other_config", arguments)
            }
            _ => Err(codes::not_implemented(&format!("task.{name}"))),
        }
    }

    /// `task.create(label, description)`: a task whose progress and end the client says.
    fn create_task(&self, caller: &Caller, label: &str, description: &str) -> Result<Value, Failure> {
        let uuid = Uuid::new_v4();
        let reference = Ref::<Task>::new(uuid);
        let record = Task {
            uuid: uuid.to_string(),
            name_label: label.to_owned(),
            name_description: description.to_owned(),
            created: self.now(),
            status: TaskStatusType::Pending,
            resident_on: self.host,
            allowed_operations: vec![TaskAllowedOperations::Cancel, TaskAllowedOperations::Destroy],
            ..Task::default()
        };
        let origin = Origin { verb: "task.create".to_owned(), caller: caller.to_string(), object: None };
        self.objects.change(|change| {
            change.put(reference, &record)?;
            change.put_beside(&beside_of(reference, "origin"), &origin)
        })?;
        Ok(json!(reference.to_string()))
    }

    /// Changes what a client says of a task. One that this service carries out says it by itself.
    fn set_of_task(&self, task: Ref<Task>, set: impl Fn(&mut Task)) -> Result<Value, Failure> {
        if self.tasks.carries_out(task) {
            return Err(codes::not_allowed("the service itself carries the task out", "leave it, or cancel it"));
        }
        let now = self.now();
        self.objects.change(|change| {
            let mut record = change.get(task)?;
            let ended = task::has_ended(&record);
            set(&mut record);
            if !ended && task::has_ended(&record) {
                record.finished = now;
                record.allowed_operations = vec![TaskAllowedOperations::Destroy];
                record.current_operations.clear();
            }
            change.put(task, &record)
        })?;
        Ok(Value::Null)
    }

    fn cancel_task(&self, task: Ref<Task>) -> Result<Value, Failure> {
        let record = self.objects.get(task)?;
        if task::has_ended(&record) {
            return Err(codes::not_allowed("the task has ended", "nothing: look at its status"));
        }
        let ours = self.tasks.cancel(task);
        // Whoever carries it out ends it, and may be a client.
        let told = self.objects.change(|change| {
            let mut record = change.get(task)?;
            if !task::has_ended(&record) {
                record.status = TaskStatusType::Cancelling;
                record.allowed_operations = vec![TaskAllowedOperations::Destroy];
                change.put(task, &record)?;
            }
            Ok(())
        });
        match told {
            // It ends all the same, also if the store is full.
            Err(failure) if ours => tracing::warn!(%failure, "it cannot be recorded that a task is being cancelled"),
            told => told?,
        }
        Ok(Value::Null)
    }

    /// `task.destroy`: at once if it has ended; otherwise some time after its end, which others may wait for.
    fn destroy_task(&self, task: Ref<Task>) -> Result<Value, Failure> {
        let mut ended = false;
        self.objects.change(|change| {
            ended = task::has_ended(&change.get(task)?);
            if ended {
                change.remove(task);
                task::remove_beside(change, task);
                return Ok(());
            }
            change.put_beside(&task::unwanted_key(task), &true)
        })?;
        Ok(Value::Null)
    }

    /// Removes tasks that ended long ago, those that nobody wants, and the oldest if there are too many.
    pub(crate) fn collect_tasks(&self) {
        if let Err(failure) = self.try_collect_tasks() {
            tracing::warn!(%failure, "old tasks cannot be removed");
        }
    }

    fn try_collect_tasks(&self) -> Result<(), Failure> {
        let mut ended = Vec::new();
        for (reference, record) in self.objects.all::<Task>()? {
            if task::has_ended(&record) {
                let unwanted = self.objects.beside::<bool>(&task::unwanted_key(reference))?.unwrap_or_default();
                ended.push((reference, record.finished, unwanted));
            }
        }
        for some in task::to_collect(ended, self.now()).chunks(task::REMOVED_AT_ONCE) {
            task::remove(&self.objects, some)?;
        }
        Ok(())
    }
}
