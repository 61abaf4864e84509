//! Tasks: what goes on, and what came of it. They are in the store, so they outlive the service; what is here is what
//! only a service that carries one out needs, to cancel it.

use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::model::{DateTime, Host, Ref, Task, TaskAllowedOperations, TaskStatusType};
use crate::objects::{Change, Objects, beside_of};
use crate::operation::{Caller, Failure, codes};
use crate::sync::lock;

/// How many ended tasks are kept.
const KEPT: usize = 500;
/// How many are removed at once when there are more.
const REMOVED_AT_ONCE: usize = 40;

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
    ended: Mutex<VecDeque<Uuid>>,
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
        let Caller::Local { uid } = caller;
        let running = Arc::new(Running {
            task: Ref::new(uuid),
            origin: Origin { verb: verb.to_owned(), caller: format!("uid {uid}"), object },
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

    /// Forgets a task that has ended, and returns those that are to be removed because there are too many.
    pub(crate) fn forget(&self, running: &Running) -> Vec<Ref<Task>> {
        let uuid = running.task.uuid().unwrap_or_default();
        lock(&self.running).remove(&uuid);
        if !running.recorded.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut ended = lock(&self.ended);
        ended.push_back(uuid);
        if ended.len() < KEPT + REMOVED_AT_ONCE {
            return Vec::new();
        }
        ended.drain(..REMOVED_AT_ONCE).map(Ref::new).collect()
    }

    /// Remembers the tasks that ended before this service began, oldest first.
    pub(crate) fn remember_ended(&self, tasks: impl IntoIterator<Item = Uuid>) {
        lock(&self.ended).extend(tasks);
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
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            task.result = format!("<value>{}</value>", escaped(&text));
        }
        Err(failure) => {
            let cancelled = failure.code == "TASK_CANCELLED";
            task.status = if cancelled { TaskStatusType::Cancelled } else { TaskStatusType::Failure };
            task.error_info = std::iter::once(&failure.code).chain(&failure.parameters).cloned().collect();
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Removes tasks that have ended.
pub(crate) fn remove(objects: &Objects, tasks: &[Ref<Task>]) -> Result<(), Failure> {
    objects.change(|change| {
        for task in tasks {
            change.remove(*task);
            change.remove_beside(&beside_of(*task, "origin"));
        }
        Ok(())
    })
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
