//! What the fuzzers in `fuzz/` reach of the inside, in plain types. It is there only when cargo-fuzz builds.

pub use crate::agent::fuzzing as agent;
pub use crate::arch::x86_64::fuzzing as kernel;
pub use crate::boot::fuzzing as boot;
pub use crate::virtio::fuzzing as virtio;
