//! What a user writes: serde types that describe a VM, checked before anything is built.
