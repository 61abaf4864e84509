//! The control group of one VM's vCPUs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::hierarchy::{Home, Version, home};
use super::owner::Owner;
use crate::config::CpuLimit;
use crate::thread::caught;
use crate::{Error, ErrorKind, Result};

/// The enforcement period of a cap in microseconds: the kernel's default. It is long enough for a cap of one percent,
/// the shortest quota that the kernel accepts.
const PERIOD: u64 = 100_000;
/// The default weight of version 2, and its equivalent in version 1.
const USUAL: (u64, u64) = (100, 1024);
/// The valid shares of version 1.
const SHARES: (u64, u64) = (2, 262_144);
/// The attempts to remove a group: a thread leaves it only a moment after it has ended.
const REMOVALS: u32 = 1000;

/// A control group for threads below the group of the process. On drop, remaining threads move back to the parent
/// group.
#[derive(Debug)]
pub(crate) struct CpuGroup {
    home: Home,
    folder: PathBuf,
}

/// The control group of the process. A new thread starts in the group of its creator; threads that do not belong to a
/// [`CpuGroup`] move here.
#[derive(Debug)]
pub(crate) struct OutsideGroup {
    threads: PathBuf,
}

impl OutsideGroup {
    /// Moves the calling thread there.
    pub(crate) fn enter(&self) {
        // 0 stands for the writing thread.
        if let Err(error) = fs::write(&self.threads, "0") {
            tracing::warn!(%error, file = %self.threads.display(), "cannot move a device thread out of the vCPUs' control group, so their limit applies to it");
        }
    }
}

impl CpuGroup {
    /// Creates a group with this limit and without threads; its name contains `name`, which must not contain dots.
    /// Groups left behind by dead processes are removed first.
    pub(crate) fn new(name: &str, limit: CpuLimit) -> Result<Self> {
        let (home, owner) = (home()?, Owner::this()?);
        owner.remove_leftovers(&home.folder);
        Self::below(&home, &owner.group_name(name), limit)
    }

    pub(super) fn below(home: &Home, name: &str, limit: CpuLimit) -> Result<Self> {
        if home.version == Version::Two {
            enable_controller(&home.folder)?;
        }
        let folder = make(&home.folder, name)?;
        let group = Self { home: home.clone(), folder };
        if home.version == Version::Two {
            group.write("cgroup.type", "threaded")?;
        }
        group.set(limit)?;
        Ok(group)
    }

    /// The group for threads that do not belong to it.
    pub(crate) fn outside(&self) -> OutsideGroup {
        OutsideGroup { threads: self.home.folder.join(self.threads()) }
    }

    /// Moves a thread of this process, given by its id, into the group.
    pub(crate) fn add_thread(&self, thread: u32) -> Result<()> {
        self.write(self.threads(), &thread.to_string())
    }

    /// Sets the limit of all its threads together.
    pub(crate) fn set(&self, limit: CpuLimit) -> Result<()> {
        let weight = limit.weight.map_or(USUAL.0, u64::from);
        let quota = (limit.cap > 0).then(|| u64::from(limit.cap) * PERIOD / 100);
        match self.home.version {
            Version::Two => {
                self.write("cpu.weight", &weight.to_string())?;
                let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
                self.write("cpu.max", &format!("{quota} {PERIOD}"))
            }
            Version::One => {
                let shares = (weight * USUAL.1 / USUAL.0).clamp(SHARES.0, SHARES.1);
                self.write("cpu.shares", &shares.to_string())?;
                self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                self.write("cpu.cfs_quota_us", &quota.map_or("-1".to_owned(), |quota| quota.to_string()))
            }
        }
    }

    /// The limit in effect according to the kernel.
    pub(crate) fn limit(&self) -> Result<CpuLimit> {
        let (weight, quota, period) = match self.home.version {
            Version::Two => {
                let max = self.read("cpu.max")?;
                let (quota, period) = max.split_once(' ').unwrap_or((&max, ""));
                (self.number("cpu.weight")?, quota.parse().ok(), period.parse().ok())
            }
            Version::One => {
                let shares = self.number("cpu.shares")?;
                let quota = self.read("cpu.cfs_quota_us")?.parse().ok();
                ((shares * USUAL.0).div_ceil(USUAL.1), quota, Some(self.number("cpu.cfs_period_us")?))
            }
        };
        // Without a cap, the quota is a word or a negative number.
        let cap = quota
            .zip(period.filter(|period| *period > 0))
            .map_or(0, |(quota, period): (u64, u64)| quota.saturating_mul(100) / period);
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(CpuLimit::none().weight(narrow(weight)).cap(narrow(cap)))
    }

    /// The file that lists the threads of a group.
    fn threads(&self) -> &'static str {
        match self.home.version {
            Version::Two => "cgroup.threads",
            Version::One => "tasks",
        }
    }

    fn number(&self, file: &str) -> Result<u64> {
        self.read(file)?.parse().map_err(|e| {
            Error::new(ErrorKind::Io, format!("{} is not a number", self.folder.join(file).display())).because(e)
        })
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
        Ok(text.trim_end().to_owned())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(|error| refused(&format!("cannot write '{text}' to {}", path.display()), error))
    }
}

impl CpuGroup {
    /// Called on drop, possibly during a panic; the log subscriber may panic as well.
    fn left_behind(&self, why: &str) {
        let _ = caught(|| tracing::warn!(why, folder = %self.folder.display(), "cannot remove a control group"));
    }
}

impl Drop for CpuGroup {
    fn drop(&mut self) {
        let left = self.read(self.threads()).unwrap_or_default();
        for thread in left.lines() {
            // A thread that has ended meanwhile need not be moved.
            let _ = fs::write(self.home.folder.join(self.threads()), thread);
        }
        for _ in 0..REMOVALS {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(Duration::from_millis(1)),
                Ok(()) => return,
                Err(error) => return self.left_behind(&error.to_string()),
            }
        }
        self.left_behind("it still contains threads");
    }
}

/// Enables the CPU controller for groups below `home`.
fn enable_controller(home: &Path) -> Result<()> {
    let path = home.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
    if enabled.split_whitespace().any(|controller| controller == "cpu") {
        return Ok(());
    }
    fs::write(&path, "+cpu")
        .map_err(|error| refused(&format!("cannot divide the CPU time of {}", home.display()), error))
}

/// Creates a group whose name starts with `name`.
fn make(home: &Path, name: &str) -> Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = home.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") });
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            // Another VM of this process has the same UUID.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(refused(&format!("cannot create the control group {}", folder.display()), error)),
        }
    }
}

/// An error of the kernel with the probable remedy.
fn refused(what: &str, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            "run as root, or have the control group of this process delegated to its user: systemd-run --user --scope -p \
             Delegate=cpu PROGRAM, or Delegate=cpu in the unit of a service; in a container mount /sys/fs/cgroup writable"
        }
        Some(libc::EBUSY | libc::EOPNOTSUPP) => {
            "the control group of this process has groups below it that are not for threads: run the program in a group of \
             its own, as systemd-run --scope -p Delegate=cpu PROGRAM does"
        }
        Some(libc::ENOSPC) => "raise cgroup.max.descendants of the parent groups, or remove other control groups",
        Some(libc::EINVAL) => {
            "a parent group has a lower limit (see cpu.max or cpu.cfs_quota_us there), or allows no threads of real-time \
             priority: use a lower cap"
        }
        _ => return Error::io(what, error),
    };
    Error::io(what, error).with_remedy(remedy)
}
