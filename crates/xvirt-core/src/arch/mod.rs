//! What an x86-64 machine looks like to its software: registers, CPUID, ACPI tables and boot protocols.

pub(crate) mod x86_64;
