//! Templates: VMs are made from them, and they are layered on one another.
//!
//! [`seal`](crate::repository::Repository::seal) makes a template of a halted VM,
//! [`instantiate`](crate::repository::Repository::instantiate) a VM of a template, whose disks share the template's
//! data until they are written to. An instance can be sealed again: an operating system, its patches, an application.
//!
//! Inside: `seal` makes templates and `instantiate` makes VMs of them; `child` creates a disk on top of a template's disk;
//! `identity` renews what two VMs cannot share, such as UUID and MAC addresses; `copy` copies VMs without a template; `rebase`
//! makes an instance independent or moves it to another version; `remove` removes unused templates. The module
//! [`repository`](crate::repository) stores, reads and checks templates.

mod child;
mod copy;
mod identity;
mod instantiate;
mod rebase;
mod remove;
mod seal;

pub use crate::repository::{Lineage, Template, TemplateDisk};
pub use remove::Unused;
pub use seal::{Seal, Source};
