//! Runs a command and reads its output while it runs.
//!
//! The agent returns captured output only at the end. So the command writes to two files in the guest, which the agent
//! reads as they grow. They are unlinked before the command begins, so nothing is left behind. A pipe would not work:
//! the agent reads without waiting, and loses what it has already read when the pipe runs empty.

use std::ops::ControlFlow;
use std::time::Instant;

use uuid::Uuid;

use super::channel::deadline;
use super::command::GuestCommand;
use super::file::OpenFile;
use super::handle::GuestAgent;
use super::output::{CommandStatus, OutputStream};
use super::process::{Pause, Process, Program};
use crate::{Error, ErrorKind, Result};

/// Creates the files, accessible only to their owner.
const PREPARE: &str = r#"umask 077 && mkdir "$1" && : >"$1/1" && : >"$1/2""#;
/// Replaces the shell with the command, in its own process group if the guest has `setsid`.
const RUN: &str = r#"d=$1; shift; exec 3>>"$d/1" 4>>"$d/2" && rm -r "$d" || exit 126
command -v setsid >/dev/null && set -- setsid "$@"
exec "$@" >&3 2>&4 3>&- 4>&-"#;
const REMOVE: &str = r#"rm -rf "$1""#;

/// The two output files of a command, in the guest.
struct Outputs<'a> {
    folder: String,
    files: [OpenFile<'a>; 2],
    /// How the command has ended, which the agent reports only once.
    ended: Option<CommandStatus>,
}

impl GuestAgent {
    /// Runs a command in the guest and passes its output to `output` in pieces while it runs. The output of one stream
    /// arrives in order; the order between the two streams is not kept. `output` returns whether to continue:
    /// [`ControlFlow::Break`] kills the command.
    ///
    /// The guest needs a shell at `/bin/sh` with `mkdir` and `rm`, and space in `/tmp` for the whole output of the
    /// command until it has ended; the agent must allow `guest-exec` and `guest-file-*`. The output is checked at least
    /// every quarter of a second. If the program does not exist, the exit status is 127. The command has ended when its
    /// process has; later output of processes that it leaves in the background is not read.
    ///
    /// At the time limit, the command is killed. If the guest has `setsid` (from util-linux or BusyBox), so are all
    /// processes that the command has started. If the agent does not answer then, or this process ends first, the
    /// command keeps running.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) if `output` stopped it, and otherwise those of [`run`](Self::run).
    pub fn run_streamed(
        &self,
        command: &GuestCommand,
        mut output: impl FnMut(OutputStream, &[u8]) -> ControlFlow<()>,
    ) -> Result<CommandStatus> {
        command.check()?;
        let deadline = deadline(command.timeout.unwrap_or(self.timeout()));
        let folder = format!("/tmp/xvirt-{}", Uuid::new_v4());
        let begun = self.outputs(folder.clone(), deadline).and_then(|outputs| {
            let process = self.begin(command, &outputs.folder, deadline)?;
            Ok((outputs, process))
        });
        let (mut outputs, process) = begun.inspect_err(|_| self.remove(&folder))?;
        let followed = outputs.follow(process, deadline, &mut output);
        followed.map_err(|error| if outputs.ended.is_some() { error } else { process.kill(error) })
    }

    fn outputs(&self, folder: String, deadline: Option<Instant>) -> Result<Outputs<'_>> {
        let args = shell(PREPARE, &folder);
        let (status, _) = self.start(&script(&args), deadline)?.wait(deadline)?;
        if !status.is_success() {
            let name = self.channel.name();
            let what = format!("cannot make the folder {folder} for the output of a command in VM '{name}': {status}");
            return Err(Error::new(ErrorKind::AgentRefused, what).with_remedy("free space in /tmp of the guest"));
        }
        let open = |number| self.open(&format!("{folder}/{number}"), "r", deadline);
        let files = [open(1)?, open(2)?];
        Ok(Outputs { folder, files, ended: None })
    }

    fn begin(&self, command: &GuestCommand, folder: &str, deadline: Option<Instant>) -> Result<Process<'_>> {
        let mut args = shell(RUN, folder);
        args.push(command.program.clone());
        args.extend(command.args.iter().cloned());
        let env = &command.variables();
        self.start(&Program { env, input: &command.input, ..script(&args) }, deadline)
    }

    /// Removes the folder of a command that could not be started.
    fn remove(&self, folder: &str) {
        let args = shell(REMOVE, folder);
        self.clean_up(move |agent| {
            let until = deadline(super::handle::TIDYING);
            if let Err(error) = agent.start(&script(&args), until).and_then(|process| process.wait(until)) {
                tracing::debug!(?args, %error, "the guest agent cannot remove a folder in the guest");
            }
        });
    }
}

fn shell(script: &str, folder: &str) -> Vec<String> {
    ["-c", script, "sh", folder].map(str::to_owned).into()
}

fn script(args: &[String]) -> Program<'_> {
    Program { path: "/bin/sh", args, env: &[], input: &[], capture: false }
}

impl Outputs<'_> {
    /// Passes the output to `output` until the command has ended.
    fn follow(
        &mut self,
        process: Process<'_>,
        deadline: Option<Instant>,
        output: &mut impl FnMut(OutputStream, &[u8]) -> ControlFlow<()>,
    ) -> Result<CommandStatus> {
        let mut pause = Pause::new();
        loop {
            // The status is queried before reading, so that after the end of the command nothing is missed.
            if self.ended.is_none() {
                self.ended = process.ended(&process.state(deadline)?)?;
            }
            let mut more = false;
            for (file, stream) in self.files.iter_mut().zip([OutputStream::Stdout, OutputStream::Stderr]) {
                let piece = file.read(deadline)?;
                more |= !piece.end;
                if !piece.bytes.is_empty() {
                    pause = Pause::new();
                    if output(stream, &piece.bytes).is_break() {
                        return Err(Error::new(ErrorKind::Cancelled, "the caller stopped it"));
                    }
                }
            }
            match self.ended {
                Some(status) if !more => return Ok(status),
                _ if more => {}
                _ => pause.wait(deadline)?,
            }
        }
    }
}
