//! The sandbox of a worker: walls that it raises around itself before it builds its VM.
//!
//! The walls overlap on purpose: what passes one, by a fault of the worker or of the kernel, meets the next. Each is
//! raised as far as the host allows; one that it does not allow is named with the reason, never left out silently.
//! All of them need that the process has one thread only.
//!
//! - `namespaces`: namespaces of mounts, processes, IPC, network and host name; `root` is an empty file system.
//! - `identity`: user, group and capabilities.
//! - `limits`: limits on memory and descriptors.
//! - `files`: no right to any file (landlock).
//! - `filter` and `calls`: the system calls that a worker needs (seccomp).

mod calls;
mod files;
mod filter;
mod identity;
mod limits;
mod namespaces;
mod root;

use std::io;

use rustix::process::DumpableBehavior;

use crate::protocol::MissingWall;
use crate::{Settings, Wall};

/// What raising a wall returns: why it does not stand.
type Raised = Result<(), String>;

/// The sandbox of this process.
#[derive(Debug)]
pub struct Sandbox {
    walls: Vec<Wall>,
    settings: Settings,
    missing: Vec<MissingWall>,
}

impl Sandbox {
    /// All walls.
    pub fn new(settings: Settings) -> Self {
        Self::with(&Wall::ALL, settings)
    }

    /// These walls only, for tests of single ones.
    pub fn with(walls: &[Wall], settings: Settings) -> Self {
        Self { walls: walls.to_vec(), settings, missing: Vec::new() }
    }

    /// Raises the walls that must stand before the process forks: limits and namespaces. The namespace of processes
    /// begins with the next child, so the process has to fork now, and the child calls [`enter`](Self::enter).
    pub fn unshare(&mut self) {
        self.raise(Wall::Limits, |settings| limits::set(settings.memory_limit, settings.open_files));
        let wanted: Vec<_> = namespaces::ALL.into_iter().filter(|(wall, _)| self.walls.contains(wall)).collect();
        for (wall, reason) in namespaces::unshare(&wanted) {
            self.miss(wall, reason);
        }
    }

    /// Raises all other walls, and returns those that do not stand.
    pub fn enter(mut self) -> Vec<MissingWall> {
        if self.stands(Wall::Mounts) {
            self.raise(Wall::Mounts, |_| root::empty());
        }
        // Needs capabilities itself.
        let bounds = self.walls.contains(&Wall::Capabilities).then(identity::give_up_bounds);
        self.raise(Wall::Identity, |settings| identity::become_user(settings.uid, settings.gid));
        self.raise(Wall::Capabilities, |_| identity::drop_capabilities().and(bounds.unwrap_or(Ok(()))));
        self.raise(Wall::NoNewPrivileges, |_| said(rustix::thread::set_no_new_privs(true)));
        // A change of the user has set it to what the host says.
        self.raise(Wall::Untraceable, |_| said(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)));
        self.raise(Wall::Landlock, |_| files::forbid());
        // Requests in a ring are not system calls, so that only other walls hold them.
        let rings = self.stands(Wall::Mounts) && self.stands(Wall::Network);
        self.raise(Wall::Seccomp, |_| filter::install(rings));
        self.missing
    }

    /// Raises a wall, if it is one of this sandbox's.
    fn raise(&mut self, wall: Wall, how: impl FnOnce(&Settings) -> Raised) {
        if !self.walls.contains(&wall) {
            return;
        }
        if let Err(reason) = how(&self.settings) {
            self.miss(wall, reason);
        }
    }

    fn miss(&mut self, wall: Wall, reason: String) {
        self.missing.push(MissingWall { wall: wall.name().to_owned(), reason });
    }

    /// Whether the host has not refused this wall of the sandbox.
    fn stands(&self, wall: Wall) -> bool {
        self.walls.contains(&wall) && self.missing.iter().all(|missing| missing.wall != wall.name())
    }
}

/// The reason of a system call that failed.
fn said(result: Result<(), rustix::io::Errno>) -> Raised {
    result.map_err(|errno| io::Error::from(errno).to_string())
}
