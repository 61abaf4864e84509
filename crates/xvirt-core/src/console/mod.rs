//! A VM's console output, kept from its first byte, and the ways to attach to it.
