//! Templates, from which VMs are created, and which can be layered.
//!
//! [`seal`](crate::repository::Repository::seal) turns a halted VM into a template, and
//! [`instantiate`](crate::repository::Repository::instantiate) creates a VM from a template. The disks of the VM share
//! the template's data until they are written to. An instance can be sealed again, for example as an operating system,
//! its patches, and an application.
//!
//! [`seal_hot`](crate::repository::Repository::seal_hot) makes a template of a VM that runs, with its memory: instances go on
//! from there within milliseconds.
//!
//! Inside: `seal` creates templates and `instantiate` VMs from them; `identity` renews what two VMs cannot share, such
//! as UUID and MAC addresses; `copy` copies VMs without a template; `rebase` makes an instance independent or moves it
//! to another version; `remove` deletes unused templates; `unwritten` tells whether an instance has changed a disk. The
//! module [`repository`](crate::repository) stores, reads and checks templates.

mod copy;
mod hot;
mod identity;
mod instantiate;
mod rebase;
mod remove;
mod seal;
mod unwritten;

pub use crate::repository::{Lineage, Template, TemplateDisk};
pub use copy::Original;
pub use remove::Unused;
pub use seal::{Seal, Source};
