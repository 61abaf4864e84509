//! Control groups: how the host shares its processors between VMs.
//!
//! `hierarchy` finds where this process may make groups, in either of Linux's versions of them; `cpu` is the group of one
//! VM, and `owner` removes those that processes left behind. Threads of a process can be in groups of their own only below
//! the group that the process is in, so that is where a VM's group is made.

mod cpu;
mod hierarchy;
mod owner;
#[cfg(test)]
mod tests;

pub(crate) use cpu::{CpuGroup, OutsideGroup};
