//! The few devices of a PC that are not PCI: serial port, clock, power management.
