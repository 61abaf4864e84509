//! XenAPI's verbs: who calls them, how they fail, and who answers them.
//!
//! With the feature `host`, also what they mean: `arguments` reads parameters, `accessor` reads and sets fields,
//! `query` is the language of queries, `answered` says which verbs there are, `power` which one of a VM is legal when,
//! `allowed` what may be done with other objects; `create` makes records of new objects, `values` says what some values
//! mean, `codes` has the failures. All of that takes values and returns values: no I/O, no clock, no lock.

#[cfg(feature = "host")]
pub(crate) mod accessor;
#[cfg(feature = "host")]
pub(crate) mod allowed;
#[cfg(feature = "host")]
pub(crate) mod answered;
#[cfg(feature = "host")]
pub(crate) mod arguments;
mod caller;
#[cfg(feature = "host")]
pub(crate) mod codes;
#[cfg(feature = "host")]
pub(crate) mod create;
mod failure;
#[cfg(feature = "host")]
pub(crate) mod power;
#[cfg(any(feature = "host", fuzzing))]
pub(crate) mod query;
#[cfg(feature = "host")]
pub(crate) mod values;
mod verbs;

pub use caller::{Caller, Identity, Login, Who};
pub use failure::Failure;
pub use verbs::Verbs;
