//! QEMU: its program, and its monitor protocol (QMP, `docs/interop/qmp-spec` in QEMU).

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::guest::Guest;
use crate::monitor::Monitor;

/// How long QEMU may take to create its socket, and to do what it is asked for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the state of a migration is asked for.
const POLL: Duration = Duration::from_millis(1);

/// The program in `QEMU`, or `qemu-system-x86_64`.
#[derive(Debug)]
pub struct Qemu {
    program: OsString,
    version: String,
}

impl Qemu {
    /// Finds the program.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn find() -> Result<Self> {
        let program = std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
        let answer = Command::new(&program).arg("--version").output();
        let answer = answer.map_err(|e| format!("cannot run {}: {e}; install it, or set QEMU", program.display()))?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let version = text.split_ascii_whitespace().nth(3).unwrap_or_default().to_owned();
        Ok(Self { program, version })
    }

    /// Its version, such as `7.2.19`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether its version is at least `major.minor`.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split('.').filter_map(|number| number.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
    }

    /// Starts `guest`, with a monitor at `socket` and `more` options.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(&self, guest: &Guest, socket: &Path, more: &[&str]) -> Result<Monitor> {
        let mut command = Command::new(&self.program);
        let data = std::env::var_os("QEMU_DATA").unwrap_or_default();
        for folder in std::env::split_paths(&data).filter(|folder| !folder.as_os_str().is_empty()) {
            command.arg("-L").arg(folder);
        }
        command.args(["-accel", "kvm", "-M", "microvm,pit=off,pic=off,rtc=off,acpi=on", "-cpu", "qemu64", "-smp", "1"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        command.arg("-m").arg(format!("{}M", guest.mebibytes()));
        command.arg("-kernel").arg(&guest.kernel).arg("-append").arg(&guest.command_line);
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        command.args(more);
        Monitor::start(command)
    }
}

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects, once the socket exists.
    ///
    /// # Errors
    /// There is no socket in time, or QEMU does not answer.
    pub fn connect(socket: &Path) -> Result<Self> {
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => thread::sleep(POLL),
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { stream: BufReader::new(stream) };
        qmp.run("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command, and returns its answer.
    ///
    /// # Errors
    /// The command fails, or QEMU ends.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(format!("QEMU ended during {command}").into());
            }
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                return Err(format!("{command} failed: {error}").into());
            }
            // Its greeting and its events are not of interest.
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
        }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// As those of [`ask`](Self::ask).
    pub fn run(&mut self, command: &str, arguments: &Value) -> Result<()> {
        self.ask(command, arguments).map(drop)
    }

    /// Asks until the status is one of `good`, and returns that answer.
    ///
    /// # Errors
    /// The status is one of `bad`, or not one of `good` in time.
    pub fn wait(&mut self, query: &str, good: &[&str], bad: &[&str]) -> Result<Value> {
        let began = Instant::now();
        loop {
            let answer = self.ask(query, &json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
            if good.contains(&status) {
                return Ok(answer);
            }
            if bad.contains(&status) || began.elapsed() > PATIENCE {
                return Err(format!("{query} says {answer}").into());
            }
            thread::sleep(POLL);
        }
    }
}
