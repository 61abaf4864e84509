//! Whose a control group is.
//!
//! A process that is killed, or that ends without dropping its VMs, leaves their groups behind: empty, and for ever. So
//! the name of a group says which process made it, and whoever makes a group first removes those of processes that are
//! gone. A process number alone does not say that, because another process may have it by then, and because every PID
//! namespace has numbers of its own.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// What all names begin with.
const PREFIX: &str = "xvirt-";
/// Where the start time is among the fields of `/proc/PID/stat` that follow the name (proc_pid_stat(5)).
const START_TIME: usize = 19;

/// A process that makes groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The inode of its PID namespace.
    namespace: u64,
    process: u32,
    /// In clock ticks since the host was started.
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
        // As /proc counts, which may be that of an outer namespace.
        let process = read("/proc/self")?.parse().map_err(|_| unknown())?;
        let namespace = read("/proc/self/ns/pid")?;
        let namespace = namespace.strip_prefix("pid:[").and_then(|text| text.strip_suffix(']'));
        let namespace = namespace.and_then(|number| number.parse().ok()).ok_or_else(unknown)?;
        let started = start_time(process).map_err(|e| Error::io("cannot read /proc/self/stat", e))?;
        Ok(Self { namespace, process, started: started.ok_or_else(unknown)? })
    }

    /// What a group of this process is called; `name` has no dot in it.
    pub(super) fn group_name(&self, name: &str) -> String {
        let Self { namespace, process, started } = self;
        format!("{PREFIX}{name}.{namespace}.{process}.{started}")
    }

    /// Who made the group of this name.
    fn of_group(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix(PREFIX)?.split('.').skip(1);
        let (namespace, process, started) = (fields.next()?, fields.next()?, fields.next()?);
        let (namespace, process) = (namespace.parse().ok()?, process.parse().ok()?);
        Some(Self { namespace, process, started: started.parse().ok()? })
    }

    /// Whether `other` is gone, as far as this process can see.
    fn knows_gone(&self, other: &Self) -> bool {
        let started = start_time(other.process);
        other.namespace == self.namespace && started.is_ok_and(|started| started != Some(other.started))
    }

    /// Removes the groups in `home` of processes that are gone.
    pub(super) fn remove_leftovers(&self, home: &Path) {
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        for entry in entries {
            let owner = entry.file_name().to_str().and_then(Self::of_group);
            if owner.is_some_and(|owner| self.knows_gone(&owner)) {
                // Fails if somebody is in it, or was faster.
                let removed = fs::remove_dir(entry.path());
                tracing::debug!(group = %entry.path().display(), ?removed, "a control group of a process that is gone");
            }
        }
    }
}

/// When a process was started; `None` if there is none of that number.
fn start_time(process: u32) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name comes in parentheses, and may have any character in it.
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
                // Its processes have other numbers here.
                Owner { namespace: 1, ..numbers(&living) }.group_name("c"),
                "xvirt-d".to_owned(),
                "other.1.2.3".to_owned(),
            ],
            [
                // Another has its number by now.
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
