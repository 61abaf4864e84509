//! The objects KVM gives us, with errors that say what to do.
