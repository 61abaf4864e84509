//! The x86-64 PC that a VM emulates.
//!
//! `layout` is the memory map, `cpuid` and `registers` set up CPUs at power-on, and `boot` loads a kernel and starts
//! the first CPU at its entry point, after `elf` has checked it. `vcpu_state` reads and sets the state of a CPU that
//! has run, and `cpu_features` checks whether this host's CPU has what a guest was told of.

pub(crate) mod boot;
mod cpu_features;
pub(crate) mod cpuid;
mod elf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod layout;
pub(crate) mod registers;
pub(crate) mod vcpu_state;
