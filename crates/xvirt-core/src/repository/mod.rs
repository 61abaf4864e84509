//! The storage repository: templates, VMs and their disks in one folder, safe for several processes at once.
//!
//! ```text
//! repository.json   says that this is a repository, and of which format
//! lock              held for moments: alone around every change, together by who reads
//! change.json       a change that takes several renames, while it is being made
//! vms/UUID/         a VM: vm.json, its disks, its attachments
//! layers/UUID/      a template: template.json and its disks, never changed again
//! staging/UUID/     what is being made; `alive` in it is locked by its maker
//! trash/UUID        what is being removed
//! ```
//!
//! Everything is made in `staging` and written to stable storage there. A rename into its final place makes it exist. Removal
//! begins with a rename into `trash`. So a crash at any moment leaves only complete objects, and leftovers in `staging` and
//! `trash`, which the next [`Repository::open`] clears away; it recognises a dead maker by the lock that is gone. A change of
//! a VM that takes several renames is first recorded in `change.json`; whoever takes the lock next completes an interrupted
//! one.
//!
//! All folders are equally deep, and disks name their backing files relative to their own folder, so a repository can be
//! moved and mounted elsewhere.
//!
//! Inside:
//!
//! - `store`: the folder, and the `lock` on it
//! - `record`: the files of metadata, whose contents are not trusted when they are read; `name`: the names in them
//! - `vm` and `template`: what is kept
//! - `files`: the files that a configuration names, before it is kept
//! - `stage`: what is being made; `update`: changing a configuration; `change`: changes that take several renames
//! - `hash`: whether two disks hold the same
//! - `reference`: what VMs use of one another
//! - `check`: finding damage
//!
//! What can be done with templates is in [`template`](crate::template).

mod change;
mod check;
mod files;
mod hash;
mod lock;
mod name;
mod record;
mod reference;
mod stage;
mod store;
mod template;
mod update;
mod vm;

pub(crate) use change::{Change, NewLayer, Replacement, protect};
pub use check::{Check, Problem};
pub(crate) use hash::hash_disk;
pub(crate) use name::{MAX_NAME_LENGTH, check_name, disk_name};
pub(crate) use record::{FORMAT, Record};
pub(crate) use reference::Owner;
pub use stage::Stage;
pub use store::Repository;
pub(crate) use store::{Directory, ExclusiveLock};
pub use template::{Lineage, Template, TemplateDisk};
pub(crate) use template::{TemplateRecord, absent};
pub use vm::StoredVm;
pub(crate) use vm::{OwnDisk, VmRecord};
