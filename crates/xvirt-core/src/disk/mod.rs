//! Disk images and the locks on them, behind one trait.

mod backend;

pub use backend::BlockBackend;
