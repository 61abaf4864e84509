//! What several fuzzers share.

pub mod disk;
pub mod qcow2;
pub mod virtio;
