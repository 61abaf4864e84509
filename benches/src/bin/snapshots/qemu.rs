//! QEMU's migration to a file.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_benches::Result;
use xvirt_benches::monitor::Monitor;

use crate::guest::{Guest, READY};
use crate::peer::{Peer, evict, sync, time};

/// How long QEMU may take to create its socket, and to migrate.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the state of a migration is asked for.
const POLL: Duration = Duration::from_millis(1);

struct Qemu {
    program: OsString,
    name: String,
    /// Whether it can migrate to a file itself, as versions from 8.2 can; older ones start a program that writes it.
    writes_files: bool,
}

pub(crate) fn find() -> Result<Box<dyn Peer>> {
    let program = std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    let answer = Command::new(&program).arg("--version").output();
    let answer = answer.map_err(|e| format!("cannot run {}: {e}; install it, or set QEMU", program.display()))?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let version = text.split_ascii_whitespace().nth(3).unwrap_or_default();
    let mut numbers = version.split('.').filter_map(|number| number.parse::<u32>().ok());
    let writes_files = (numbers.next(), numbers.next()) >= (Some(8), Some(2));
    let how = if writes_files { "file:" } else { "exec:" };
    Ok(Box::new(Qemu { name: format!("qemu {version} {how}"), program, writes_files }))
}

impl Qemu {
    fn start(&self, guest: &Guest, socket: &Path, more: &[&str]) -> Result<Monitor> {
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

    fn address(&self, file: &Path, program: &str, direction: char) -> String {
        match self.writes_files {
            true => format!("file:{}", file.display()),
            false => format!("exec:{program} {direction} {}", file.display()),
        }
    }
}

impl Peer for Qemu {
    fn name(&self) -> &str {
        &self.name
    }

    fn suspend_and_resume(&mut self, guest: &Guest) -> Result<(Duration, Duration)> {
        let folder = tempfile::tempdir_in(guest.folder())?;
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved)?;
        let file = saved.join("state");
        let socket = folder.path().join("first.sock");
        let mut monitor = self.start(guest, &socket, &[])?;
        monitor.wait_for(READY)?;
        let mut qmp = Qmp::connect(&socket)?;
        qmp.run("stop", &json!({}))?;
        qmp.run("migrate-set-parameters", &json!({"max-bandwidth": 1_u64 << 40}))?;
        let suspend = time(|| {
            qmp.run("migrate", &json!({"uri": self.address(&file, "cat", '>')}))?;
            qmp.wait("query-migrate", &["completed"], &["failed", "cancelled"])?;
            sync(&saved)
        })?;
        drop(monitor);
        evict(&saved)?;
        let socket = folder.path().join("second.sock");
        let mut monitor = self.start(guest, &socket, &["-incoming", "defer"])?;
        let mut qmp = Qmp::connect(&socket)?;
        let resume = time(|| {
            qmp.run("migrate-incoming", &json!({"uri": self.address(&file, "cat", '<')}))?;
            // It was stopped when it was saved, and is so now.
            qmp.wait("query-status", &["paused", "postmigrate", "running"], &["internal-error", "shutdown"])?;
            qmp.run("cont", &json!({}))
        })?;
        monitor.wait_for("pass ")?;
        Ok((suspend, resume))
    }
}

/// QEMU's monitor protocol.
struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    fn connect(socket: &Path) -> Result<Self> {
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
    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
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

    fn run(&mut self, command: &str, arguments: &Value) -> Result<()> {
        self.ask(command, arguments).map(drop)
    }

    /// Asks until the status is one of `good`.
    fn wait(&mut self, query: &str, good: &[&str], bad: &[&str]) -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.ask(query, &json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
            if good.contains(&status) {
                return Ok(());
            }
            if bad.contains(&status) || began.elapsed() > PATIENCE {
                return Err(format!("{query} says {answer}").into());
            }
            thread::sleep(POLL);
        }
    }
}
