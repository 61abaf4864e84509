//! Which process a worker is, noted beside its socket: one that hangs, and accepts no connection, can still be ended.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process, by its number and the time at which it began: the number alone may belong to another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    number: Pid,
    /// In clock ticks since the start of the host.
    began: u64,
}

impl Identity {
    /// That of the process that has this number now.
    pub(crate) fn of(number: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", number.as_raw_nonzero())).ok()?;
        Some(Self { number, began: began(&stat)? })
    }

    /// As text.
    pub(crate) fn text(self) -> String {
        format!("{} {}\n", self.number.as_raw_nonzero(), self.began)
    }

    /// From text, which is not trusted.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, began) = text.trim_end().split_once(' ')?;
        let number = number.parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw)?;
        Some(Self { number, began: began.parse().ok()? })
    }

    /// The process, if it lives.
    pub(crate) fn process(self) -> Option<OwnedFd> {
        let process = pidfd_open(self.number, PidfdFlags::empty()).ok()?;
        // If the number has gone to another process before, that one began later.
        (Self::of(self.number) == Some(self)).then_some(process)
    }
}

/// The 22nd field of proc_pid_stat(5). The second one is a name in parentheses, which may contain anything.
fn began(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Signal, pidfd_send_signal};

    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_when_it_began() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let number = Pid::from_raw(child.id().cast_signed()).unwrap();
        let identity = Identity::of(number).unwrap();
        assert_eq!(Identity::parse(&identity.text()), Some(identity));
        let process = identity.process().unwrap();
        // One that had the number before.
        assert!(Identity { began: identity.began + 1, ..identity }.process().is_none());
        pidfd_send_signal(&process, Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(identity.process().is_none());
    }

    #[test]
    fn what_is_no_identity_is_none() {
        for text in ["", "1", "0 5", "-1 5", "x 5", "1 x", "99999999999 1"] {
            assert_eq!(Identity::parse(text), None, "{text:?}");
        }
        let name = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123 1 1";
        assert_eq!(began(name), Some(123));
    }
}
