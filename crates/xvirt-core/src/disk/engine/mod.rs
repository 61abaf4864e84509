//! The I/O engines, which keep many requests of a disk in flight.
//!
//! The life of a request:
//!
//! 1. The owner, a device's handler on its worker thread, fills in a [`Request`] and [adds](Engine::add) it. The
//!    request's buffers are guest memory, which it keeps mapped.
//! 2. The engine asks the backend for the [`Place`](super::Place) of the bytes. A raw disk always has one, a qcow2
//!    image only for allocated clusters. A request with a place is prepared for io_uring (`ring`), merged with adjacent
//!    ones. The threads (`pool`) call the backend for all other requests: those without a place, those other than reads
//!    and writes, and all requests if there is no io_uring. They also execute single buffered writes if the file system
//!    blocks writers, because the kernel would use a thread of its own for these, which takes longer.
//! 3. [`submit`](Engine::submit) starts all added requests: with one system call for the ring, and one lock for the
//!    threads.
//! 4. Requests complete in any order, as virtio allows. The engine's [descriptor](Engine::descriptor) becomes readable
//!    when there is a request to [`reap`](Engine::reap).
//! 5. If the ring does not complete a request, because the file ends, the disk is full or the kernel refuses it, a
//!    thread executes it again with the backend, which handles the case.
//!
//! A place pins its bytes: while it exists, operations wait that would move the bytes or need them unchanged. The owner
//! must therefore not wait for a backend while its own requests are in the ring. No method here does.
//!
//! Requests are unordered, with two exceptions: a durable request is flushed after its write and before it completes,
//! and a flush covers all writes that completed before it was added.
//!
//! The owner bounds the number of requests. An engine has at most [`pool::MAX_THREADS`] threads, which end when idle.

#![expect(clippy::vec_box, reason = "a boxed request moves between lists as one word")]

mod choice;
mod dispatch;
mod pool;
mod request;
mod ring;
#[cfg(test)]
mod tests;

pub use choice::IoEngine;
pub(crate) use dispatch::Engine;
pub use request::IoOperation;
pub(crate) use request::{Failure, Request};
