//! What an x86-64 machine looks like to its software: registers, CPUID, the memory map and boot protocols.

pub(crate) mod x86_64;
