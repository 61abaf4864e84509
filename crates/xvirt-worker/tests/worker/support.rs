//! Starts workers, and talks to them as a service does.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use tempfile::TempDir;
use xvirt_core::config::{Boot, ByteSize, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::{Event, EventRecord};
use xvirt_worker::protocol::{Answer, Build, ConsoleKind, Json, Layer, Request, Slot};
use xvirt_worker::{Connection, Descriptors, EventStream, Exit, ExitRecord, Settings, launch};

/// Long enough for a busy machine with an emulating KVM; never waited for in full unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TIMEOUT: u64 = 60_000;

/// This host, if it can run VMs; otherwise prints that the test was skipped.
pub fn host() -> Option<Host> {
    let host = Host::probe().unwrap();
    if let Err(error) = host.require_kvm() {
        println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
        return None;
    }
    Some(host)
}

/// Returns from the test if this host cannot run VMs.
#[macro_export]
macro_rules! host {
    () => {
        match $crate::support::host() {
            Some(host) => host,
            None => return,
        }
    };
}

/// A worker, and the folder of its files. It is killed when this is dropped.
pub struct Worker {
    pub folder: TempDir,
    process: OwnedFd,
}

impl Worker {
    pub fn start() -> Self {
        Self::with(&Settings::new(0).memory_limit(1 << 30))
    }

    pub fn with(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_group(folder, settings, None)
    }

    pub fn in_group(folder: TempDir, settings: &Settings, group: Option<File>) -> Self {
        launch_in(folder.path(), settings, group).unwrap();
        let process = Connection::open(folder.path().join("socket")).unwrap().peer_process().unwrap();
        Self { folder, process }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn stream(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn connect(&self) -> Connection {
        let connection = Connection::over(self.stream()).unwrap();
        connection.set_time_limit(Some(2 * PATIENCE)).unwrap();
        connection
    }

    /// Sends a request that is answered with nothing.
    pub fn ask(&self, request: Request) {
        assert_eq!(self.connect().call(&request, &[]).unwrap(), Answer::Nothing);
    }

    /// Builds a VM, and starts it.
    pub fn run(&self, parts: &Parts) {
        self.build(parts);
        self.ask(Request::Start);
    }

    pub fn build(&self, parts: &Parts) {
        assert_eq!(parts.send(&mut self.connect()).unwrap(), Answer::Nothing);
    }

    pub fn console(&self) -> Console {
        Console { stream: self.connect().console(ConsoleKind::Serial).unwrap(), text: String::new() }
    }

    pub fn events(&self, after: u64) -> Events {
        Events(self.connect().events(after).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.process, signal).unwrap();
    }

    /// Waits until the worker has ended, and returns what it recorded.
    pub fn wait(&self) -> Exit {
        let mut waiting = [PollFd::new(&self.process, PollFlags::IN)];
        let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut waiting, Some(&limit)).unwrap();
        assert_eq!(ended, 1, "the worker has not ended: {}", self.log());
        ExitRecord::read(&File::open(self.path("exit")).unwrap()).unwrap()
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        let mut waiting = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log has `text`.
    pub fn wait_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in the log: {}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        if std::thread::panicking() {
            println!("the log of the worker: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }
}

/// Starts a worker with the files of a folder.
pub fn launch_in(folder: &Path, settings: &Settings, group: Option<File>) -> xvirt_worker::Result<()> {
    let socket = UnixListener::bind(folder.join("socket")).unwrap();
    let create = |name: &str| File::create(folder.join(name)).unwrap();
    let mut descriptors = Descriptors::new(socket, create("exit"), create("log"));
    if let Some(group) = group {
        descriptors = descriptors.group(group);
    }
    launch(env!("CARGO_BIN_EXE_xvirt-worker"), settings, descriptors)
}

/// What a VM is built from.
pub struct Parts {
    pub build: Build,
    pub files: Vec<OwnedFd>,
}

impl Parts {
    pub fn new(host: &Host, config: &VmConfig) -> Self {
        let kvm = File::options().read(true).write(true).open("/dev/kvm").unwrap();
        let mut parts = Self { build: Build::default(), files: Vec::new() };
        parts.build.kvm = Some(parts.add(kvm));
        let mut kernel = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut kernel, demo::kernel()).unwrap();
        parts.build.kernel = Some(parts.add(kernel));
        parts.build.host = Json::of(host).unwrap();
        parts.build.config = Json::of(config).unwrap();
        parts
    }

    pub fn add(&mut self, file: impl Into<OwnedFd>) -> Slot {
        self.files.push(file.into());
        Slot(self.files.len() as u32 - 1)
    }

    /// Adds the images of a raw disk.
    pub fn disk(mut self, path: &Path) -> Self {
        let file = self.add(writable(path));
        self.build.disks.push(vec![Layer { file, format: "raw".into() }]);
        self
    }

    pub fn send(&self, connection: &mut Connection) -> xvirt_worker::Result<Answer> {
        let files: Vec<_> = self.files.iter().map(AsFd::as_fd).collect();
        connection.call(&Request::Build(Box::new(self.build.clone())), &files)
    }
}

pub fn writable(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// A guest that counts ticks, and answers lines.
pub fn ticking() -> VmConfig {
    config(&CommandLine::new([Mode::Echo, Mode::Timer]).hertz(50).ticks(0))
}

pub fn config(line: &CommandLine) -> VmConfig {
    VmConfig::new("demo").memory(ByteSize::mib(64)).boot(Boot::kernel("/boot/demo").command_line(line.to_string()))
}

/// A console of a worker.
pub struct Console {
    pub stream: UnixStream,
    text: String,
}

impl Console {
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
                // A socket with a time limit is also interrupted when the process is stopped and goes on (signal(7)).
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

    /// Reads to the end.
    pub fn rest(mut self) -> String {
        self.stream.read_to_string(&mut self.text).unwrap();
        self.text
    }
}

/// A stream of events.
pub struct Events(EventStream);

impl Events {
    pub fn next(&mut self) -> Option<(u64, Event)> {
        let frame = self.0.next(Some(PATIENCE)).unwrap()?;
        let record: EventRecord = frame.record.read("an event").unwrap();
        assert_eq!(record.sequence, frame.sequence);
        Some((frame.sequence, record.event))
    }

    /// Waits for an event, and returns its number.
    pub fn expect(&mut self, event: &Event) -> u64 {
        loop {
            let (sequence, found) = self.next().unwrap();
            if found == *event {
                return sequence;
            }
        }
    }
}
