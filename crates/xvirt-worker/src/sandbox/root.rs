//! A file system with nothing in it.

use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, chroot, pivot_root};

use super::{Raised, said};

/// A folder that every host has.
const PLACE: &str = "/dev";

/// Makes an empty, read-only file system the root, and detaches everything else. This is in a mount namespace of its own.
pub(super) fn empty() -> Raised {
    // What happens here must not happen on the host.
    said(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))?;
    let nothing = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    said(mount(c"none", PLACE, c"tmpfs", nothing, c"size=4k,nr_inodes=2,mode=0555"))?;
    said(chdir(PLACE))?;
    // The old root is put below the new one, at the same place, and is then on top.
    let pivoted = pivot_root(".", ".").and_then(|()| unmount(".", UnmountFlags::DETACH)).and_then(|()| chdir("/"));
    if pivoted.is_ok() {
        return Ok(());
    }
    // The first file system of a kernel cannot be detached. Without capabilities, which go next, nobody leaves this.
    said(chroot("."))?;
    said(chdir("/"))?;
    let reason = pivoted.map_err(io::Error::from).err().map(|error| error.to_string()).unwrap_or_default();
    Err(format!("the root could only be changed, not detached: {reason}"))
}
