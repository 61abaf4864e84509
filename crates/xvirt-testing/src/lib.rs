//! Test helpers shared by several crates.
//!
//! [`samples`] are archives of XenServer and Xen Orchestra, [`archives`] writes and reads archives in memory,
//! [`handmade`] creates parts of archives that no program writes, and [`damage`] damages archives at [`random`].
//! [`certificates`] are for TLS, [`process`] measures the resources of a test, [`files`] provides files and test data, [`stand_in`] programs,
//! and [`worker`] the process of a VM.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod archives;
pub mod certificates;
pub mod damage;
pub mod files;
pub mod handmade;
pub mod process;
pub mod random;
pub mod samples;
pub mod stand_in;
pub mod worker;
