//! Runs a command and collects its output.

use super::channel::deadline;
use super::command::GuestCommand;
use super::handle::GuestAgent;
use super::message::Decoded;
use super::output::CommandOutput;
use super::process::{MAX_CAPTURED, Program};
use crate::Result;

impl GuestAgent {
    /// Runs a command in the guest, waits until it has ended and collects its output. The command itself may fail: see
    /// [`CommandOutput::status`].
    ///
    /// It needs only the agent in the guest, which keeps the output until the command has ended: up to 16 MiB of each
    /// stream, of which [`output_limit`](GuestCommand::output_limit) is returned. Other calls can be made meanwhile. A
    /// command has ended when it has exited and all processes that inherited its output have closed it, so one that
    /// leaves a process in the background should redirect its output.
    ///
    /// At the time limit, the command is killed (`kill -9`, with the guest's `/bin/sh`), but not the processes that it
    /// has started. If the agent does not answer then, or this process ends first, the command keeps running.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) as described; [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for an
    /// invalid command; [`AgentRefused`](crate::ErrorKind::AgentRefused) also if the guest has no such program; and
    /// those of [all calls](Self#errors).
    pub fn run(&self, command: &GuestCommand) -> Result<CommandOutput> {
        command.check()?;
        let deadline = deadline(command.timeout.unwrap_or(self.timeout()));
        let GuestCommand { program, args, input, .. } = command;
        let env = &command.variables();
        let process = self.start(&Program { path: program, args, env, input, capture: true }, deadline)?;
        let (status, state) = process.wait(deadline).map_err(|error| process.kill(error))?;
        let (stdout, stdout_truncated) = bounded(state.out_data, state.out_truncated, command.output_limit);
        let (stderr, stderr_truncated) = bounded(state.err_data, state.err_truncated, command.output_limit);
        Ok(CommandOutput { status, stdout, stderr, stdout_truncated, stderr_truncated })
    }
}

/// The first `limit` bytes of an output, and whether there was more.
fn bounded(output: Decoded, truncated: bool, limit: usize) -> (Vec<u8>, bool) {
    let mut output = output.0;
    // Agents before version 10.2 do not set `truncated` correctly.
    let more = truncated || output.len() >= MAX_CAPTURED || output.len() > limit;
    output.truncate(limit);
    (output, more)
}
