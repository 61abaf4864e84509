//! Control groups of workers, outside the service's, so that a service manager that stops the service does not stop VMs.
//!
//! Each worker has a group of its own below `xvirt/HOST` in the hierarchy of version 2, if that can be written: a machine may
//! have several services, each with a host of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use uuid::Uuid;

use crate::operation::{Failure, codes};

/// The name of the group that has those of all hosts.
const ALL: &str = "xvirt";
/// The share of CPU time of a group that has none of its own.
const WEIGHT: u32 = 100;
/// How often a group is made again whose parent was removed meanwhile, because it was empty.
const ATTEMPTS: usize = 10;

/// The control groups of this host's workers.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    root: PathBuf,
    parent: PathBuf,
}

impl Groups {
    /// The groups of a host below `root`, the mount point of the hierarchy of version 2, or below the one that is mounted.
    ///
    /// # Errors
    /// There is none, or it cannot be written.
    pub(crate) fn open(root: Option<&Path>, host: Uuid) -> io::Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => mounted(&fs::read_to_string("/proc/self/mounts")?)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no control groups of version 2 are mounted"))?,
        };
        let groups = Self { parent: root.join(ALL).join(host.to_string()), root };
        groups.make_parents()?;
        Ok(groups)
    }

    fn make_parents(&self) -> io::Result<()> {
        let all = self.root.join(ALL);
        for folder in [&all, &self.parent] {
            exists(fs::create_dir(folder))?;
        }
        // What the workers' limits need; a hierarchy without these controllers has groups nevertheless.
        for controller in ["+cpu", "+memory", "+pids"] {
            for folder in [&self.root, &all, &self.parent] {
                let _ = fs::write(folder.join("cgroup.subtree_control"), controller);
            }
        }
        Ok(())
    }

    /// Requires that no process is left of an earlier run of a VM.
    ///
    /// # Errors
    /// `OPERATION_NOT_ALLOWED`
    pub(crate) fn require_empty(&self, vm: Uuid) -> Result<(), Failure> {
        let group = self.of(vm);
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let Some(process) = processes.lines().next() else { return Ok(()) };
        let what = format!(
            "process {process}, a worker of the VM, lives in {}, and its socket is gone: somebody has removed it",
            group.display()
        );
        Err(codes::not_allowed(what, format!("end it: echo 1 > {}/cgroup.kill", group.display())))
    }

    /// Makes the group of a VM's worker, with the most memory in bytes and the most threads, and returns its open list of
    /// processes.
    pub(crate) fn make(&self, vm: Uuid, memory: u64, tasks: u32) -> io::Result<File> {
        let folder = self.of(vm);
        let mut made = exists(fs::create_dir(&folder));
        for _ in 0..ATTEMPTS {
            match &made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_parents()?,
                _ => break,
            }
            made = exists(fs::create_dir(&folder));
        }
        made?;
        // A hierarchy without these controllers has groups nevertheless.
        let _ = fs::write(folder.join("memory.max"), memory.to_string());
        let _ = fs::write(folder.join("pids.max"), tasks.to_string());
        File::options().write(true).open(folder.join("cgroup.procs"))
    }

    /// Sets the share of CPU time (`cpu.weight`) and the cap in percent of one CPU (`cpu.max`).
    pub(crate) fn limit(&self, vm: Uuid, weight: Option<u32>, cap: Option<u32>) -> io::Result<()> {
        const PERIOD: u64 = 100_000;
        let set = |name: &str, text: String| {
            let path = self.of(vm).join(name);
            fs::write(&path, text).map_err(|error| {
                let what =
                    format!("cannot write {}: {error}; the CPU controller must be one of version 2", path.display());
                io::Error::new(error.kind(), what)
            })
        };
        set("cpu.weight", weight.unwrap_or(WEIGHT).to_string())?;
        let quota = cap.map_or_else(|| "max".to_owned(), |cap| (u64::from(cap) * PERIOD / 100).to_string());
        set("cpu.max", format!("{quota} {PERIOD}"))
    }

    /// Removes the group of a worker that has ended.
    pub(crate) fn remove(&self, vm: Uuid) {
        match fs::remove_dir(self.of(vm)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, %vm, "the control group of a VM cannot be removed");
            }
            _ => self.remove_parents(),
        }
    }

    /// Removes the groups above those of VMs. Fails as long as a VM, or another host, has one.
    pub(crate) fn remove_parents(&self) {
        if fs::remove_dir(&self.parent).is_ok() {
            let _ = fs::remove_dir(self.root.join(ALL));
        }
    }

    /// The VMs that have groups.
    pub(crate) fn list(&self) -> Vec<Uuid> {
        let entries = fs::read_dir(&self.parent).into_iter().flatten().flatten();
        entries.filter_map(|entry| Uuid::try_parse(entry.file_name().to_str()?).ok()).collect()
    }

    fn of(&self, vm: Uuid) -> PathBuf {
        self.parent.join(vm.to_string())
    }
}

/// The open list of processes of the control group that a process is in.
pub(crate) fn open_of(process: Pid) -> io::Result<File> {
    let missing = |what: &str| io::Error::new(io::ErrorKind::NotFound, what.to_owned());
    let root = mounted(&fs::read_to_string("/proc/self/mounts")?)
        .ok_or_else(|| missing("no control groups of version 2 are mounted"))?;
    let list = fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero()))?;
    let group = group_in(&list).ok_or_else(|| missing("the process is in no control group of version 2"))?;
    File::options().write(true).open(root.join(group).join("cgroup.procs"))
}

/// The control group of version 2 below their root in a process's list (cgroups(7)).
fn group_in(list: &str) -> Option<&str> {
    list.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn exists(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

/// Where the hierarchy of version 2 is mounted (proc(5)).
fn mounted(mounts: &str) -> Option<PathBuf> {
    let mut lines = mounts.lines().map(|line| line.split(' '));
    lines.find_map(|mut words| {
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found() {
        let list = "4:memory:/a\n0::/xvirt.slice/xvirt-1.scope\n";
        assert_eq!(group_in(list), Some("xvirt.slice/xvirt-1.scope"));
        assert_eq!(group_in("4:memory:/a\n"), None);
        open_of(rustix::process::getpid())
            .map(drop)
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Ok(()),
                _ => Err(error),
            })
            .unwrap();
    }

    #[test]
    fn the_hierarchy_of_version_2_is_found() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mounted(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounted("proc /proc proc rw 0 0\n\n"), None);
    }
}
