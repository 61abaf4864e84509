//! Disk images in real files, compared with `qemu-img`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod mount;
mod support;

mod chains;
mod child;
mod contradictions;
mod crash;
mod descriptors;
mod errors;
mod holes;
mod hostile;
mod images;
mod locks;
mod opening;
mod overlays;
mod space;
mod streaming;
mod threads;
