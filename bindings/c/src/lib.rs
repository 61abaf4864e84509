//! The C library `libxvirt`, whose header is `include/xvirt.h`.
//!
//! Most of it is generated from the Rust API (`data.rs`, `functions.rs`, `lists.rs`, `status.rs`). Generated code is
//! plain: it hands what it gets to the other modules here, which check pointers, copy structs and follow the rules that
//! the header's first comment states. Functions are declared with references where C passes pointers to handles, since
//! `Option<&T>` is a pointer that may be NULL.

mod agent;
mod arena;
mod backend;
mod boot;
mod call;
mod cancel;
mod console;
mod data;
mod error;
mod functions;
mod handle;
mod input;
mod json;
mod latencies;
mod library;
mod lists;
mod migrate;
mod network;
mod output;
mod repository;
mod status;
mod text;
mod union;
