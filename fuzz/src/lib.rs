//! What several fuzzers share.

pub mod disk;
pub mod virtio;
