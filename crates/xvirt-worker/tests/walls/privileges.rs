//! Who may reach the worker, and what it may become.

use std::io;

use xvirt_worker::sandbox::Sandbox;
use xvirt_worker::{Settings, Wall};

use crate::child::{NOBODY, Outcome, Victim, attempt, checked, is_root};

/// Becomes another user, as which nothing is allowed but what belongs to that user.
fn become_nobody() -> io::Result<()> {
    // SAFETY: they change this process only, which is a child of the test.
    unsafe {
        checked(libc::setgroups(0, std::ptr::null()))?;
        checked(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        checked(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
        // A change of the user has turned it off; a process that begins as a user has it.
        checked(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0)).map(drop)
    }
}

#[test]
fn no_process_of_the_same_user_traces_a_worker() {
    if !is_root() {
        return;
    }
    let reached = |walls: &'static [Wall]| {
        let victim = Victim::new(|| {
            let _ = become_nobody();
            Sandbox::with(walls, Settings::new(0)).enter();
        });
        attempt(&[], || {
            become_nobody()?;
            // SAFETY: it reads no memory of this process.
            checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, victim.process, 0, 0) }).map(drop)
        })
    };
    match reached(&[]) {
        Outcome::Refused(_) => println!(
            "SKIPPED no_process_of_the_same_user_traces_a_worker: this host lets no process trace others (yama)"
        ),
        outcome => assert_eq!(outcome, Outcome::Worked),
    }
    assert_eq!(reached(&[Wall::Untraceable]), Outcome::Refused(libc::EPERM));
}

#[test]
fn there_are_no_new_privileges() {
    // SAFETY: it takes no memory.
    let free = || match checked(unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) })? {
        0 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EPERM)),
    };
    assert_eq!(attempt(&[], free), Outcome::Worked);
    assert_eq!(attempt(&[Wall::NoNewPrivileges], free), Outcome::Refused(libc::EPERM));
}

#[test]
fn a_user_without_privileges_gets_namespaces_too() {
    if !is_root() {
        return;
    }
    let separate = || {
        become_nobody()?;
        let mut sandbox = Sandbox::with(&[Wall::Network, Wall::Mounts, Wall::Capabilities], Settings::new(0));
        sandbox.unshare();
        match sandbox.enter().first() {
            None => std::fs::read_dir("/").map(|entries| assert_eq!(entries.count(), 0)),
            Some(missing) if missing.reason.contains("user namespace") => Err(io::ErrorKind::Unsupported.into()),
            Some(_) => Err(io::ErrorKind::Other.into()),
        }
    };
    match attempt(&[], separate) {
        Outcome::Refused(_) => {
            println!("SKIPPED a_user_without_privileges_gets_namespaces_too: this host has no user namespaces");
        }
        outcome => assert_eq!(outcome, Outcome::Worked),
    }
}
