//! The QEMU guest agent: commands, files, addresses, time and shutdown of a running guest, through a program in it.
//!
//! The guest runs `qemu-ga` (the package `qemu-guest-agent`), which serves the port `org.qemu.guest_agent.0` of the
//! virtio console. Every VM has the port. [`Vm::agent`](crate::vm::Vm::agent) returns the host's side, a
//! [`GuestAgent`].
//!
//! ```no_run
//! # fn example(vm: &xvirt_core::vm::Vm) -> xvirt_core::Result<()> {
//! use std::time::Duration;
//! use xvirt_core::agent::GuestCommand;
//!
//! let agent = vm.agent();
//! agent.wait_ready(Duration::from_secs(120))?; // until the guest has booted and its agent answers
//! let output = agent.run(&GuestCommand::new("uname").arg("-r"))?;
//! println!("{}: {}", output.status, output.stdout_lossy());
//! agent.write_file("/etc/motd", b"managed by xvirt\n")?;
//! for interface in agent.network_interfaces()? {
//!     println!("{} has {:?}", interface.name, interface.addresses);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The protocol is that of the "QEMU Guest Agent Protocol Reference" (`qga/qapi-schema.json`), version 2.5 and later.
//!
//! `channel` sends one call at a time over the port, `message` has the format of requests and answers, `handle` is the
//! handle. The calls are in files by topic: `command` and `output` describe a command and its result, `process` runs
//! it, `run` waits for it, `streamed` reads its output while it runs; `file`, `interface`, `time`, `freeze` and `power`
//! have the others.

mod channel;
mod command;
mod file;
mod freeze;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod interface;
mod message;
mod output;
mod power;
mod process;
mod run;
mod streamed;
#[cfg(test)]
mod tests;
mod time;

pub(crate) use channel::Channel;
pub use command::GuestCommand;
pub use freeze::FrozenFileSystems;
pub use handle::{AgentCommand, AgentInfo, GuestAgent};
pub use interface::{GuestAddress, NetworkInterface};
pub use message::AgentFailure;
pub use output::{CommandOutput, CommandStatus, OutputStream};
