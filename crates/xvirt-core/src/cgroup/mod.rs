//! Control groups, by which the host divides its CPU time between VMs.
//!
//! `hierarchy` finds where this process may create groups, in either version of Linux's control groups; `cpu` is the
//! group of one VM, and `owner` removes groups of dead processes. Threads can only be moved to groups below the group
//! of their process, so that is where a VM's group is created.

mod cpu;
mod hierarchy;
mod owner;
#[cfg(test)]
mod tests;

pub(crate) use cpu::{CpuGroup, OutsideGroup};
