//! A service with a few VMs whose verbs are made up, and the command.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;
use xvirt_pool::model::{Host, Record, Task, Vm};
use xvirt_pool::operation::{Caller, Failure, Verbs};
use xvirt_pool::xenapi::{Limits, Listeners, Server};

/// The state of a service.
#[derive(Default)]
pub struct Fake {
    pub objects: Mutex<BTreeMap<String, Value>>,
    pub calls: Mutex<Vec<(String, Vec<Value>)>>,
    /// How tasks end: at once with success, unless it says otherwise.
    pub ending: Mutex<Option<Ending>>,
    begun: Mutex<Option<Sender<()>>>,
    consoles: Mutex<Option<Sender<UnixStream>>>,
    /// A task has changed.
    changed: Condvar,
}

#[derive(Clone, Copy)]
pub enum Ending {
    /// With a failure.
    Failed,
    /// When it is cancelled.
    WhenCancelled,
}

fn new(uuid: Uuid) -> String {
    format!("OpaqueRef:{uuid}")
}

impl Fake {
    fn record(&self, parameters: &[Value]) -> Result<Value, Failure> {
        let reference = parameters.first().and_then(Value::as_str).unwrap_or_default();
        let objects = self.objects.lock().unwrap();
        objects.get(reference).cloned().ok_or_else(|| Failure::new("HANDLE_INVALID", ["VM", reference]))
    }

    /// Adds a VM, and returns its UUID.
    pub fn vm(&self, name: &str, state: &str) -> String {
        let uuid = Uuid::new_v4();
        let version = if state == "Halted" { "" } else { "0.9.0" };
        let record = json!({ "uuid": uuid, "name_label": name, "power_state": state, "xvirt_worker_version": version });
        let record = serde_json::to_value(Vm::from_value(record).unwrap()).unwrap();
        self.objects.lock().unwrap().insert(new(uuid), record);
        uuid.to_string()
    }

    /// Adds a host whose service has this version, and returns its reference.
    pub fn host(&self, version: &str) -> String {
        let uuid = Uuid::new_v4();
        let record = json!({ "uuid": uuid, "software_version": { "xvirt": version } });
        let record = serde_json::to_value(Host::from_value(record).unwrap()).unwrap();
        self.objects.lock().unwrap().insert(new(uuid), record);
        new(uuid)
    }

    fn task(&self, verb: &str) -> Value {
        let uuid = Uuid::new_v4();
        let (status, error): (_, Vec<&str>) = match *self.ending.lock().unwrap() {
            None => ("success", vec![]),
            Some(Ending::Failed) => ("failure", vec!["HOST_NOT_ENOUGH_FREE_MEMORY", "2", "1", "stop another VM"]),
            Some(Ending::WhenCancelled) => ("pending", vec![]),
        };
        let record =
            json!({ "uuid": uuid, "name_label": verb, "status": status, "error_info": error, "progress": 0.5 });
        let record = serde_json::to_value(Task::from_value(record).unwrap()).unwrap();
        self.objects.lock().unwrap().insert(new(uuid), record);
        if let Some(begun) = &*self.begun.lock().unwrap() {
            begun.send(()).unwrap();
        }
        json!(new(uuid))
    }

    /// Waits for a change of a task, as `event.from` does. The token is the status that the caller knows.
    fn events(&self, parameters: &[Value]) -> Value {
        let reference = parameters[0][0].as_str().unwrap().strip_prefix("task/").unwrap();
        let known = |objects: &mut BTreeMap<String, Value>| objects[reference]["status"] == parameters[1];
        let objects = self.changed.wait_while(self.objects.lock().unwrap(), known).unwrap();
        let record = &objects[reference];
        let event = json!({ "id": "1", "timestamp": "0.0", "class": "task", "operation": "mod", "ref": reference, "snapshot": record });
        json!({ "events": [event], "valid_ref_counts": { "task": 1 }, "token": record["status"] })
    }

    fn all(&self, field: &str) -> Value {
        let objects = self.objects.lock().unwrap();
        objects
            .iter()
            .filter(|(_, record)| record.get(field).is_some())
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    }
}

impl Verbs for Fake {
    fn call(&self, _: &Caller, verb: &str, parameters: Vec<Value>) -> Result<Value, Failure> {
        self.calls.lock().unwrap().push((verb.to_owned(), parameters.clone()));
        if let Some(verb) = verb.strip_prefix("Async.") {
            return Ok(self.task(verb));
        }
        match verb {
            "VM.get_all_records" => Ok(self.all("power_state")),
            "host.get_all_records" if self.all("software_version") != json!({}) => Ok(self.all("software_version")),
            "VM.get_xvirt_worker_version" => Ok(self.record(&parameters)?["xvirt_worker_version"].clone()),
            "task.get_all_records" => Ok(self.all("error_info")),
            "VM.get_record" | "task.get_record" => self.record(&parameters),
            "VM.get_power_state" => Ok(self.record(&parameters)?["power_state"].clone()),
            "VM.get_uuid" => Ok(self.record(&parameters)?["uuid"].clone()),
            "VM.get_by_name_label" => {
                let objects = self.objects.lock().unwrap();
                let named = objects.iter().filter(|(_, record)| record["name_label"] == parameters[0]);
                Ok(named.map(|(reference, _)| json!(reference)).collect())
            }
            "VM.create" => {
                let uuid = Uuid::new_v4();
                let mut record = serde_json::to_value(Vm::from_value(parameters[0].clone()).unwrap()).unwrap();
                record["uuid"] = json!(uuid);
                self.objects.lock().unwrap().insert(new(uuid), record);
                Ok(json!(new(uuid)))
            }
            "VM.destroy" | "VM.hard_shutdown" => Ok(Value::Null),
            "pool.get_all" => Ok(json!(["OpaqueRef:pool"])),
            "pool.get_default_SR" => Ok(json!(new(Uuid::from_u128(7)))),
            "VDI.create" => Err(Failure::new("SR_FULL", ["2", "1", "make room"])),
            "task.cancel" => {
                let reference = parameters[0].as_str().unwrap();
                let mut objects = self.objects.lock().unwrap();
                let task =
                    objects.get_mut(reference).ok_or_else(|| Failure::new("HANDLE_INVALID", ["task", reference]))?;
                task["status"] = json!("cancelled");
                task["error_info"] = json!(["TASK_CANCELLED", reference]);
                self.changed.notify_all();
                Ok(Value::Null)
            }
            "task.destroy" => Ok(Value::Null),
            "event.from" => Ok(self.events(&parameters)),
            _ => Err(Failure::new("MESSAGE_METHOD_UNKNOWN", [verb])),
        }
    }

    fn console(&self, _: &Caller, reference: &str) -> Result<UnixStream, Failure> {
        let (one, other) = UnixStream::pair().unwrap();
        match &*self.consoles.lock().unwrap() {
            Some(opened) => opened.send(one).unwrap(),
            None => return Err(Failure::new("VM_BAD_POWER_STATE", [reference, "running", "halted", "start it"])),
        }
        Ok(other)
    }
}

/// A service, until it is dropped.
pub struct Service {
    pub fake: Arc<Fake>,
    server: Server,
    _folder: TempDir,
}

impl Service {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Arc::new(Fake::default());
        let verbs = Arc::clone(&fake) as Arc<dyn Verbs>;
        let server = Server::start(verbs, Listeners::socket(folder.path().join("socket")), Limits::default()).unwrap();
        Self { fake, server, _folder: folder }
    }

    /// The consoles that are opened from now on.
    pub fn consoles(&self) -> Receiver<UnixStream> {
        let (opened, consoles) = channel();
        *self.fake.consoles.lock().unwrap() = Some(opened);
        consoles
    }

    /// A message for each task that begins from now on.
    pub fn begun(&self) -> Receiver<()> {
        let (begun, tasks) = channel();
        *self.fake.begun.lock().unwrap() = Some(begun);
        tasks
    }

    /// The command with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xvirt(arguments);
        command.env("XVIRT_SOCKET", self.server.path());
        command
    }

    /// What the command prints, and its exit status.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The names of the verbs that were called.
    pub fn verbs(&self) -> Vec<String> {
        self.fake.calls.lock().unwrap().iter().map(|(verb, _)| verb.clone()).collect()
    }
}

/// The command, without a service.
pub fn xvirt(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xvirt"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
