//! Many requests of one disk at once: the engines that do the input and output of guests.
//!
//! How a request travels:
//!
//! 1. The owner, which is the handler of a device on its worker thread, describes it in a [`Request`] and
//!    [adds](Engine::add) it. Its buffers are guest memory, which the request keeps mapped.
//! 2. The engine asks the backend for the [`Place`](super::Place) of the bytes: a raw disk always knows it, a qcow2 image for clusters
//!    that are there. With a place the request is prepared for io_uring (`ring`), together with its neighbours where
//!    they continue each other. What has no place, and all that is not reading or writing, is left to threads that call
//!    the backend (`pool`), and so is everything where there is no io_uring. So is a write by itself to the page cache of
//!    a file system that makes writers wait: the kernel would give it to a thread of its own, and take longer.
//! 3. [`submit`](Engine::submit) starts all that was added: with one system call for the ring, with one lock for the
//!    threads.
//! 4. Requests end in any order, as virtio allows. The [descriptor](Engine::descriptor) of the engine becomes readable
//!    when there is something to [`reap`](Engine::reap).
//! 5. What the ring did not do in full, be it because the file ends there, the disk is full or the kernel would not, a
//!    thread does again with the backend, which knows what to make of it.
//!
//! A place holds its ground: as long as there is one, nothing that would move the bytes, or wants to see them stand
//! still, goes on. So the owner must never wait for a backend while requests of its own are in the ring; no
//! method here does.
//!
//! Nothing is ordered but this: a request that is to be durable is flushed after it was written and before it ends, and a
//! flush that is added after the end of a write covers it.
//!
//! What an engine takes is bounded by what its owner adds. It has at most [`pool::MAX_THREADS`] threads, which are there
//! only while they are needed.

#![expect(clippy::vec_box, reason = "requests go from list to list, where each is a word")]

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
