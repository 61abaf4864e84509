//! The processes of the VMs, from the service's side: `place` is where their files are, `process` talks to one and waits for
//! its end, `identity` knows it if it hangs, `launch` makes one, `config` and `parts` say what a VM is built from, `group` has their control groups.

pub(crate) mod config;
pub(crate) mod group;
mod identity;
pub(crate) mod launch;
pub(crate) mod parts;
pub(crate) mod place;
pub(crate) mod process;

pub(crate) use place::{End, LeftBeside, Place, Places};
pub(crate) use process::Worker;
