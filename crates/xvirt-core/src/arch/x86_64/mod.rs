//! The x86-64 PC that a guest finds itself on.
//!
//! `layout` says where everything lies, `cpuid` and `registers` what a CPU looks like at power-on, `acpi` describes the
//! machine to its operating system with the help of `acpi_hotplug` (the slots that devices are plugged into),
//! `paravirtual` and `wdat`, and `boot` places a kernel in memory and points the first CPU at it, unless `elf` refuses it.

pub(crate) mod acpi;
mod acpi_hotplug;
pub(crate) mod boot;
pub(crate) mod cpuid;
mod elf;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod layout;
mod paravirtual;
pub(crate) mod registers;
mod wdat;
