//! The classes of XenAPI: the one definition of every object of a host and its pool.
//!
//! Each class has a [`ClassTable`] that lists its fields and verbs, so that code for all classes (records, getters and
//! setters, checks of roles, documentation) works from data: [`class`] finds it. A class of which there are objects
//! also has a record, a serde type with all of its fields, such as [`Vm`]. Clients read whole records, so a record also
//! has the fields that xvirt does not honour; the documentation of each says so, and [`Field::rule`] says it to code.
//!
//! `generated/` is written by `scripts/model` from the facts of XenAPI (`model/xenapi.json`) and from what xvirt does
//! with them (`model/honoured.toml`). The rest is what it is written with: `reference`, `date_time` and `enumeration`
//! are the types of fields; `value_type` describes them as data and reads values of them; `table` has the types of the
//! tables, `call` the verbs that a class has because of its fields, `record` connects records to tables.
//!
//! All of it is data without behaviour, and can be used from any thread.

mod call;
mod date_time;
mod enumeration;
mod generated;
mod record;
mod reference;
mod table;
#[cfg(test)]
mod tests;
mod value_error;
mod value_type;

pub use call::{Call, Parameter};
pub use date_time::DateTime;
pub use enumeration::Enumeration;
pub use generated::*;
pub use record::{Class, Record};
pub use reference::Ref;
pub use table::{ClassTable, ErrorCode, Field, FieldRule, Lifecycle, Qualifier, RoleName, Roles, Verb};
pub use value_error::{Malformed, ValueError, ValueErrorKind};
pub use value_type::Type;

/// The class of this name, in the spelling of XenAPI.
pub fn class(name: &str) -> Option<&'static ClassTable> {
    CLASSES.binary_search_by(|class| class.name.cmp(name)).ok().and_then(|index| CLASSES.get(index)).copied()
}

/// The enumeration of this name.
pub fn enumeration(name: &str) -> Option<&'static Enumeration> {
    ENUMERATIONS.binary_search_by(|one| one.name.cmp(name)).ok().and_then(|index| ENUMERATIONS.get(index)).copied()
}

/// What is known of an error of XenAPI.
pub fn error_code(code: &str) -> Option<&'static ErrorCode> {
    ERROR_CODES.binary_search_by(|one| one.code.cmp(code)).ok().and_then(|index| ERROR_CODES.get(index))
}
