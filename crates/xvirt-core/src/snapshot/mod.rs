//! Snapshots and checkpoints of the VMs of a repository, which VMs can be reverted to and created from.
//!
//! A snapshot has a VM's disks at one moment; a checkpoint also has its memory. Taking one copies no disk: the snapshot
//! gets the images, and the VM continues with copy-on-write copies. A VM that runs is stopped for that moment.
//!
//! ```no_run
//! use xvirt_core::host::Host;
//! use xvirt_core::repository::Repository;
//!
//! # fn main() -> xvirt_core::Result<()> {
//! let (host, repository) = (Host::probe()?, Repository::open("/var/lib/xvirt")?);
//! let vm = repository.vm("web-1")?.build(&host)?;
//! vm.start()?;
//! let before = repository.snapshot(&vm, "before the upgrade", &())?;
//! // The upgrade fails.
//! vm.hard_shutdown()?;
//! drop(vm);
//! let vm = repository.revert(&before)?.build(&host)?;
//! vm.start()?;
//! # Ok(())
//! # }
//! ```
//!
//! The snapshots of a VM are a tree ([`Snapshot::parent`]), because a VM that was reverted continues from there. They
//! can be removed in any order.
//!
//! # Checkpoints of running VMs
//!
//! The guest is stopped for some milliseconds, and for up to some tens more for each GiB of memory that it has used:
//! its processors and devices are saved, its disks get their new images, and its memory is protected against writes.
//! Then it runs on while its memory is saved; where it writes a page too early, it waits until that has been read.
//! Memory that cannot be protected is saved in rounds ([`CheckpointMethod`]). Room for memory that will be protected is
//! made first, so that a full file system fails the checkpoint while nothing has changed; what the guest uses for the
//! first time until it is stopped is little. Memory that is saved in rounds gets its room then.
//!
//! [`NewSnapshot::incremental`] stores only the memory that has changed since the last checkpoint.
//!
//! # When space returns
//!
//! On a file system with reflinks (XFS, Btrfs), the space of a snapshot returns when it is removed. Elsewhere, the
//! images of later snapshots and of the VM are based on it, so its images stay, unlisted, until nothing is based on
//! them. [`Repository::merge_removed`](crate::repository::Repository::merge_removed) merges them into the images above;
//! that does not work for the disks of a VM that is running. The oldest image of a disk is never merged, because that
//! would copy most of the disk: it stays as long as anything is based on it.
//!
//! Inside: `request` says what to take and `take` takes it; `live` is the part of that which concerns a VM in memory;
//! `revert` goes back; `flatten` makes checkpoints independent of others; `remove` removes, and `merge` merges images.

mod flatten;
mod live;
mod merge;
mod remove;
mod request;
mod revert;
mod take;

pub use crate::repository::Snapshot;
pub use crate::vm::{CheckpointMethod, CheckpointReport};
pub use request::{NewSnapshot, Subject};
