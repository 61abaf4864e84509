//! The x86-64 architecture of a VM: registers, CPUID, memory map and boot protocols.

pub(crate) mod x86_64;
