//! Templates: what VMs are made from, in layers on one another.
//!
//! [`seal`](crate::repository::Repository::seal) makes a template of a halted VM,
//! [`instantiate`](crate::repository::Repository::instantiate) a VM of a template, whose disks share the template's
//! data until they are written to. An instance can be sealed again: an operating system, its patches, an application.
//!
//! Inside: `layer` is what a template is, `seal` and `instantiate` the way in and out, `child` a disk on a layer's disk,
//! `rebase` what makes an instance independent or moves it, `remove` the way of layers that are not needed, `hash` what
//! tells whether two disks hold the same.

mod child;
mod hash;
mod instantiate;
mod layer;
mod rebase;
mod remove;
mod seal;

pub(crate) use hash::hash_disk;
pub use layer::{Lineage, Template, TemplateDisk};
pub use remove::Unused;
pub use seal::{Seal, Source};
