//! Tests that concern every virtio device.

#[cfg(feature = "seccomp")]
mod filter;
mod hostile;
mod lifecycle;
