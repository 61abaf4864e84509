//! The handle users hold, and what the agent says of itself.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{Call, Channel, MAX_ANSWER, deadline};
use super::message::{NoArguments, Nothing};
use crate::{ErrorKind, Result};

/// How long a call waits unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer a call that fails may take for each thing that it leaves in the guest.
pub(super) const TIDYING: Duration = Duration::from_secs(2);
/// How often an agent that is there and does not answer yet is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The QEMU guest agent of a VM, made by [`Vm::agent`](crate::vm::Vm::agent).
///
/// Cloning is cheap and gives the same agent. All calls may be made from any thread; those of one VM take turns. Each has a
/// time limit, 10 s unless [`with_timeout`](Self::with_timeout) changes that, in which it also waits for its turn. A call
/// that fails may take a few seconds more, to close files and kill commands in the guest. The handle does not keep the VM: calls fail
/// with [`Gone`](ErrorKind::Gone) after the VM is dropped, and with [`InvalidState`](ErrorKind::InvalidState) in a child of
/// fork(2).
///
/// # Errors
/// All calls fail with these kinds:
/// - [`AgentAbsent`](ErrorKind::AgentAbsent): nobody in the guest has the port open, or not any more. Install and start
///   `qemu-guest-agent` there; [`wait_ready`](Self::wait_ready) waits for it.
/// - [`AgentRefused`](ErrorKind::AgentRefused): the agent answered with an error, which
///   [`AgentFailure::of`](super::AgentFailure::of) gives.
/// - [`InvalidAnswer`](ErrorKind::InvalidAnswer): its answer is not understood, or too long.
/// - [`Timeout`](ErrorKind::Timeout): it has not answered in time, as while the VM is paused. The agent may carry the call
///   out later.
/// - [`InvalidState`](ErrorKind::InvalidState): the VM is halted, or was halted or reset meanwhile.
///
/// # Trust
/// The guest says what it likes: every answer is checked and bounded, and costs no more than the time limit, but may be
/// untrue. The agent runs as root; whoever holds this handle can do everything in the guest.
#[derive(Clone, Debug)]
pub struct GuestAgent {
    pub(super) channel: Arc<Channel>,
    timeout: Duration,
}

/// What the agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentInfo {
    /// Its version, which is that of QEMU, such as `7.2.17`.
    pub version: String,
    /// The commands of the protocol that it knows.
    #[serde(rename = "supported_commands")]
    pub commands: Vec<AgentCommand>,
}

/// A command of the agent's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentCommand {
    /// Its name, such as `guest-exec`.
    pub name: String,
    /// Whether the guest's administrator allows it, and the agent at this moment.
    pub enabled: bool,
}

impl AgentInfo {
    /// Whether the agent carries this command out, such as `guest-exec`.
    pub fn is_enabled(&self, command: &str) -> bool {
        self.commands.iter().any(|known| known.enabled && known.name == command)
    }
}

impl GuestAgent {
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        Self { channel, timeout: TIMEOUT }
    }

    /// The same agent, with this time limit for each call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The time limit of each call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether a program in the guest has the agent's port open. Asks nobody.
    pub fn is_present(&self) -> bool {
        self.channel.is_open()
    }

    /// Waits at most `timeout` until the agent is there and answers, as when the guest is booting.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout); [`InvalidState`](ErrorKind::InvalidState) if the VM is halted, also meanwhile.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let end = deadline(timeout);
        loop {
            self.channel.wait_open(end)?;
            match self.call_until::<_, Nothing>("guest-ping", NoArguments {}, end) {
                Ok(_) => return Ok(()),
                // It ends, or its guest reboots: another one comes.
                Err(error) if error.kind() == ErrorKind::AgentAbsent || error.kind() == ErrorKind::InvalidState => {}
                Err(error) => return Err(error),
            }
            let left = end.map_or(ASK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            thread::sleep(left.min(ASK_AGAIN));
        }
    }

    /// Asks whether the agent answers.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn ping(&self) -> Result<()> {
        self.call::<_, Nothing>("guest-ping", NoArguments {}).map(drop)
    }

    /// The agent's version and what it is allowed to do.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn info(&self) -> Result<AgentInfo> {
        self.call("guest-info", NoArguments {})
    }

    /// Carries `command` out within the time limit.
    pub(super) fn call<A: Serialize, T: DeserializeOwned>(&self, command: &'static str, arguments: A) -> Result<T> {
        self.call_until(command, arguments, self.deadline())
    }

    pub(super) fn call_until<A: Serialize, T: DeserializeOwned>(
        &self,
        command: &'static str,
        arguments: A,
        deadline: Option<Instant>,
    ) -> Result<T> {
        self.channel.call(Call { command, limit: MAX_ANSWER, deadline }, arguments)
    }

    /// When a call that begins now must have ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        deadline(self.timeout)
    }
}
