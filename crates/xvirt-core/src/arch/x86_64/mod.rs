//! The x86-64 PC that a guest finds itself on.
//!
//! `layout` says where everything lies, `cpuid` and `registers` what a CPU looks like at power-on, and `boot` places a
//! kernel in memory and points the first CPU at it, unless `elf` refuses it.

pub(crate) mod boot;
pub(crate) mod cpuid;
mod elf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod layout;
pub(crate) mod registers;
