//! The QEMU guest agent: commands, files, addresses, time and shutdown of a running guest, through a program in it.
//!
//! The guest runs `qemu-ga` (the package `qemu-guest-agent`), which serves the port `org.qemu.guest_agent.0` of the virtio
//! console. Every VM has the port. [`Vm::agent`](crate::vm::Vm::agent) gives the host's side, a [`GuestAgent`].
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
//! The protocol is that of QEMU's "QEMU Guest Agent Protocol Reference" (`qga/qapi-schema.json`), as of version 2.5 and later.
//!
//! `channel` carries one call after the other over the port and `message` is what requests and answers look like, `handle` is
//! what users hold. The calls are in the files of their topics: `command` and `output` describe a command and its result,
//! which `process` runs, `run` waits for and `streamed` reads while it runs; `file`, `interface`, `time`, `freeze`, `power`.

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
