//! Starts a worker.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::fcntl_dupfd_cloexec;

use crate::error::kind;
use crate::{Error, Result, Settings};

/// The numbers of the descriptors that a worker inherits. Its log is the standard error output.
pub(crate) const SOCKET: RawFd = 3;
pub(crate) const EXIT_RECORD: RawFd = 4;
/// The first number that the worker does not inherit.
pub(crate) const FIRST_OTHER: RawFd = 5;

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
/// The program cannot be started; or the worker could not begin, in which case its exit record says why.
pub fn launch(program: impl AsRef<Path>, settings: &Settings, descriptors: Descriptors) -> Result<()> {
    let program = program.as_ref();
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
    let status = command.status().map_err(cannot)?;
    if status.success() {
        return Ok(());
    }
    let what = format!("the worker {} could not begin ({status})", program.display());
    Err(Error::new(kind::HOST_UNSUPPORTED, what).with_remedy("see its exit record and its log"))
}
