//! `ova.xml`: what an appliance is, as the objects of XenServer's database.
//!
//! `value` is how it is written: XML-RPC's values, read by `parse` and written by `write`. `document` are the objects,
//! `fields` what each class of them must have. `compose` makes them of a VM's configuration.

mod compose;
mod document;
mod fields;
mod parse;
mod value;
mod write;

pub(super) use compose::compose;
pub(super) use document::{Document, Expected, Object};
pub(super) use parse::structure as parse_structure;
pub(super) use value::{Record, Value};
