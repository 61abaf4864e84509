//! A process that the agent has started: queries its state, and kills it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::channel::{Call, MAX_ANSWER, deadline};
use super::handle::{GuestAgent, TIDYING};
use super::message::{Decoded, Encoded, not_understood};
use super::output::CommandStatus;
use crate::progress::{interrupted, uninterruptible};
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// How much of each output of a process the agent keeps, in bytes.
pub(super) const MAX_CAPTURED: usize = 16 << 20;
/// The longest answer of `guest-exec-status`, which has both outputs in Base64.
const MAX_STATUS_ANSWER: usize = 2 * MAX_CAPTURED / 3 * 4 + MAX_ANSWER;
/// How long to wait before a running process is checked again. This doubles each time up to the maximum.
const ASK_AGAIN: Duration = Duration::from_millis(5);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(250);
/// Kills a process, with its process group if it leads one.
const KILL: &str = r#"kill -9 "-$1" 2>/dev/null || kill -9 "$1""#;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Exec<'a> {
    path: &'a str,
    arg: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    input_data: Option<Encoded<'a>>,
    capture_output: bool,
}

#[derive(Deserialize)]
pub(super) struct Started {
    pid: i64,
}

#[derive(Serialize)]
struct Ask {
    pid: i64,
}

/// The agent's report on a process.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct State {
    exited: bool,
    exitcode: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    pub(super) out_data: Decoded,
    #[serde(default)]
    pub(super) err_data: Decoded,
    #[serde(default)]
    pub(super) out_truncated: bool,
    #[serde(default)]
    pub(super) err_truncated: bool,
}

/// The program to start.
pub(super) struct Program<'a> {
    pub(super) path: &'a str,
    pub(super) args: &'a [String],
    pub(super) env: &'a [String],
    pub(super) input: &'a [u8],
    /// Whether the agent should keep the output until it is read.
    pub(super) capture: bool,
}

/// A process in the guest.
#[derive(Clone, Copy)]
pub(super) struct Process<'a> {
    agent: &'a GuestAgent,
    pid: i64,
}

/// How long to wait before the next check.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(ASK_AGAIN)
    }

    /// Waits, and longer the next time; fails if `deadline` has passed.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<()> {
        Wait::until(deadline).pause(self.0).map_err(|ended| {
            ended.error("a command in the guest", || {
                Error::new(ErrorKind::Timeout, "it did not end in time")
                    .with_remedy("give it more time with GuestCommand::timeout")
            })
        })?;
        self.0 = (2 * self.0).min(ASK_AGAIN_MAX);
        Ok(())
    }
}

impl GuestAgent {
    pub(super) fn start(&self, program: &Program<'_>, deadline: Option<Instant>) -> Result<Process<'_>> {
        let exec = Exec {
            path: program.path,
            arg: program.args,
            env: program.env,
            // Without input data, the standard input is empty.
            input_data: (!program.input.is_empty()).then_some(Encoded(program.input)),
            capture_output: program.capture,
        };
        let started: Started = self.call_until("guest-exec", exec, deadline)?;
        Ok(Process { agent: self, pid: started.pid })
    }
}

impl Process<'_> {
    pub(super) fn state(self, deadline: Option<Instant>) -> Result<State> {
        let call = Call { command: "guest-exec-status", limit: MAX_STATUS_ANSWER, deadline };
        self.agent.channel.call(call, Ask { pid: self.pid })
    }

    /// Waits until it has ended.
    pub(super) fn wait(self, deadline: Option<Instant>) -> Result<(CommandStatus, State)> {
        let mut pause = Pause::new();
        loop {
            let state = self.state(deadline)?;
            if let Some(status) = self.ended(&state)? {
                return Ok((status, state));
            }
            pause.wait(deadline)?;
        }
    }

    /// How it has ended, if it has.
    pub(super) fn ended(self, state: &State) -> Result<Option<CommandStatus>> {
        match (state.exited, state.exitcode, state.signal) {
            (false, _, _) => Ok(None),
            (true, _, Some(signal)) => Ok(Some(CommandStatus::Signalled(signal))),
            (true, Some(code), None) => Ok(Some(CommandStatus::Exited(code))),
            (true, None, None) => {
                let error = not_understood("a process has ended without an exit status");
                Err(self.agent.channel.failed("guest-exec-status", error))
            }
        }
    }

    /// Kills it because of `error`, and returns that error with the outcome.
    pub(super) fn kill(self, error: Error) -> Error {
        let became = match error.kind() {
            // After a reset, this process ID may already be that of another process.
            ErrorKind::InvalidState | ErrorKind::Gone => "ended with its guest",
            _ if interrupted() => {
                let pid = self.pid;
                self.agent.clean_up(move |agent| _ = Process { agent, pid }.is_killed_within(TIDYING));
                "is being killed"
            }
            _ if uninterruptible(|| self.is_killed_within(TIDYING)) => "was killed",
            _ => "may still run",
        };
        let name = self.agent.channel.name();
        let what = format!("a command in VM '{name}', with process ID {}, {became}", self.pid);
        Error::new(error.kind(), what).because(error)
    }

    fn is_killed_within(self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        let args = ["-c".to_owned(), KILL.to_owned(), "sh".to_owned(), self.pid.to_string()];
        let program = Program { path: "/bin/sh", args: &args, env: &[], input: &[], capture: false };
        // The agent forgets a process once it has reported how the process ended.
        self.pid > 0
            && self.agent.start(&program, deadline).and_then(|killer| killer.wait(deadline)).is_ok()
            && self.wait(deadline).is_ok()
    }
}
