//! XenAPI's verbs: who calls them, how they fail, and who answers them.

mod failure;
mod verbs;

pub use failure::Failure;
pub use verbs::{Caller, Verbs};
