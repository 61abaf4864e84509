//! Each wall of the sandbox, alone: what it refuses is refused with it, and works without any. And all of them together.
//!
//! Each attempt is made in a process of its own, which is forked from this one and has one thread.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod attempts;
mod child;
mod memory;
mod namespaces;
mod privileges;
