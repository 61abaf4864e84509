//! Attempts in processes with walls.

use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use xvirt_worker::sandbox::Sandbox;
use xvirt_worker::{Settings, Wall};

/// A user that nobody is.
pub const NOBODY: u32 = 65_534;

/// What an attempt came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Worked,
    /// It was refused, with the number of the error.
    Refused(i32),
    /// The host lacks a wall.
    Lacking(String),
    /// The process was killed.
    Killed,
}

/// Makes an attempt behind `walls`, in a process of its own.
pub fn attempt(walls: &[Wall], act: impl FnOnce() -> io::Result<()>) -> Outcome {
    with_limit(1 << 30, walls, act)
}

/// Like [`attempt`], with a limit of memory.
pub fn with_limit(memory: u64, walls: &[Wall], act: impl FnOnce() -> io::Result<()>) -> Outcome {
    let settings = Settings::new(0).memory_limit(memory).identity(NOBODY, NOBODY);
    let (mut reader, writer) = io::pipe().unwrap();
    let child = forked(|| {
        let mut sandbox = Sandbox::with(walls, settings);
        sandbox.unshare();
        // The namespace of processes begins with the next child.
        let inner = forked(|| {
            let missing = sandbox.enter();
            let said = match missing.first() {
                Some(missing) => format!("lacking {}: {}", missing.wall, missing.reason),
                None => match act() {
                    Ok(()) => "worked".to_owned(),
                    Err(error) => format!("refused {}", error.raw_os_error().unwrap_or(0)),
                },
            };
            say(writer, &said);
        });
        wait(inner);
    });
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    wait(child);
    match said.split_once(' ') {
        Some(("refused", number)) => Outcome::Refused(number.parse().unwrap()),
        Some(("lacking", what)) => Outcome::Lacking(what.to_owned()),
        _ if said == "worked" => Outcome::Worked,
        _ => Outcome::Killed,
    }
}

fn say(mut writer: PipeWriter, text: &str) {
    let _ = writer.write_all(text.as_bytes());
}

/// Requires that `act` works without walls, and is refused by each of `walls` alone, with one of these errors, and by all
/// walls together. A wall that this host lacks is reported as skipped.
pub fn refused_by(walls: &[(Wall, &[i32])], act: impl Fn() -> io::Result<()>) {
    assert_eq!(attempt(&[], &act), Outcome::Worked, "without walls");
    for (wall, errors) in walls {
        match attempt(&[*wall], &act) {
            Outcome::Lacking(reason) => {
                println!("SKIPPED {}: {reason}", std::thread::current().name().unwrap_or("?"));
            }
            Outcome::Refused(number) if errors.contains(&number) => {}
            other => panic!("with {wall} alone: {other:?}"),
        }
    }
    // In the end it is refused whatever the host lacks.
    let all: Vec<_> = Wall::ALL.into_iter().filter(|wall| stands(*wall)).collect();
    assert!(matches!(attempt(&all, &act), Outcome::Refused(_)), "with all walls");
}

/// Whether this host has the wall.
pub fn stands(wall: Wall) -> bool {
    attempt(&[wall], || Ok(())) == Outcome::Worked
}

/// Whether this process may do what the tests of a privileged worker need.
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("SKIPPED {}: needs root", std::thread::current().name().unwrap_or("?"));
    false
}

/// A child process that runs `work` and ends.
pub fn forked(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the C library makes its allocator usable in the child, and the child takes no other lock of this process.
    match unsafe { libc::fork() } {
        0 => {
            work();
            // SAFETY: it ends the child without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        child if child > 0 => child,
        _ => panic!("{}", io::Error::last_os_error()),
    }
}

/// Waits for the end of a child, and returns its status.
pub fn wait(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is a local variable.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
    }
    status
}

/// The result of a system call.
pub fn checked(result: impl Into<i64>) -> io::Result<i64> {
    let result = result.into();
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A child that waits until this is dropped.
pub struct Victim {
    pub process: libc::pid_t,
    hold: Option<OwnedFd>,
}

impl Victim {
    /// A child that first does `work`.
    pub fn new(work: impl FnOnce()) -> Self {
        let (mut ready, tell) = io::pipe().unwrap();
        let (held, hold) = io::pipe().unwrap();
        let hold_number = hold.as_raw_fd();
        let process = forked(move || {
            // SAFETY: the child's own copy, which must not keep the pipe open; the child ends without dropping it again.
            drop(unsafe { OwnedFd::from_raw_fd(hold_number) });
            work();
            say(tell, "!");
            let mut held = held;
            let _ = held.read(&mut [0]);
        });
        ready.read_exact(&mut [0]).unwrap();
        Self { process, hold: Some(hold.into()) }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.hold.take());
        // SAFETY: a child of this process that was not waited for.
        unsafe { libc::kill(self.process, libc::SIGKILL) };
        wait(self.process);
    }
}
