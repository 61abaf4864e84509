//! One running `passt` process.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread};
use rustix::process::{
    self, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, pidfd_open, pidfd_send_signal, waitid,
};

use super::PasstCommand;
use super::output::Output;
use super::refusal::{not_started, refused};
use crate::net::MacAddress;
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// The descriptor number of its end of the socket pair: the first after standard input, output and error.
const SOCKET: i32 = 3;
/// The time limit until it reads frames. Usually it takes a few hundredths of a second.
const MAX_START: Duration = Duration::from_secs(10);
/// The polling interval until then.
const LOOK: Duration = Duration::from_millis(2);
/// The most reads of its output after its end: the pipe holds no more, unless another process still writes to it.
const LAST_READS: usize = 16;
/// An EtherType for local experiments (IEEE 802, clause 9.2.4), which `passt` ignores.
const LOCAL_EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

/// Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Passt {
    pidfd: OwnedFd,
    output: Output,
}

impl Passt {
    /// Starts it for a guest with the MAC address `mac`, and waits until it carries frames over the socket.
    ///
    /// # Errors
    /// It is not installed, exits with an error, or does not respond; [`Cancelled`](ErrorKind::Cancelled) if `stop`
    /// becomes readable meanwhile.
    pub(super) fn start(command: &PasstCommand, mac: MacAddress, stop: BorrowedFd<'_>) -> Result<(Self, UnixStream)> {
        let failed = |e| Error::io("cannot create the socket pair for passt", e);
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let (output, errors) = io::pipe().map_err(failed)?;
        let pid = spawn(command, far.as_fd(), errors.as_fd())?;
        drop(errors);
        let mut passt = Self { pidfd: watch(pid).map_err(failed)?, output: Output::new(output) };
        // It has started when it has read the first frame, which it ignores.
        (&near).write_all(&first_frame(mac)).map_err(failed)?;
        passt.wait_until_it_reads(command, &far, stop)?;
        Ok((passt, near))
    }

    fn wait_until_it_reads(&mut self, command: &PasstCommand, far: &UnixStream, stop: BorrowedFd<'_>) -> Result<()> {
        let wait = Wait::at_most(MAX_START);
        let failed = |e| Error::io("cannot watch the start of passt", e);
        while ioctl_fionread(far).map_err(|errno| failed(errno.into()))? > 0 {
            let [ended, stopped] = readable([self.pidfd.as_fd(), stop], Some(LOOK)).map_err(failed)?;
            if stopped {
                return Err(Error::new(ErrorKind::Cancelled, "the start of passt was cancelled"));
            }
            if ended {
                let ending = self.reap();
                return Err(refused(command, &ending, self.output.last_lines()));
            }
            wait.check().map_err(|ended| {
                let program = command.program.display();
                ended.error(format_args!("{program} to carry frames"), || {
                    let what = format!("{program} has not begun to carry frames within {MAX_START:?}");
                    Error::new(ErrorKind::Timeout, what).with_remedy("try to start it in a shell")
                })
            })?;
        }
        Ok(())
    }

    /// Waits for its end and describes it; `None` if `stop` becomes readable first.
    pub(super) fn wait(&mut self, stop: BorrowedFd<'_>) -> Option<String> {
        loop {
            // Polls the pidfd twice if it has closed its output.
            let pidfd = self.pidfd.as_fd();
            let input = self.output.input().unwrap_or(pidfd);
            match readable([stop, pidfd, input], None) {
                Ok([true, ..]) => return None,
                Ok([_, true, _]) => return Some(self.reap()),
                Ok([_, _, true]) => self.output.read(),
                Ok(_) => {}
                Err(error) => return Some(format!("the process cannot be watched: {error}")),
            }
        }
    }

    /// Its last messages.
    pub(super) fn last_lines(&self) -> String {
        self.output.last_lines()
    }

    /// Waits for its end, reaps it, and describes how it ended.
    fn reap(&mut self) -> String {
        for _ in 0..LAST_READS {
            match self.output.input().map(|input| readable([input], Some(Duration::ZERO))) {
                Some(Ok([true])) => self.output.read(),
                _ => break,
            }
        }
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                other => break other.ok().flatten(),
            }
        };
        // The program may wait for all its children, or have the kernel reap them.
        let Some(status) = status else { return "unknown exit status, because the program has reaped it".to_owned() };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => "unknown exit status".to_owned(),
        }
    }
}

impl Drop for Passt {
    fn drop(&mut self) {
        // Fails if it has ended already, or if a security module forbids it; then it ends because its socket is closed.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.reap();
    }
}

/// Starts the program with one end of the socket pair, without the environment and the signal settings of this process.
fn spawn(command: &PasstCommand, socket: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> Result<Pid> {
    let failed = |e| not_started(command, e);
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    // Moved away from the descriptor numbers that they will get in the child.
    let above = |fd: BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, SOCKET + 1).map_err(|errno| failed(errno.into()));
    let (null, errors, socket) = (above(null.as_fd())?, above(errors)?, above(socket)?);
    let mut program = vec![command.program.as_os_str().as_bytes().to_vec()];
    program.extend(["--foreground".into(), "--fd".into(), SOCKET.to_string().into_bytes()]);
    program.extend(command.options.iter().map(|option| option.clone().into_bytes()));
    let arguments: Vec<_> =
        program.into_iter().map(CString::new).collect::<std::result::Result<_, _>>().map_err(|e| failed(e.into()))?;
    let start = || {
        let mut actions = PosixSpawnFileActions::init()?;
        for (fd, number) in [(&null, 0), (&null, 1), (&errors, 2), (&socket, SOCKET)] {
            actions.add_dup2(fd.as_raw_fd(), number)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        // In a process group of its own, so that a terminal's interrupt reaches only this program, which may shut its
        // guest down.
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
        )?;
        attributes.set_sigmask(&SigSet::empty())?;
        attributes.set_sigdefault(&SigSet::all())?;
        attributes.set_pgroup(Pid::from_raw(0))?;
        posix_spawnp(&arguments[0], &actions, &attributes, &arguments, &[] as &[CString])
    };
    start().map_err(|errno| failed(errno.into()))
}

/// A pidfd of a child that was just started; kills the child on failure.
fn watch(pid: Pid) -> io::Result<OwnedFd> {
    let pid = process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::NotFound)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
        // No one else has reaped it yet, and if both fail there is nothing to do.
        let _ = process::kill_process(pid, Signal::KILL);
        let _ = process::waitpid(Some(pid), WaitOptions::empty());
        errno.into()
    })
}

/// A frame from the guest to itself, preceded by its length. It also announces the guest's MAC address to `passt`, so
/// that traffic of a forwarded port can reach a guest that has not sent anything.
fn first_frame(mac: MacAddress) -> Vec<u8> {
    let mut frame = [mac.octets(), mac.octets()].concat();
    frame.extend(LOCAL_EXPERIMENTAL);
    frame.resize(60, 0);
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

/// Polls these descriptors, with an optional timeout, and returns which are readable or closed.
pub(super) fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: Option<Duration>) -> io::Result<[bool; N]> {
    let timeout =
        timeout.map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() });
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled.map(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok([false; N]),
        Err(errno) => Err(errno.into()),
    }
}
