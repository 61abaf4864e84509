//! Archives of others, ours in the hands of others, and damaged ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod accepted;
mod any_order;
mod bounds;
mod damaged;
mod foreign;
mod misfits;
mod missing;
mod peers;
mod samples;
mod write;
mod xenserver;

/// Verifies an archive as it is done by default.
fn verify(archive: &[u8]) -> xvirt_xva::Result<xvirt_xva::Report> {
    xvirt_xva::verify(archive, &xvirt_xva::ReadOptions::default(), &())
}
