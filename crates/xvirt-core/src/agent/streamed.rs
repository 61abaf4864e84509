//! Running a command and reading what it writes while it runs.
//!
//! The agent gives captured output only at the end. So the command writes to two files in the guest, which the agent reads as
//! they grow. They have no names any more when the command begins, so nothing of them stays. A pipe would not do: the agent
//! reads without waiting, and loses what it has read of a pipe that runs empty.

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

/// Makes the files, for nobody else.
const PREPARE: &str = r#"umask 077 && mkdir "$1" && : >"$1/1" && : >"$1/2""#;
/// Runs the command in place of the shell, in a process group of its own where the guest has `setsid`.
const RUN: &str = r#"d=$1; shift; exec 3>>"$d/1" 4>>"$d/2" && rm -r "$d" || exit 126
command -v setsid >/dev/null && set -- setsid "$@"
exec "$@" >&3 2>&4 3>&- 4>&-"#;
const REMOVE: &str = r#"rm -rf "$1""#;

/// The two outputs of a command, in the guest.
struct Outputs<'a> {
    folder: String,
    files: [OpenFile<'a>; 2],
    /// How the command has ended, which the agent tells only once.
    ended: Option<CommandStatus>,
}

impl GuestAgent {
    /// Runs a command in the guest and gives `output` what it writes while it runs, in pieces. What it wrote to one stream
    /// comes in order; between the two streams the order is not kept. `output` answers whether to go on:
    /// [`ControlFlow::Break`] kills the command.
    ///
    /// The guest needs a shell at `/bin/sh` with `mkdir` and `rm`, and room in `/tmp` for all that the command writes, until
    /// it has ended; what the agent is asked for is `guest-exec` and `guest-file-*`. The output is looked for again after at
    /// most a quarter of a second. A program that does not exist is exit status 127. The command has ended when its process
    /// has; what processes that it leaves in the background write later is not given.
    ///
    /// When the time limit passes, the command is killed, with all processes that it has started, where the guest has
    /// `setsid` (from util-linux or BusyBox), else without those. If the agent does not answer then, or this process ends
    /// before, the command runs on.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) if `output` ended it, and otherwise as [`run`](Self::run).
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
            let what =
                format!("the folder {folder} for the output of a command cannot be made in VM '{name}': {status}");
            return Err(Error::new(ErrorKind::AgentRefused, what).with_remedy("make room in /tmp of the guest"));
        }
        let open = |number| self.open(&format!("{folder}/{number}"), "r", deadline);
        let files = [open(1)?, open(2)?];
        Ok(Outputs { folder, files, ended: None })
    }

    fn begin(&self, command: &GuestCommand, folder: &str, deadline: Option<Instant>) -> Result<Process<'_>> {
        let mut args = shell(RUN, folder);
        args.push(command.program.clone());
        args.extend(command.args.iter().cloned());
        self.start(&Program { env: &command.env, input: &command.input, ..script(&args) }, deadline)
    }

    /// Removes what is left of a command that could not be started.
    fn remove(&self, folder: &str) {
        let args = shell(REMOVE, folder);
        let until = deadline(super::handle::TIDYING);
        if let Err(error) = self.start(&script(&args), until).and_then(|process| process.wait(until)) {
            tracing::debug!(folder, %error, "the guest agent cannot remove a folder in the guest");
        }
    }
}

fn shell(script: &str, folder: &str) -> Vec<String> {
    ["-c", script, "sh", folder].map(str::to_owned).into()
}

fn script(args: &[String]) -> Program<'_> {
    Program { path: "/bin/sh", args, env: &[], input: &[], capture: false }
}

impl Outputs<'_> {
    /// Gives `output` what comes until the command has ended.
    fn follow(
        &mut self,
        process: Process<'_>,
        deadline: Option<Instant>,
        output: &mut impl FnMut(OutputStream, &[u8]) -> ControlFlow<()>,
    ) -> Result<CommandStatus> {
        let mut pause = Pause::new();
        loop {
            // First, so that nothing comes any more once there is no more below.
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
                        return Err(Error::new(ErrorKind::Cancelled, "the caller ended it"));
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
