//! The owner of a control group.
//!
//! A process that is killed, or that ends without dropping its VMs, leaves empty groups behind. So the name of a group
//! identifies the process that created it, and the next process to create a group removes those of dead processes. A
//! process id alone is not enough, because it may have been reused, and because every PID namespace has ids of its own.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// The prefix of all names.
const PREFIX: &str = "xvirt-";
/// The index of the start time among the fields of `/proc/PID/stat` after the name (proc_pid_stat(5)).
const START_TIME: usize = 19;

/// A process that creates groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The inode of its PID namespace.
    namespace: u64,
    process: u32,
    /// The start time in clock ticks since boot.
    started: u64,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Result<Self> {
        let read = |path: &str| -> Result<String> {
            let link = fs::read_link(path).map_err(|e| Error::io(format!("cannot read {path}"), e))?;
            Ok(link.to_string_lossy().into_owned())
        };
        let unknown = || {
            Error::new(ErrorKind::HostUnsupported, "/proc does not tell which process this is")
                .with_remedy("mount it: mount -t proc proc /proc")
        };
        // The process id in the namespace of /proc, which may be an outer one.
        let process = read("/proc/self")?.parse().map_err(|_| unknown())?;
        let namespace = read("/proc/self/ns/pid")?;
        let namespace = namespace.strip_prefix("pid:[").and_then(|text| text.strip_suffix(']'));
        let namespace = namespace.and_then(|number| number.parse().ok()).ok_or_else(unknown)?;
        let started = start_time(process).map_err(|e| Error::io("cannot read /proc/self/stat", e))?;
        Ok(Self { namespace, process, started: started.ok_or_else(unknown)? })
    }

    /// The name of a group of this process; `name` must not contain dots.
    pub(super) fn group_name(&self, name: &str) -> String {
        let Self { namespace, process, started } = self;
        format!("{PREFIX}{name}.{namespace}.{process}.{started}")
    }

    /// The creator of the group with this name.
    fn of_group(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix(PREFIX)?.split('.').skip(1);
        let (namespace, process, started) = (fields.next()?, fields.next()?, fields.next()?);
        let (namespace, process) = (namespace.parse().ok()?, process.parse().ok()?);
        Some(Self { namespace, process, started: started.parse().ok()? })
    }

    /// Whether this process can tell that `other` is dead.
    fn knows_gone(&self, other: &Self) -> bool {
        let started = start_time(other.process);
        other.namespace == self.namespace && started.is_ok_and(|started| started != Some(other.started))
    }

    /// Removes the groups of dead processes in `home`.
    pub(super) fn remove_leftovers(&self, home: &Path) {
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        for entry in entries {
            let owner = entry.file_name().to_str().and_then(Self::of_group);
            if owner.is_some_and(|owner| self.knows_gone(&owner)) {
                // Fails if the group is in use, or if another process was faster.
                let removed = fs::remove_dir(entry.path());
                tracing::debug!(group = %entry.path().display(), ?removed, "removing a control group of a dead process");
            }
        }
    }
}

/// The start time of a process; `None` if there is no such process.
fn start_time(process: u32) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name is in parentheses and may contain any character.
    let fields = text.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let started = fields.and_then(|mut fields| fields.nth(START_TIME)).and_then(|field| field.parse().ok());
    started.map(Some).ok_or_else(|| io::Error::other("no start time"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_groups_of_processes_that_are_gone_are_removed() {
        let this = Owner::this().unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let started = start_time(child.id()).unwrap().unwrap();
        let living = Owner { process: child.id(), started, ..this.clone() };
        let numbers = |owner: &Owner| Owner { started: owner.started + 1, ..owner.clone() };
        let home = tempfile::tempdir().unwrap();
        let make = |name: String| fs::create_dir(home.path().join(name)).unwrap();
        let (kept, removed) = (
            [
                this.group_name("a"),
                living.group_name("b"),
                format!("{}.1", living.group_name("b")),
                // Its process ids are from another namespace.
                Owner { namespace: 1, ..numbers(&living) }.group_name("c"),
                "xvirt-d".to_owned(),
                "other.1.2.3".to_owned(),
            ],
            [
                // Another process has reused its id.
                numbers(&living).group_name("e"),
                format!("{}.1", numbers(&living).group_name("e")),
                Owner { process: u32::MAX, ..this.clone() }.group_name("f"),
            ],
        );
        kept.iter().chain(&removed).cloned().for_each(make);
        let there = || {
            let entries = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        this.remove_leftovers(home.path());
        let mut expected = kept.to_vec();
        expected.sort();
        assert_eq!(there(), expected);
        child.kill().unwrap();
        child.wait().unwrap();
        this.remove_leftovers(home.path());
        expected.retain(|name| !name.starts_with("xvirt-b."));
        assert_eq!(there(), expected);
    }
}
