//! The modern virtio PCI transport (virtio 1.2, section 4.1).
//!
//! `function` is the PCI function and its life cycle, `access` dispatches reads and writes, `registers` is the common
//! configuration structure, and `layout` is the layout of the BAR and its capabilities.

mod access;
mod function;
mod layout;
mod registers;
#[cfg(test)]
mod tests;

pub(crate) use function::{VirtioPci, VirtioPciState};
pub(crate) use layout::BAR_SIZE;
