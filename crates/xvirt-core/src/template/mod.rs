//! Templates: what VMs are made from, in layers on one another.
//!
//! [`seal`](crate::repository::Repository::seal) makes a template of a halted VM,
//! [`instantiate`](crate::repository::Repository::instantiate) a VM of a template, whose disks share the template's
//! data until they are written to. An instance can be sealed again: an operating system, its patches, an application.
//!
//! Inside: `seal` makes templates and `instantiate` uses them, `child` makes a disk on a layer's disk, `identity` is
//! what a copy of a VM cannot have of the original, `copy` copies VMs without a template of their own, `rebase` makes an
//! instance independent or moves it to another version, and `remove` removes layers that are not needed. Templates
//! themselves are kept, read and checked by [`repository`](crate::repository).

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
