//! The x86-64 PC that a VM emulates.
//!
//! `layout` is the memory map, `cpuid` and `registers` set up CPUs at power-on, and `boot` loads a kernel and starts
//! the first CPU at its entry point, after `elf` has checked it.

pub(crate) mod boot;
pub(crate) mod cpuid;
mod elf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod layout;
pub(crate) mod registers;
