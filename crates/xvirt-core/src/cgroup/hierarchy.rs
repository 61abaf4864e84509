//! Finds the control group below which this process may create groups for CPU time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The two versions of control groups (Linux's cgroup-v2.rst and cgroup-v1/cgroups.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Each controller has its own hierarchy.
    One,
    /// All controllers share one hierarchy.
    Two,
}

/// The group of this process in the hierarchy with the CPU controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
}

/// Finds the group of this process.
pub(super) fn home() -> Result<Home> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| Error::io(format!("cannot read {path}"), e));
    find(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, &has_cpu)
}

/// Like [`home`], with the contents of those files.
pub(super) fn find(mounts: &str, groups: &str, has_cpu: &dyn Fn(&Path) -> bool) -> Result<Home> {
    let mut without_controller = None;
    // Version 2 is preferred if it has the controller.
    for version in [Version::Two, Version::One] {
        let Some(path) = groups.lines().find_map(|line| group_path(line, version)) else { continue };
        let Some(folder) = mounts.lines().find_map(|line| mounted(line, version, path)) else { continue };
        if version == Version::One || has_cpu(&folder) {
            return Ok(Home { version, folder });
        }
        without_controller = Some(folder);
    }
    let what = "this process cannot limit CPU time";
    Err(match without_controller {
        Some(folder) => Error::new(
            ErrorKind::HostUnsupported,
            format!("{what}: {} has no CPU controller", folder.display()),
        )
        .with_remedy(
            "have the owner of that control group enable it: add cpu to the cgroup.subtree_control of the group above, \
                 or run the program as a systemd service with Delegate=cpu",
        ),
        None => Error::new(ErrorKind::HostUnsupported, format!("{what}: no control groups are mounted"))
            .with_remedy("mount them, as in: mount -t cgroup2 none /sys/fs/cgroup"),
    })
}

fn has_cpu(folder: &Path) -> bool {
    // For the root group, the file lists the kernel's controllers; for others, those enabled by the parent.
    fs::read_to_string(folder.join("cgroup.controllers")).is_ok_and(|text| text.split_whitespace().any(|c| c == "cpu"))
}

/// The path in a line of `/proc/self/cgroup`, if the line belongs to this version (cgroups(7)).
fn group_path(line: &str, version: Version) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let matches = match version {
        Version::Two => number == "0" && controllers.is_empty(),
        Version::One => controllers.split(',').any(|controller| controller == "cpu"),
    };
    matches.then_some(path)
}

/// The folder of group `path`, if a line of `/proc/self/mountinfo` mounts this version's hierarchy and the mount
/// contains the group (proc_pid_mountinfo(5)).
fn mounted(line: &str, version: Version, path: &str) -> Option<PathBuf> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);
    let matches = match version {
        Version::Two => name == "cgroup2",
        Version::One => name == "cgroup" && options.split(',').any(|option| option == "cpu"),
    };
    // In a container, the root of the mount may be the group itself.
    let below = Path::new(path).strip_prefix(root).ok().filter(|_| matches)?;
    Some(Path::new(point).join(below))
}
