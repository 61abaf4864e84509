//! The handle users hold: a VM from its configuration to its end.
