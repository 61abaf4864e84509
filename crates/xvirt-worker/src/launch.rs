//! Starts a worker.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::error::kind;
use crate::{Error, Result, Settings};

/// The numbers of the descriptors that a worker inherits. Its log is the standard error output.
pub(crate) const SOCKET: RawFd = 3;
pub(crate) const EXIT_RECORD: RawFd = 4;
/// The first number that the worker does not inherit.
pub(crate) const FIRST_OTHER: RawFd = 5;

/// How long a worker may take to begin. What starts it may wait for others, such as a service manager.
const BEGIN: Duration = Duration::from_secs(60);

/// What a worker inherits.
#[derive(Debug)]
#[non_exhaustive]
pub struct Descriptors {
    /// The socket on which it accepts connections.
    pub socket: UnixListener,
    /// The empty file for its [exit record](crate::ExitRecord), open for writing.
    pub exit_record: File,
    /// The file for its log. It must not be a pipe, whose reader could stop the VM by not reading.
    pub log: File,
    /// The open `cgroup.procs` of the control group that it joins, if it gets one of its own. Whoever makes the group
    /// sets its limits (`memory.max`, `cpu.max`).
    pub group: Option<File>,
    /// A program with its arguments that runs the worker, such as `systemd-run --scope`: the worker's program and its
    /// argument are added at the end. It must leave the worker its descriptors. Empty for none.
    pub runner: Vec<OsString>,
}

impl Descriptors {
    /// What a worker inherits, without a control group.
    pub fn new(socket: UnixListener, exit_record: File, log: File) -> Self {
        Self { socket, exit_record, log, group: None, runner: Vec::new() }
    }

    /// Sets the control group that it joins: the open `cgroup.procs`.
    #[must_use]
    pub fn group(mut self, processes: File) -> Self {
        self.group = Some(processes);
        self
    }

    /// Sets the program, with its arguments, that runs the worker.
    #[must_use]
    pub fn runner(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.runner = command.into_iter().map(Into::into).collect();
        self
    }
}

/// Starts a worker from its `program`. It is no child of this process afterwards, belongs to a session of its own, and
/// lives on when this process ends. Connect to its socket to use it.
///
/// # Errors
/// The program cannot be started; or the worker could not begin, in which case its exit record says why;
/// [`kind::TIMEOUT`] if it has not begun within a minute, after which it is killed.
pub fn launch(program: impl AsRef<Path>, settings: &Settings, descriptors: Descriptors) -> Result<()> {
    launch_within(program.as_ref(), settings, descriptors, BEGIN)
}

fn launch_within(program: &Path, settings: &Settings, descriptors: Descriptors, limit: Duration) -> Result<()> {
    let cannot = |error: io::Error| Error::io(format_args!("cannot start the worker {}", program.display()), &error);
    let settings = serde_json::to_string(settings).map_err(|e| cannot(e.into()))?;
    let Descriptors { socket, exit_record, log, group, runner } = descriptors;
    // Above all numbers that are given in the child.
    let above = |file: OwnedFd| fcntl_dupfd_cloexec(&file, FIRST_OTHER).map_err(|errno| cannot(errno.into()));
    let (socket, exit_record) = (above(socket.into())?, above(exit_record.into())?);
    let group = group.map(OwnedFd::from);
    let mut command = match runner.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg(settings).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log));
    let prepare = move || {
        if let Some(group) = &group {
            rustix::io::write(group, b"0")?;
        }
        rustix::process::setsid()?;
        for (from, to) in [(&socket, SOCKET), (&exit_record, EXIT_RECORD)] {
            // SAFETY: the child has only this thread, and nothing in it uses these numbers.
            if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: it only makes system calls, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    // What it waits for is the beginning, of which the worker is a child that has been left to init.
    let mut starter = command.spawn().map_err(cannot)?;
    // Its copies of what the worker inherits.
    drop(command);
    let begun = has_ended(&starter, limit);
    if !matches!(begun, Ok(true)) {
        // Its session is one of its own, and the worker is in the same process group.
        if let Some(group) = Pid::from_raw(starter.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let status = starter.wait().map_err(cannot)?;
    if !begun.map_err(|errno| cannot(errno.into()))? {
        let what = format!("the worker {} has not begun within {limit:?}, and was killed", program.display());
        return Err(Error::new(kind::TIMEOUT, what).with_remedy("see its log, and whether the host is overloaded"));
    }
    if status.success() {
        return Ok(());
    }
    let what = format!("the worker {} could not begin ({status})", program.display());
    Err(Error::new(kind::HOST_UNSUPPORTED, what).with_remedy("see its exit record and its log"))
}

/// Waits until a child has ended, at most `limit`. Returns whether it has.
fn has_ended(child: &Child, limit: Duration) -> rustix::io::Result<bool> {
    let number = Pid::from_raw(child.id().cast_signed()).ok_or(Errno::SRCH)?;
    // Its number is not given to another one before it was waited for.
    let process = pidfd_open(number, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        let mut waiting = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut waiting, Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return polled.map(|count| count > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_begin_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(folder.path().join("socket")).unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let descriptors = Descriptors::new(socket, file("exit"), file("log"));
        // As a service manager that does not answer.
        let descriptors = descriptors.runner(["/bin/sh", "-c", "sleep 1000000; exit 0"]);
        let settings = Settings::new(0);
        let error = launch_within(Path::new("/bin/true"), &settings, descriptors, Duration::from_millis(50));
        assert_eq!(error.unwrap_err().kind(), kind::TIMEOUT);
        // Nothing of it is left that would accept connections, once all its processes have ended.
        let deadline = Instant::now() + BEGIN;
        while std::os::unix::net::UnixStream::connect(folder.path().join("socket")).is_ok() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
