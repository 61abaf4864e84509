//! The modern virtio PCI transport (virtio 1.2, section 4.1).
//!
//! `function` is the PCI function with its life cycle, `access` the reads and writes that reach it, `registers` the
//! common configuration structure, `layout` where everything lies in the one BAR and the capabilities that say so.

mod access;
mod function;
mod layout;
mod registers;
#[cfg(test)]
mod tests;

pub(crate) use function::{VirtioPci, VirtioPciState};
pub(crate) use layout::BAR_SIZE;
