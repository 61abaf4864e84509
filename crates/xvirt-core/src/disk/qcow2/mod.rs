//! qcow2 images with their chains, through the library `imago`, which appears nowhere outside this folder.
//!
//! The library sees only images whose headers passed our own check, and files that we opened and locked. Requests that
//! change where data lies (the first write to a cluster, discarding, zeroing) run alone; reads, and writes to clusters
//! that are there already, run side by side. So no two threads ever work on the tables of an image at once, and no
//! cluster is given back while somebody uses it.

mod disk;
mod storage;

pub(super) use disk::Qcow2Disk;
