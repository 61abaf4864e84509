//! The internal interfaces for the fuzzers in `fuzz/`, in plain types. Only cargo-fuzz builds it.

pub use crate::agent::fuzzing as agent;
pub use crate::arch::x86_64::fuzzing as kernel;
pub use crate::boot::fuzzing as boot;
pub use crate::migrate::fuzzing as migration;
pub use crate::virtio::fuzzing as virtio;
pub use crate::vm::fuzzing as saved_state;
