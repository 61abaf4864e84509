//! Who answers XenAPI's verbs.

use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::Failure;

/// Who calls a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// A program on this host that may do everything: the user with this number (`SO_PEERCRED`), or the program that
    /// holds the host itself.
    Local {
        /// The number of the user.
        uid: u32,
    },
}

/// Answers XenAPI's verbs. All calls block, and may be made from several threads at once.
pub trait Verbs: Send + Sync {
    /// Calls a verb, such as `VM.start`, with its parameters but without the session: the caller stands for that.
    ///
    /// A verb whose name begins with `Async.` (`Async.VM.start`) returns the reference of its task at once; any other
    /// waits for its end.
    ///
    /// # Errors
    /// XenAPI's; `MESSAGE_METHOD_UNKNOWN` if there is no such verb.
    fn call(&self, caller: &Caller, verb: &str, parameters: Vec<Value>) -> Result<Value, Failure>;

    /// Connects to a console, which is found by its own reference or that of its VM: what is read is output, from the
    /// oldest that is kept; what is written is input.
    ///
    /// # Errors
    /// `HANDLE_INVALID`; `VM_BAD_POWER_STATE` if the VM does not run.
    fn console(&self, caller: &Caller, reference: &str) -> Result<UnixStream, Failure>;
}
