//! Live migration: moves a running VM to another host.
//!
//! ```text
//!      SOURCE                                             TARGET
//!
//!      Running ───────── Hello, Offer ────────────────▶
//!         │    ◀──────── Hello, Accepted or Refused ────  Receiving
//!         │                                                  │
//!         │ ──────────── Pages, ZeroPages, EndOfRound ──▶    │  rounds, while the guest runs
//!         ▼ stops the guest                                  │
//!      Parked ────────── Pages, ZeroPages, EndOfRound ──▶    │  the last pages
//!         ▼ closes and unlocks the disks                     │
//!      Released ──────── Released ──────────────────────▶    │
//!         │                                                  ▼ locks and opens the disks, loads the state
//!         │    ◀──────── Prepared ──────────────────────  Prepared
//!         ▼ asks the store                                   │
//!      Deciding                                              │
//!         ▼                                                  │
//!      Committing ────── Commit ────────────────────────▶    ▼ runs the guest
//!         │    ◀──────── Committed ─────────────────────  Running
//!         ▼
//!      Migrated
//!
//!      any failure before the commit:                     any failure before the commit:
//!      Running ──▶ Resumed (the guest has run all along)  Receiving ──▶ Aborted
//!      Parked, Released, Deciding ──▶ Reclaiming          Prepared ──▶ Asking ──▶ Running or Aborted
//!      Reclaiming ──▶ Resumed or Paused
//!
//!      no answer to the commit:
//!      Committing ──▶ Indeterminate
//! ```
//!
//! The guest never runs at both hosts: the target runs it only after `Commit` (or after its store said that it is the
//! owner), and after the source has sent `Commit` it only runs the guest again if the target confirms that it never
//! will. The model in `proofs/migration` explores all failures of this part.
//! `docs/migration.md` describes the protocol for other implementations.
//!
//! ```no_run
//! # fn main() -> xvirt_core::Result<()> {
//! use std::net::{SocketAddr, TcpStream};
//! use xvirt_core::migrate::Migration;
//! # let vm: xvirt_core::vm::Vm = unimplemented!();
//!
//! let target: SocketAddr = ([192, 0, 2, 7], 7400).into();
//! let connect = move |limit| TcpStream::connect_timeout(&target, limit);
//! let summary = vm.migrate(&connect, &Migration::default(), &(), &())?;
//! println!("its guest was stopped for {:?}", summary.downtime.total());
//! # Ok(())
//! # }
//! ```
//!
//! The program at the other host listens, and says which disks and networks of its host the VM gets:
//!
//! ```no_run
//! # fn main() -> xvirt_core::Result<()> {
//! # let listener: std::net::TcpListener = unimplemented!();
//! use xvirt_core::host::Host;
//! use xvirt_core::migrate::{Reception, receive};
//!
//! let host = Host::probe()?;
//! let vm = receive(&listener, &host, &Reception::default(), &(), &(), &mut |arriving| {
//!     arriving.config().cloned().ok_or_else(|| vec!["its configuration contains open files".to_owned()])
//! })?;
//! println!("VM '{}' runs here", vm.name());
//! # Ok(())
//! # }
//! ```
//!
//! Between two processes of one host, memory need not be copied: in a local hand-over
//! ([`MemoryTransfer::LocalHandOver`]), the source passes the descriptors of the files that hold it over a unix socket, and
//! the target maps them. There are no rounds then, and the guest is stopped for a few milliseconds whatever the size of
//! its memory. This is how a program is replaced by its next version while its guests run:
//!
//! ```no_run
//! # fn main() -> xvirt_core::Result<()> {
//! use std::os::unix::net::UnixStream;
//! use xvirt_core::migrate::{MemoryTransfer, Migration};
//! # let vm: xvirt_core::vm::Vm = unimplemented!();
//!
//! // The VM was built with `VmConfig::shared_memory`.
//! let connect = |_| UnixStream::connect("/run/vms/upgrade.socket");
//! vm.migrate(&connect, &Migration::default().memory(MemoryTransfer::LocalHandOver), &(), &())?;
//! # Ok(())
//! # }
//! ```
//!
//! At the other host, [`receive`] takes the VM. Both hosts must reach the same disks. Over plain sockets nothing is encrypted
//! and nobody is authenticated, so the network has to be trusted; with the feature `tls`, `Tls` makes encrypted connections
//! on which both hosts prove with certificates who they are.
//!
//! Inside: `source` and `target` are the two sides, whose phases are types; `copy` sends memory, `pages` takes it;
//! `convergence` decides when to stop the guest; `frame`, `message` and `link` are
//! what the sides say over the connections of a `channel`; `arrivals` are those that a target accepts, which wait in a
//! `lobby` until it is known whose they are; `ancillary` passes descriptors over them, and `tls` encrypts them; `steering`
//! joins the settings and reports with their observer; `vm` connects all this to VMs.

mod address;
mod ancillary;
mod arrivals;
mod channel;
mod convergence;
mod copy;
mod decision;
mod frame;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod lobby;
mod message;
mod pages;
mod report;
mod settings;
mod source;
mod steering;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod vm;

pub use address::tcp_channel;
pub use channel::{CONNECTION_WAIT, Channel, Connection, Socket, Sockets};
pub use decision::{CommitDecision, Decision};
pub use report::{Downtime, MigrationObserver, MigrationPhase, MigrationReport, MigrationSummary};
pub use settings::{AtLimit, MemoryTransfer, Migration, Reception};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use vm::receive;
