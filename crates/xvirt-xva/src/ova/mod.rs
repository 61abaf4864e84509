//! `ova.xml`: what an appliance is, as the objects of XenServer's database.
//!
//! A [`Document`] holds [`Object`]s, such as the VM, its disks (VDI) and the devices that connect them (VBD, VIF). Their
//! fields are those of XenServer's API, written as values of XML-RPC. There is no public specification of the document;
//! what is read and written here is what XenServer's toolstack (xapi) reads and writes.
//!
//! Inside: `value` are the values, read by `parse` and written by `write`; `document` are the objects, and `devices` those
//! of the VM in their order. `fields` says what each class of objects must have, `build` makes and changes them, and
//! `policy` are crash actions and limits.

mod build;
mod devices;
mod document;
mod fields;
mod parse;
mod policy;
mod value;
mod write;

pub use build::VmDisk;
pub use document::{Document, ExpectedDisk, Object};
pub(crate) use parse::structure as parse_structure;
pub use policy::AfterCrash;
pub use value::{Record, Value};

pub(crate) use policy::{after_crash, has_other_limit, transmit_limit};

/// The most bytes that `ova.xml` may have; real ones have some ten thousand.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
