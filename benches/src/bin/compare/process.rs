//! A contender that is a program: measures from its start to the guest's marker on its standard output.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xvirt_benches::Result;

use crate::contender::Contender;
use crate::guest::{Guest, Stopwatch};

pub(crate) struct Program {
    name: String,
    detail: String,
    peer: bool,
    command: Box<dyn Fn(&Guest) -> Command>,
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, peer: bool, command: impl Fn(&Guest) -> Command + 'static) -> Self {
        Self { name: name.into(), detail: String::new(), peer, command: Box::new(command) }
    }

    pub(crate) fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }
}

impl Contender for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn detail(&self) -> &str {
        &self.detail
    }

    fn is_peer(&self) -> bool {
        self.peer
    }

    fn run(&mut self, guest: &Guest) -> Result<Duration> {
        let mut complaints = tempfile::tempfile()?;
        let mut command = (self.command)(guest);
        // A pipe that stays open, because some programs stop at the end of their input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
        let mut watch = Stopwatch::start(guest);
        let mut child = Running(command.spawn().map_err(|e| format!("cannot run {:?}: {e}", command.get_program()))?);
        let stdout = child.0.stdout.take().ok_or("a child without standard output")?;
        let time = wait(stdout, &mut watch, guest.timeout);
        drop(child);
        time.ok_or_else(|| {
            format!(
                "no '{}' after {:.1?}: {}; {}",
                guest.marker.trim(),
                watch.elapsed(),
                watch.last(),
                tail(&mut complaints)
            )
            .into()
        })
    }
}

fn wait(mut stdout: ChildStdout, watch: &mut Stopwatch<'_>, timeout: Duration) -> Option<Duration> {
    let mut buffer = [0; 4096];
    loop {
        let left = Timespec::try_from(timeout.checked_sub(watch.elapsed())?).ok()?;
        if poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)).ok()? == 0 {
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

/// A child that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
