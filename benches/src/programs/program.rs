//! A program that runs one VM: measures from its start to the guest's marker on its standard output.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::guest::{Guest, Stopwatch};
use crate::Result;

/// A program that runs one VM.
pub struct Program {
    /// Its name in tables.
    pub name: String,
    /// Details after a comma, such as its version.
    pub detail: String,
    /// Whether it is another VMM.
    pub peer: bool,
    command: Box<dyn Fn(&Guest) -> Command>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Program {
    /// A program that `command` makes the command of.
    pub fn new(name: impl Into<String>, peer: bool, command: impl Fn(&Guest) -> Command + 'static) -> Self {
        Self { name: name.into(), detail: String::new(), peer, command: Box::new(command) }
    }

    /// Adds a detail.
    pub fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Starts it with this guest, waits for the marker, and returns how long that took.
    ///
    /// # Errors
    /// It cannot be started, or the guest does not get that far.
    pub fn start(&self, guest: &Guest) -> Result<(Running, Duration)> {
        let mut complaints = tempfile::tempfile()?;
        let mut command = (self.command)(guest);
        // A pipe that stays open, because some programs stop at the end of their input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
        let mut watch = Stopwatch::start(guest);
        let mut running = Running(command.spawn().map_err(|e| format!("cannot run {:?}: {e}", command.get_program()))?);
        let stdout = running.0.stdout.as_mut().ok_or("a child without standard output")?;
        if let Some(time) = wait(stdout, &mut watch, guest.timeout) {
            return Ok((running, time));
        }
        drop(running);
        let (marker, time) = (guest.marker.trim(), watch.elapsed());
        Err(format!("no '{marker}' after {time:.1?}: {}; {}", watch.last(), tail(&mut complaints)).into())
    }
}

fn wait(stdout: &mut ChildStdout, watch: &mut Stopwatch<'_>, timeout: Duration) -> Option<Duration> {
    let mut buffer = [0; 4096];
    loop {
        let left = Timespec::try_from(timeout.checked_sub(watch.elapsed())?).ok()?;
        if poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&left)).ok()? == 0 {
            return None;
        }
        let count = stdout.read(&mut buffer).ok().filter(|count| *count > 0)?;
        if let Some(time) = watch.take(&buffer[..count]) {
            return Some(time);
        }
    }
}

/// The last error message of a program.
fn tail(complaints: &mut File) -> String {
    let mut text = String::new();
    let read = complaints.rewind().and_then(|()| complaints.read_to_string(&mut text));
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match (read, lines.last()) {
        (Ok(_), Some(line)) => format!("it complained: {line}"),
        _ => "it did not complain".to_owned(),
    }
}

/// A running program, which is killed on drop.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
