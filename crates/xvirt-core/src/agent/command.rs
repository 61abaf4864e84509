//! The description of a command to run in the guest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// How much output is collected by default, in bytes of each stream.
const OUTPUT_LIMIT: usize = 1 << 20;
/// The maximum input of a command: the agent gets it in one request, which may have 64 MiB.
const MAX_INPUT: usize = 16 << 20;
/// The maximum size of arguments and environment together, which is about what Linux accepts (execve(2)).
const MAX_ARGUMENTS: usize = 2 << 20;

/// A command to run in the guest, for [`GuestAgent::run`](super::GuestAgent::run) and
/// [`run_streamed`](super::GuestAgent::run_streamed).
///
/// It runs as the agent does: as root, in the folder `/`.
///
/// ```
/// use std::time::Duration;
/// use xvirt_core::agent::GuestCommand;
///
/// let sort = GuestCommand::new("sort").arg("-n").input("10\n9\n").timeout(Duration::from_secs(30));
/// let script = GuestCommand::shell("apt-get update && apt-get -y upgrade").env("PATH", "/usr/sbin:/usr/bin");
/// # let _ = (sort, script);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GuestCommand {
    /// The program: a path, or a name that is looked up in the agent's `PATH`.
    pub program: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment; that of the agent if empty.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its standard input.
    #[serde(default, with = "serde_bytes")]
    pub input: Vec<u8>,
    /// When it is killed; never if absent.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// How many bytes of each of its outputs are kept: 1 MiB by default, and at most 16 MiB.
    #[serde(default = "default_output_limit")]
    pub output_limit: usize,
}

fn default_output_limit() -> usize {
    OUTPUT_LIMIT
}

impl GuestCommand {
    /// A command that runs `program`: a path, or a name that is looked up in the agent's `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        let (args, env, input) = Default::default();
        Self { program: program.into(), args, env, input, timeout: None, output_limit: OUTPUT_LIMIT }
    }

    /// A command that runs `script` in the guest's `/bin/sh`.
    pub fn shell(script: impl Into<String>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(script)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.args.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. The command gets exactly the variables set here; without any, it gets those of
    /// the agent.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Its standard input, at most 16 MiB, followed by end of file. By default its standard input is empty.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How long the command may take, instead of the agent's [time limit](super::GuestAgent::with_timeout). After that
    /// it is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How much of its standard output, and of its standard error, is collected, in bytes: 1 MiB by default. The agent
    /// keeps no more than 16 MiB.
    #[must_use]
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Its environment variables, as `NAME=VALUE`.
    pub(super) fn variables(&self) -> Vec<String> {
        self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Rejects commands that the guest would misunderstand.
    pub(super) fn check(&self) -> Result<()> {
        let refused = |what: String, remedy: &str| Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy));
        if self.program.is_empty() {
            return refused("a command without a program cannot be run".into(), "name a program of the guest");
        }
        let variables = self.variables();
        let texts = || [&self.program].into_iter().chain(&self.args).chain(&variables);
        if let Some(text) = texts().find(|text| text.contains('\0')) {
            return refused(format!("{text:?} cannot be passed to a command"), "remove the zero byte");
        }
        if self.env.contains_key("") {
            return refused("an environment variable must have a name".into(), "give it one");
        }
        let length: usize = texts().map(String::len).sum();
        if length > MAX_ARGUMENTS {
            let what = format!("{length} bytes are too much for a command's arguments and environment");
            return refused(what, "pass at most 2 MiB, or pass the data as input");
        }
        if self.input.len() > MAX_INPUT {
            let what = format!("{} bytes are too much for a command's input", self.input.len());
            return refused(what, "pass at most 16 MiB, or write a file for the command to read");
        }
        Ok(())
    }
}
