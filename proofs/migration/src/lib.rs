//! A model of the hand-over of a live migration: a VM, its source and its target, and everything that can happen.
//!
//! The names are those of the protocol (`docs/migration.md`). The model begins when the memory has been copied while
//! the guest ran, because nothing is at stake before. The tests explore every reachable state.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
