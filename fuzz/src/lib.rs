//! Code shared by several fuzzers.

pub mod disk;
pub mod qcow2;
pub mod virtio;
