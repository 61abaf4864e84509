//! Host network interfaces that a NIC can be connected to.
