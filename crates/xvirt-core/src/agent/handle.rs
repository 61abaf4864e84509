//! The agent's handle, and the agent's information about itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::Span;

use super::channel::{Call, Channel, MAX_ANSWER, deadline};
use super::message::{NoArguments, Nothing};
use crate::progress::{interrupted, uninterruptible};
use crate::thread::{self, Panicked};
use crate::wait::Wait;
use crate::{ErrorKind, Result};

/// The default time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer a failing call may take for each thing that it has to clean up in the guest.
pub(super) const TIDYING: Duration = Duration::from_secs(2);
/// The stack of a thread that makes calls.
pub(super) const STACK_SIZE: usize = 256 << 10;
/// How often an agent that is present but does not answer yet is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The QEMU guest agent of a VM, returned by [`Vm::agent`](crate::vm::Vm::agent).
///
/// A clone is cheap and refers to the same agent. All calls may be made from any thread; those to one VM take turns.
/// Each has a time limit, 10 s unless changed by [`with_timeout`](Self::with_timeout), which includes waiting for its
/// turn. A call that fails may take a few seconds longer, to close files and kill commands in the guest; if it was
/// [interrupted](crate::progress::interruptible), a thread does that. The handle does not keep the VM alive: calls fail with [`Gone`](ErrorKind::Gone) after the VM is dropped, and with
/// [`InvalidState`](ErrorKind::InvalidState) in a child of fork(2).
///
/// # Errors
/// All calls may fail with these kinds:
/// - [`AgentAbsent`](ErrorKind::AgentAbsent): no program in the guest has the port open, or it has closed it. Install
///   and start `qemu-guest-agent` in the guest; [`wait_ready`](Self::wait_ready) waits for it.
/// - [`AgentRefused`](ErrorKind::AgentRefused): the agent answered with an error, which
///   [`AgentFailure::of`](super::AgentFailure::of) returns.
/// - [`InvalidAnswer`](ErrorKind::InvalidAnswer): its answer is malformed or too long.
/// - [`Timeout`](ErrorKind::Timeout): it did not answer in time, for example because the VM is paused. The agent may
///   execute the call later.
/// - [`InvalidState`](ErrorKind::InvalidState): the VM is halted, or was halted or reset during the call.
///
/// # Trust
/// The guest controls its answers: each is checked and bounded, and costs no more than the time limit, but may be
/// untrue. The agent runs as root; the owner of this handle can do anything in the guest.
#[derive(Clone, Debug)]
pub struct GuestAgent {
    pub(super) channel: Arc<Channel>,
    timeout: Duration,
}

/// The agent's information about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentInfo {
    /// Its version, which is that of QEMU, such as `7.2.17`.
    pub version: String,
    /// The commands of the protocol that it implements.
    #[serde(rename = "supported_commands")]
    pub commands: Vec<AgentCommand>,
}

/// A command of the agent's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentCommand {
    /// Its name, such as `guest-exec`.
    pub name: String,
    /// Whether the guest's administrator allows it, and the agent's current state.
    pub enabled: bool,
}

impl AgentInfo {
    /// Whether the agent executes this command, such as `guest-exec`.
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

    /// Whether a program in the guest has the agent's port open. Does not ask the agent.
    pub fn is_present(&self) -> bool {
        self.channel.is_open()
    }

    /// Waits at most `timeout` until the agent is present and answers, for example while the guest boots.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout); [`InvalidState`](ErrorKind::InvalidState) if the VM is halted, or is halted
    /// while this waits.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let end = deadline(timeout);
        loop {
            self.channel.wait_open(end)?;
            match self.call_until::<_, Nothing>("guest-ping", NoArguments {}, end) {
                Ok(_) => return Ok(()),
                // The agent ends or its guest reboots: wait for the next one.
                Err(error) if error.kind() == ErrorKind::AgentAbsent || error.kind() == ErrorKind::InvalidState => {}
                Err(error) => return Err(error),
            }
            // If this was the last time, waiting for the agent fails with the reason.
            let _ = Wait::until(end).pause(ASK_AGAIN);
        }
    }

    /// Checks that the agent answers.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn ping(&self) -> Result<()> {
        self.call::<_, Nothing>("guest-ping", NoArguments {}).map(drop)
    }

    /// The agent's version and the commands that it allows.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn info(&self) -> Result<AgentInfo> {
        self.call("guest-info", NoArguments {})
    }

    /// Cleans up in the guest after a call that has failed. If the caller has cancelled it, this does not keep it
    /// waiting: a thread does it.
    pub(super) fn clean_up(&self, work: impl FnOnce(&Self) + Send + 'static) {
        if !interrupted() {
            return uninterruptible(|| work(self));
        }
        let agent = self.clone();
        let panicked = |panic: Panicked| tracing::error!(?panic, "the thread that cleans up in a guest has panicked");
        if let Err(error) = thread::spawn("agent-clean-up", STACK_SIZE, Span::current(), move || work(&agent), panicked)
        {
            tracing::warn!(%error, "cannot start a thread, so something is left behind in a guest");
        }
    }

    /// Executes `command` within the time limit.
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

    /// The deadline of a call that begins now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        deadline(self.timeout)
    }
}
