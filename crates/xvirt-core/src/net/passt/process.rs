//! One running `passt`.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

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
use crate::{Error, ErrorKind, Result};

/// The number of its end of the socket pair: the first after standard input, output and error.
const SOCKET: i32 = 3;
/// How long it may take until it reads frames. A few hundredths of a second are usual.
const MAX_START: Duration = Duration::from_secs(10);
/// How often it is looked at until then.
const LOOK: Duration = Duration::from_millis(2);
/// How often its output is read after its end, at most: the pipe holds no more, unless somebody else still writes to it.
const LAST_READS: usize = 16;
/// An EtherType that is free for use within one site (IEEE 802, clause 9.2.4), and means nothing to `passt`.
const LOCAL_EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

/// Dropping it ends it.
#[derive(Debug)]
pub(super) struct Passt {
    pidfd: OwnedFd,
    output: Output,
}

impl Passt {
    /// Starts it and waits until it carries frames, those of a guest with the address `mac`, over the socket.
    ///
    /// # Errors
    /// It is not installed, it refuses, or it does nothing; [`Cancelled`](ErrorKind::Cancelled) when `stop` becomes
    /// readable meanwhile.
    pub(super) fn start(command: &PasstCommand, mac: MacAddress, stop: BorrowedFd<'_>) -> Result<(Self, UnixStream)> {
        let failed = |e| Error::io("cannot make a connection with passt", e);
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let (output, errors) = io::pipe().map_err(failed)?;
        let pid = spawn(command, far.as_fd(), errors.as_fd())?;
        drop(errors);
        let mut passt = Self { pidfd: watch(pid).map_err(failed)?, output: Output::new(output) };
        // It has started when it has read a first frame, which is nothing to it.
        (&near).write_all(&first_frame(mac)).map_err(failed)?;
        passt.wait_until_it_reads(command, &far, stop)?;
        Ok((passt, near))
    }

    fn wait_until_it_reads(&mut self, command: &PasstCommand, far: &UnixStream, stop: BorrowedFd<'_>) -> Result<()> {
        let deadline = Instant::now() + MAX_START;
        let failed = |e| Error::io("cannot watch passt start", e);
        while ioctl_fionread(far).map_err(|errno| failed(errno.into()))? > 0 {
            let [ended, stopped] = readable([self.pidfd.as_fd(), stop], Some(LOOK)).map_err(failed)?;
            if stopped {
                return Err(Error::new(ErrorKind::Cancelled, "passt is not needed any more"));
            }
            if ended {
                let ending = self.reap();
                return Err(refused(command, &ending, self.output.last_lines()));
            }
            if Instant::now() > deadline {
                let what = format!("{} has not begun to carry frames within {MAX_START:?}", command.program.display());
                return Err(Error::new(ErrorKind::Timeout, what).with_remedy("try to start it in a shell"));
            }
        }
        Ok(())
    }

    /// Waits until it has ended, and says how; nothing when `stop` becomes readable before.
    pub(super) fn wait(&mut self, stop: BorrowedFd<'_>) -> Option<String> {
        loop {
            // Twice the same where it has closed its output.
            let pidfd = self.pidfd.as_fd();
            let input = self.output.input().unwrap_or(pidfd);
            match readable([stop, pidfd, input], None) {
                Ok([true, ..]) => return None,
                Ok([_, true, _]) => return Some(self.reap()),
                Ok([_, _, true]) => self.output.read(),
                Ok(_) => {}
                Err(error) => return Some(format!("it cannot be watched: {error}")),
            }
        }
    }

    /// What it said last.
    pub(super) fn last_lines(&self) -> String {
        self.output.last_lines()
    }

    /// Takes what is left of it, waiting for its end, and says how it ended.
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
        // A program may wait for all its children, or let the kernel do that.
        let Some(status) = status else { return "how is not known, because the program has waited for it".to_owned() };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => "how is not known".to_owned(),
        }
    }
}

impl Drop for Passt {
    fn drop(&mut self) {
        // Fails if it has ended already, or where a security module refuses: then it ends because its socket is closed.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.reap();
    }
}

/// Starts the program with one end of the socket pair, and with neither the environment nor the signals of this process.
fn spawn(command: &PasstCommand, socket: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> Result<Pid> {
    let failed = |e| not_started(command, e);
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    // Out of the way of the numbers that they get.
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
        // In a process group of its own a terminal's interrupt is for the program alone, which may shut its guest down.
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

/// A descriptor of the child that was just started; the child is ended if there is none.
fn watch(pid: Pid) -> io::Result<OwnedFd> {
    let pid = process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::NotFound)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
        // Nobody but the program itself can have waited for it, so that both fail at worst.
        let _ = process::kill_process(pid, Signal::KILL);
        let _ = process::waitpid(Some(pid), WaitOptions::empty());
        errno.into()
    })
}

/// From the guest to nobody but itself, with its length before it. It also tells `passt` the guest's address, so that
/// what comes for a forwarded port finds its way before the guest has sent anything.
fn first_frame(mac: MacAddress) -> Vec<u8> {
    let mut frame = [mac.octets(), mac.octets()].concat();
    frame.extend(LOCAL_EXPERIMENTAL);
    frame.resize(60, 0);
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

/// Which of these are readable or at their end, after waiting for one, for a time or for ever.
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
