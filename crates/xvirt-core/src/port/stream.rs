//! The host's side of a port.

use std::sync::Arc;
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use super::backend::PortBackend;
use super::shared::Shared;
use crate::{Error, ErrorKind, Result};

/// A named port of a VM, which outlives its runs and reboots and ends with the VM.
///
/// Cloning is cheap and gives the same port; all methods may be called from any thread. In a child of fork(2) it is closed.
#[derive(Clone, Debug)]
pub(crate) struct PortStream {
    shared: Arc<Shared>,
}

/// The connection to the program in the guest that has a port open now. It ends when the program closes the port, and when
/// the VM is halted or reset. Each byte goes to one reader; who shares a connection agrees on turns.
#[derive(Debug)]
pub(crate) struct PortConnection {
    shared: Arc<Shared>,
    opening: u64,
}

impl PortStream {
    /// A port of a halted VM, which raises `event` for its device: the one that the device waits for with its console.
    pub(crate) fn new(name: &str, event: Arc<EventFd>) -> Self {
        Self { shared: Arc::new(Shared::new(name, event)) }
    }

    /// Whether a program in the guest has the port open.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.lock().is_ok_and(|state| state.open && !state.off)
    }

    /// Waits until a program in the guest has the port open, through a reboot too.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) at `deadline`. [`InvalidState`](ErrorKind::InvalidState) when the VM is halted, or is
    /// halted while this waits, and in a child of fork(2). [`Gone`](ErrorKind::Gone) when the VM is gone.
    pub(crate) fn wait_open(&self, deadline: Option<Instant>) -> Result<PortConnection> {
        let shared = &self.shared;
        let mut state = shared.lock()?;
        loop {
            state.require_guest(&shared.name)?;
            if state.open {
                return Ok(PortConnection { shared: Arc::clone(shared), opening: state.opening });
            }
            let (next, in_time) = shared.wait(state, deadline);
            state = next;
            if !in_time {
                let what = format!("no program in the guest has opened port '{}'", shared.name);
                return Err(Error::new(ErrorKind::Timeout, what)
                    .with_remedy("start the program in the guest that serves the port, or give it more time"));
            }
        }
    }

    /// How many threads wait for something of the port.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().unwrap().waiting
    }

    /// What the device uses.
    pub(crate) fn backend(&self) -> Arc<dyn PortBackend> {
        Arc::clone(&self.shared) as _
    }

    /// The VM has a guest from now on.
    pub(crate) fn power_on(&self) {
        self.shared.change(|state| {
            state.end_boot();
            state.off = false;
        });
    }

    /// The VM goes on with the guest it had.
    pub(crate) fn go_on(&self) {
        self.shared.change(|state| state.off = false);
    }

    /// The VM has another guest from now on.
    pub(crate) fn reset(&self) {
        self.shared.change(|state| state.end_boot());
    }

    /// The VM has no guest any more.
    pub(crate) fn power_off(&self) {
        self.shared.change(|state| {
            state.end_boot();
            state.off = true;
        });
    }

    /// Ends the port for good, as the end of its VM does.
    pub(crate) fn close(&self) {
        self.shared.change(|state| state.end());
    }
}

impl PortConnection {
    /// Reads what the program has sent, at least one byte, and waits for that until `deadline`. What it sent before it closed
    /// the port can be read until a program opens the port again.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) at `deadline`. [`NotFound`](ErrorKind::NotFound) when the program has closed the port.
    /// [`InvalidState`](ErrorKind::InvalidState) when the VM was halted or reset since, and in a child of fork(2).
    /// [`Gone`](ErrorKind::Gone) when the VM is gone.
    pub(crate) fn receive(&self, buf: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        let shared = &*self.shared;
        let mut state = shared.lock()?;
        loop {
            let count = shared.take_output(&mut state, self.opening, buf);
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            state.require(&shared.name, self.opening)?;
            let (next, in_time) = shared.wait(state, deadline);
            state = next;
            if !in_time {
                let what = format!("the guest has sent nothing through port '{}' in time", shared.name);
                return Err(Error::new(ErrorKind::Timeout, what).with_remedy("check that the VM runs, or wait longer"));
            }
        }
    }

    /// Sends `bytes`. Up to 64 KiB wait for the guest; for more than that this waits until the guest has read.
    ///
    /// # Errors
    /// As [`receive`](Self::receive). A part of `bytes` may have been sent; a timeout says how much.
    pub(crate) fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<()> {
        let shared = &*self.shared;
        let mut state = shared.lock()?;
        let mut sent = 0;
        loop {
            state.require(&shared.name, self.opening)?;
            sent += shared.queue_input(&mut state, &bytes[sent..]);
            if sent == bytes.len() {
                return Ok(());
            }
            let (next, in_time) = shared.wait(state, deadline);
            state = next;
            if !in_time {
                let (name, total) = (&shared.name, bytes.len());
                let what =
                    format!("the guest does not read port '{name}': {sent} of {total} bytes were accepted in time");
                return Err(Error::new(ErrorKind::Timeout, what).with_remedy("check that the VM runs, or wait longer"));
            }
        }
    }
}
