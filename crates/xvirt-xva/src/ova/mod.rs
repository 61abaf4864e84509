//! `ova.xml`: the description of an appliance as objects of XenServer's database.
//!
//! A [`Document`] contains [`Object`]s, such as the VM, its disks (VDI) and the devices that connect them (VBD, VIF).
//! Their fields are those of XenServer's API, encoded as XML-RPC values. There is no public specification of the
//! document; this crate reads and writes the format of XenServer's toolstack (xapi).
//!
//! Inside: `value` defines the values, read by `parse` and written by `write`; `document` contains the objects, and
//! `devices` orders those of the VM. `fields` lists the required fields of each class, `build` creates and changes
//! objects, and `policy` handles crash actions and limits.

mod build;
mod devices;
mod document;
mod fields;
mod parse;
mod policy;
mod required;
mod value;
mod write;

pub use build::VmDisk;
pub use document::{Document, ExpectedDisk, Object};
pub(crate) use parse::structure as parse_structure;
pub use policy::AfterCrash;
pub use value::{Record, Value};

pub(crate) use policy::{after_crash, has_other_limit, transmit_limit};

/// The size limit of `ova.xml` in bytes; real ones have some ten thousand.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
