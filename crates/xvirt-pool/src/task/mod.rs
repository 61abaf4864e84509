//! Tasks: what goes on, and what came of it. They are in the store, so they outlive the service; what is here is what
//! only a service that carries one out needs, to cancel it.

mod result;

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::model::{DateTime, Host, Ref, Task, TaskAllowedOperations, TaskStatusType};
use crate::objects::{Change, Objects, beside_of};
use crate::operation::{Caller, Failure, codes};
use crate::sync::lock;

/// How many ended tasks are kept, and for how many seconds, as XenServer has it.
const KEPT: usize = 200;
const KEPT_SECONDS: i64 = 65 * 60;
/// For how many seconds one is kept in any case, so that its end is seen.
const SEEN_SECONDS: i64 = 30;
/// How many more there may be before they are collected, and how many are removed at once.
pub(crate) const REMOVED_AT_ONCE: usize = 30;

/// Who asked for a task, kept beside its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The verb.
    pub(crate) verb: String,
    /// The caller.
    pub(crate) caller: String,
    /// The object that the verb is about.
    pub(crate) object: Option<String>,
}

/// The tasks of this service.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<BTreeMap<Uuid, Arc<Running>>>,
    /// How many tasks of this service have ended.
    ended: AtomicUsize,
}

/// A task that this service carries out.
#[derive(Debug)]
pub(crate) struct Running {
    task: Ref<Task>,
    origin: Origin,
    host: Ref<Host>,
    created: DateTime,
    cancelled: AtomicBool,
    /// Whether it is in the store, and whether its end is.
    recorded: AtomicBool,
    ended: AtomicBool,
    /// What it waits for, if that can be given up.
    waits_for: Mutex<Option<(UnixStream, Shutdown)>>,
}

impl Tasks {
    /// Makes a task. It is in the store once it is [recorded](Running::record).
    pub(crate) fn begin(
        &self,
        caller: &Caller,
        verb: &str,
        object: Option<String>,
        host: Ref<Host>,
        now: DateTime,
    ) -> Arc<Running> {
        let uuid = Uuid::new_v4();
        let running = Arc::new(Running {
            task: Ref::new(uuid),
            origin: Origin { verb: verb.to_owned(), caller: caller.to_string(), object },
            host,
            created: now,
            cancelled: AtomicBool::new(false),
            recorded: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            waits_for: Mutex::default(),
        });
        lock(&self.running).insert(uuid, Arc::clone(&running));
        running
    }

    /// Forgets a task that has ended. Returns whether so many have ended that they are to be collected.
    pub(crate) fn forget(&self, running: &Running) -> bool {
        lock(&self.running).remove(&running.task.uuid().unwrap_or_default());
        if !running.recorded.load(Ordering::SeqCst) {
            return false;
        }
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        ended.is_multiple_of(REMOVED_AT_ONCE)
    }

    /// Whether this service carries out a task.
    pub(crate) fn carries_out(&self, task: Ref<Task>) -> bool {
        task.uuid().is_some_and(|uuid| lock(&self.running).contains_key(&uuid))
    }

    /// Cancels a task that this service carries out.
    pub(crate) fn cancel(&self, task: Ref<Task>) -> bool {
        let running = task.uuid().and_then(|uuid| lock(&self.running).get(&uuid).cloned());
        running.is_some_and(|running| {
            running.cancel();
            true
        })
    }

    /// Cancels all.
    pub(crate) fn cancel_all(&self) {
        let all: Vec<_> = lock(&self.running).values().cloned().collect();
        all.iter().for_each(|running| running.cancel());
    }
}

impl Running {
    /// The reference of the task.
    pub(crate) fn reference(&self) -> Ref<Task> {
        self.task
    }

    /// Whether somebody wants it to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Fails if somebody wants it to end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.is_cancelled() { Err(self.cancelled()) } else { Ok(()) }
    }

    /// The failure of a task that was cancelled.
    pub(crate) fn cancelled(&self) -> Failure {
        Failure::new("TASK_CANCELLED", [self.task.to_string()])
    }

    /// Says what the task waits for from now on: the connection is shut down when it is cancelled.
    pub(crate) fn waits_for(&self, connection: Option<UnixStream>) {
        self.set_waits_for(connection.map(|connection| (connection, Shutdown::Both)));
    }

    /// Says for what answer the task waits from now on. When it is cancelled, its side of the connection is shut down: the
    /// answer says what came of that.
    pub(crate) fn waits_for_answer(&self, connection: UnixStream) {
        self.set_waits_for(Some((connection, Shutdown::Write)));
    }

    fn set_waits_for(&self, connection: Option<(UnixStream, Shutdown)>) {
        *lock(&self.waits_for) = connection;
        if self.is_cancelled() {
            self.cancel();
        }
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Some((connection, how)) = &*lock(&self.waits_for) {
            // Fails if it is over already.
            let _ = connection.shutdown(*how);
        }
    }

    /// Writes that the task goes on.
    pub(crate) fn record(&self, change: &mut Change<'_>) -> Result<(), Failure> {
        let task = Task {
            uuid: self.task.uuid().unwrap_or_default().to_string(),
            name_label: self.origin.verb.clone(),
            name_description: self.origin.object.clone().unwrap_or_default(),
            created: self.created,
            status: TaskStatusType::Pending,
            resident_on: self.host,
            allowed_operations: vec![TaskAllowedOperations::Cancel, TaskAllowedOperations::Destroy],
            ..Task::default()
        };
        change.put(self.task, &task)?;
        change.put_beside(&beside_of(self.task, "origin"), &self.origin)
    }

    /// Writes how far the task is, from 0 to 1.
    pub(crate) fn record_progress(&self, change: &mut Change<'_>, progress: f64) -> Result<(), Failure> {
        let Some(mut task) = change.find(self.task)? else { return Ok(()) };
        if !has_ended(&task) {
            task.progress = progress;
            change.put(self.task, &task)?;
        }
        Ok(())
    }

    /// Says that the task is in the store.
    pub(crate) fn set_recorded(&self) {
        self.recorded.store(true, Ordering::SeqCst);
    }

    /// Says that its end is written by somebody.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Logs what came of it.
    pub(crate) fn log(&self, outcome: &Result<Value, Failure>) {
        let Origin { verb, caller, object } = &self.origin;
        let object = object.as_deref().unwrap_or_default();
        match outcome {
            Ok(_) => tracing::info!(verb, object, caller, "done"),
            Err(failure) => tracing::info!(verb, object, caller, %failure, "failed"),
        }
    }

    /// Whether it is in the store, and its end is not.
    pub(crate) fn is_open(&self) -> bool {
        self.recorded.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst)
    }

    /// What writes its end.
    pub(crate) fn end(&self) -> TaskEnd {
        TaskEnd { task: self.task }
    }
}

/// Writes the end of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskEnd {
    /// The task.
    pub(crate) task: Ref<Task>,
}

impl TaskEnd {
    /// Writes what came of it.
    pub(crate) fn record(
        self,
        change: &mut Change<'_>,
        outcome: &Result<Value, Failure>,
        now: DateTime,
    ) -> Result<(), Failure> {
        // A client may have destroyed it.
        let Some(mut task) = change.find(self.task)? else { return Ok(()) };
        end(&mut task, outcome, now);
        change.put(self.task, &task)
    }
}

/// Makes a record that of a task with this outcome.
pub(crate) fn end(task: &mut Task, outcome: &Result<Value, Failure>, now: DateTime) {
    task.finished = now;
    task.progress = 1.0;
    task.allowed_operations = vec![TaskAllowedOperations::Destroy];
    match outcome {
        Ok(Value::Null) => task.status = TaskStatusType::Success,
        Ok(value) => {
            task.status = TaskStatusType::Success;
            task.result = result::text(value);
        }
        Err(failure) => {
            let cancelled = failure.code == "TASK_CANCELLED";
            task.status = if cancelled { TaskStatusType::Cancelled } else { TaskStatusType::Failure };
            task.error_info = std::iter::once(&failure.code).chain(&failure.parameters).cloned().collect();
        }
    }
}

/// Removes tasks that have ended.
pub(crate) fn remove(objects: &Objects, tasks: &[Ref<Task>]) -> Result<(), Failure> {
    objects.change(|change| {
        for task in tasks {
            change.remove(*task);
            remove_beside(change, *task);
        }
        Ok(())
    })
}

/// Removes what is kept beside a task.
pub(crate) fn remove_beside(change: &mut Change<'_>, task: Ref<Task>) {
    change.remove_beside(&beside_of(task, "origin"));
    change.remove_beside(&unwanted_key(task));
}

/// Where it is kept that a task is to be removed after its end.
pub(crate) fn unwanted_key(task: Ref<Task>) -> String {
    beside_of(task, "unwanted")
}

/// Which of the tasks that have ended, at these times, are removed now; `true` says that nobody wants one.
pub(crate) fn to_collect(mut ended: Vec<(Ref<Task>, DateTime, bool)>, now: DateTime) -> Vec<Ref<Task>> {
    ended.sort_by_key(|(_, finished, _)| *finished);
    let too_many = ended.len().saturating_sub(KEPT);
    let mut collected = Vec::new();
    for (place, (task, finished, unwanted)) in ended.into_iter().enumerate() {
        let seconds = now.unix().saturating_sub(finished.unix());
        if seconds > KEPT_SECONDS || seconds > SEEN_SECONDS && (unwanted || place < too_many) {
            collected.push(task);
        }
    }
    collected
}

/// Whether a task has ended.
pub(crate) fn has_ended(task: &Task) -> bool {
    !matches!(task.status, TaskStatusType::Pending | TaskStatusType::Cancelling)
}

/// The failure of a task that a service left unfinished.
pub(crate) fn interrupted() -> Failure {
    codes::internal("the host service ended while this was carried out")
        .with_remedy("look at the object, and ask again if it is not as it should be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_tasks_are_collected_when_they_are_old_unwanted_or_too_many() {
        let at = |seconds: i64| DateTime::from_unix(seconds).unwrap();
        let new = || Ref::<Task>::new(Uuid::new_v4());
        let (old, kept, unwanted) = (new(), new(), new());
        let now = at(KEPT_SECONDS + 1);
        let just = (new(), now, true);
        let ended = vec![(kept, at(1000), false), (unwanted, at(3000), true), just, (old, at(0), false)];
        assert_eq!(to_collect(ended, now), [old, unwanted]);
        let many: Vec<_> = (0..KEPT as i64 + 3).rev().map(|seconds| (new(), at(seconds), false)).collect();
        let oldest: Vec<_> = many.iter().rev().take(3).map(|(task, ..)| *task).collect();
        assert_eq!(to_collect(many, at(300)), oldest);
    }
}
