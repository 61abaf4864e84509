//! Who answers XenAPI's verbs.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{Caller, Failure, Login};

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

    /// Logs in: the reference of a new session, which is a secret. On the socket of the host, whoever may connect may do
    /// everything, so that the name and the password are not looked at there.
    ///
    /// It takes a good part of a second and 19 MiB of memory, so that it is hard to guess a password.
    ///
    /// # Errors
    /// `SESSION_AUTHENTICATION_FAILED`: there is no such user, or the password is wrong. `MESSAGE_METHOD_UNKNOWN` if nobody
    /// can log in here.
    fn log_in(&self, login: &Login) -> Result<String, Failure> {
        let _ = login;
        Err(Failure::new("MESSAGE_METHOD_UNKNOWN", ["session.login_with_password"]))
    }

    /// Whom the reference of a session stands for, when it is used from this address, or from the socket of the host.
    ///
    /// # Errors
    /// `SESSION_INVALID`: there is no such session, or it has ended.
    fn caller(&self, session: &str, from: Option<IpAddr>) -> Result<Caller, Failure> {
        let _ = from;
        Err(Failure::new("SESSION_INVALID", [session]).with_remedy("log in"))
    }
}
