//! The storage repository: templates, VMs and their disks in one folder, safe for several processes at once.
//!
//! ```text
//! repository.json   identifies a repository and its format
//! lock              held briefly: exclusively for every change, shared for reading
//! change.json       a change in progress that takes several renames
//! vms/UUID/         a VM: vm.json, its disks, its attachments
//! layers/UUID/      a template: template.json and its disks, immutable
//! snapshots/UUID/   a snapshot: snapshot.json, its disks, a checkpoint's saved state
//! staging/UUID/     an object in preparation; its owner locks `alive` in it
//! trash/UUID        an object that is being removed
//! ```
//!
//! Every object is prepared in `staging` and written to stable storage there. A rename into its final place makes it
//! exist. Removal begins with a rename into `trash`. So a crash at any moment leaves only complete objects, and
//! leftovers in `staging` and `trash`, which the next [`Repository::open`] removes; a released lock shows that the
//! owner is dead. A change of a VM that takes several renames is recorded in `change.json` first; the next one to take
//! the lock completes an interrupted change.
//!
//! All folders are equally deep, and disks name their backing files relative to their own folder, so a repository can
//! be moved and mounted elsewhere.
//!
//! Inside:
//!
//! - `store`: the folder and its `lock`
//! - `record`: metadata files, which are not trusted when they are read; `name`: the names in them
//! - `vm`, `template` and `snapshot`: the stored objects; `child`: copy-on-write copies of their disks
//! - `suspended`: VMs whose memory is saved
//! - `sweep`: deletes what removed snapshots no longer need
//! - `files`: checks the files that a configuration names before it is stored
//! - `stage`: objects in preparation; `update`: changes a configuration; `change`: changes that take several renames
//! - `hash`: hashes of disk contents
//! - `reference`: references between the VMs of a repository
//! - `check`: finds damage, with that of saved memory in `check_memory`
//!
//! The operations on templates are in [`template`](crate::template), those on snapshots in
//! [`snapshot`](crate::snapshot).

mod being_taken;
mod change;
mod check;
mod check_memory;
mod child;
mod files;
mod hash;
mod lock;
mod name;
mod record;
mod reference;
mod snapshot;
mod stage;
mod store;
mod suspended;
mod sweep;
mod template;
mod update;
mod vm;

pub(crate) use being_taken::{BeingTaken, UnlistedCheckpoint};
pub(crate) use change::{Change, NewLayer, Replacement, protect};
pub use check::{Check, Problem};
pub(crate) use child::{Base, Child, MAX_IMAGES_BELOW, child};
pub(crate) use files::settle_paths;
pub(crate) use hash::hash_disk;
pub(crate) use name::{MAX_NAME_LENGTH, check_name, disk_name};
pub(crate) use record::{FORMAT, Record};
pub(crate) use reference::Owner;
pub use snapshot::Snapshot;
pub(crate) use snapshot::{SnapshotRecord, link_as_base, link_saved_state, saved_state, saved_state_files};
pub use stage::Stage;
pub use store::Repository;
pub(crate) use store::{Directory, ExclusiveLock, Locked, sync_folder};
pub(crate) use suspended::{create_saved_state, discard_unused_bases, replace_saved_state};
pub(crate) use sweep::{ImageFile, Inventory, resolved};
pub use template::{Lineage, Template, TemplateDisk};
pub(crate) use template::{TemplateRecord, absent};
pub(crate) use update::{claim_if_there, link_file, link_files};
pub use vm::StoredVm;
pub(crate) use vm::{OwnDisk, Suspended, VmRecord, own_disks};
