//! Makes hosts, and uses them.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_pool::operation::{Caller, Failure, Verbs};
use xvirt_pool::{Host, HostOptions};

/// Long enough for a busy machine with an emulating KVM; never waited for in full unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this host can run VMs; otherwise prints that the test was skipped.
pub fn can_run() -> bool {
    match xvirt_core::host::Host::probe().unwrap().require_kvm() {
        Ok(()) => true,
        Err(error) => {
            println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
            false
        }
    }
}

/// Returns from the test if this host cannot run VMs.
#[macro_export]
macro_rules! needs_kvm {
    () => {
        if !$crate::support::can_run() {
            return;
        }
    };
}

/// The folders of a host. What still runs of it is killed when this is dropped.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.state().join("kernels")).unwrap();
        fs::write(place.state().join("kernels/demo"), demo::kernel()).unwrap();
        place
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Nothing is left of any worker. A VM is halted before the last file of its worker is removed.
    pub fn require_no_workers(&self) {
        let folders = || fs::read_dir(self.run().join("workers")).unwrap().count();
        assert_eq!(xvirt_testing::process::comes_to(&0, PATIENCE, folders), Ok(()));
    }

    pub fn options(&self) -> HostOptions {
        options(self.folder.path())
    }

    pub fn open(&self) -> Service {
        Service(Host::open(self.options()).unwrap())
    }
}

/// The options of the host in a folder.
pub fn options(folder: &Path) -> HostOptions {
    HostOptions::new(folder.join("state"), folder.join("run"))
        .worker(xvirt_testing::worker::worker_program())
        .shutdown_timeout(PATIENCE)
}

impl Drop for Place {
    fn drop(&mut self) {
        for process in workers_of(&self.run()) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
}

/// The processes of the workers whose sockets are in a folder, by the kernel's list of who has them open.
pub fn workers_of(run: &Path) -> Vec<rustix::process::Pid> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let run = run.to_str().unwrap();
    let inodes: Vec<String> = sockets
        .lines()
        .filter(|line| line.contains(run))
        .filter_map(|line| Some(format!("socket:[{}]", line.split_whitespace().nth(6)?)))
        .collect();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let name = process.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if !String::from_utf8_lossy(&command).contains("xvirt-worker") {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let has = files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|file| inodes.iter().any(|inode| file.to_str() == Some(inode)));
        if has {
            found.extend(rustix::process::Pid::from_raw(number));
        }
    }
    found
}

/// A host, with verbs that must succeed.
pub struct Service(pub Host);

pub fn me() -> Caller {
    Caller::Local { uid: 0 }
}

impl Service {
    pub fn call(&self, verb: &str, parameters: impl Into<Vec<Value>>) -> Result<Value, Failure> {
        self.0.call(&me(), verb, parameters.into())
    }

    pub fn ok(&self, verb: &str, parameters: impl Into<Vec<Value>>) -> Value {
        let parameters = parameters.into();
        self.call(verb, parameters.clone()).unwrap_or_else(|failure| panic!("{verb}{parameters:?}: {failure}"))
    }

    /// The code of a verb's failure.
    pub fn code(&self, verb: &str, parameters: impl Into<Vec<Value>>) -> String {
        self.call(verb, parameters).unwrap_err().code
    }

    /// Makes a VM that boots the demo guest.
    pub fn create(&self, name: &str, line: &CommandLine) -> Value {
        self.ok("VM.create", [record(name, line)])
    }

    pub fn field(&self, class: &str, reference: &Value, field: &str) -> Value {
        self.ok(&format!("{class}.get_{field}"), [reference.clone()])
    }

    pub fn power_state(&self, vm: &Value) -> String {
        self.field("VM", vm, "power_state").as_str().unwrap().to_owned()
    }

    pub fn console(&self, vm: &Value) -> Console {
        Console::over(self.0.console(&me(), vm.as_str().unwrap()).unwrap())
    }

    /// Waits until a field has a value.
    pub fn wait(&self, class: &str, reference: &Value, field: &str, expected: impl Into<Value>) {
        let (expected, deadline) = (expected.into(), Instant::now() + PATIENCE);
        loop {
            let found = self.field(class, reference, field);
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{class}.{field} is {found}, not {expected}");
            std::thread::yield_now();
        }
    }

    /// Waits for a task, and returns its record.
    pub fn wait_task(&self, task: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.ok("task.get_record", [task.clone()]);
            if !["pending", "cancelling"].contains(&record["status"].as_str().unwrap()) {
                return record;
            }
            assert!(Instant::now() < deadline, "{record}");
            std::thread::yield_now();
        }
    }

    /// The names and bodies of the messages about a VM.
    pub fn messages(&self, vm: &Value) -> Vec<(String, String)> {
        let uuid = self.field("VM", vm, "uuid");
        let all = self.ok("message.get_all_records", []);
        let all = all.as_object().unwrap().values().filter(|message| message["obj_uuid"] == uuid);
        let text = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
        all.map(|message| (text(message, "name"), text(message, "body"))).collect()
    }
}

/// The record of a VM that boots the demo guest.
pub fn record(name: &str, line: &CommandLine) -> Value {
    json!({
        "name_label": name,
        "PV_kernel": "demo",
        "PV_args": line.to_string(),
        "memory_static_max": 64 << 20,
        "memory_static_min": 64 << 20,
        "memory_dynamic_min": 64 << 20,
        "memory_dynamic_max": 64 << 20,
    })
}

/// A guest that counts ticks, answers lines, and powers off when asked.
pub fn ticking() -> CommandLine {
    CommandLine::new([Mode::Echo, Mode::Timer]).hertz(50).ticks(0)
}

/// A console of a VM.
pub struct Console {
    pub stream: UnixStream,
    text: String,
}

impl Console {
    pub fn over(stream: UnixStream) -> Self {
        Self { stream, text: String::new() }
    }

    /// Waits until the guest has printed `text`, and returns the output up to it.
    pub fn expect(&mut self, text: &str) -> String {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            if let Some(at) = self.text.find(text) {
                let rest = self.text.split_off(at + text.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 4096];
            let count = match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(count > 0, "the console ended before {text:?}: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    /// Waits for the next whole line about a tick, and returns its number.
    pub fn tick(&mut self) -> u64 {
        self.expect("timer: tick ");
        let line = self.expect("\r");
        line.trim_end().parse().unwrap()
    }
}
