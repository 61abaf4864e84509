//! The host's side of a port.

use std::sync::Arc;
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use super::backend::PortBackend;
use super::shared::Shared;
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

/// A named port of a VM, which is kept across runs and reboots and ends with the VM.
///
/// A clone is cheap and refers to the same port; all methods may be called from any thread. In a child of fork(2) it is
/// closed.
#[derive(Clone, Debug)]
pub(crate) struct PortStream {
    shared: Arc<Shared>,
}

/// The connection to the program in the guest that has a port open. It ends when the program closes the port, and when
/// the VM is halted or reset. Each byte goes to one reader; callers that share a connection must take turns.
#[derive(Debug)]
pub(crate) struct PortConnection {
    shared: Arc<Shared>,
    opening: u64,
}

impl PortStream {
    /// The port of a halted VM, which notifies its device by `event`: the one on which the device also waits for its
    /// console.
    pub(crate) fn new(name: &str, event: Arc<EventFd>) -> Self {
        Self { shared: Arc::new(Shared::new(name, event)) }
    }

    /// Whether a program in the guest has the port open.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.lock().is_ok_and(|state| state.open && !state.off)
    }

    /// Waits until a program in the guest has the port open, even if the VM is reset meanwhile.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) at `deadline`. [`InvalidState`](ErrorKind::InvalidState) if the VM is halted, or
    /// is halted while this waits, and in a child of fork(2). [`Gone`](ErrorKind::Gone) if the VM is gone.
    pub(crate) fn wait_open(&self, deadline: Option<Instant>) -> Result<PortConnection> {
        let shared = &self.shared;
        let mut state = shared.lock()?;
        loop {
            state.require_guest(&shared.name)?;
            if state.open {
                return Ok(PortConnection { shared: Arc::clone(shared), opening: state.opening });
            }
            let (next, waited) = shared.wait(Wait::until(deadline), state);
            state = next;
            waited.map_err(|ended| {
                ended.error(format_args!("a program in the guest to open port '{}'", shared.name), || {
                    let what = format!("no program in the guest has opened port '{}'", shared.name);
                    Error::new(ErrorKind::Timeout, what)
                        .with_remedy("start the program in the guest that serves the port, or give it more time")
                })
            })?;
        }
    }

    /// The number of threads that wait for a change of the port.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().unwrap().waiting
    }

    /// The port's interface for the device.
    pub(crate) fn backend(&self) -> Arc<dyn PortBackend> {
        Arc::clone(&self.shared) as _
    }

    /// Attaches a new guest.
    pub(crate) fn power_on(&self) {
        self.shared.change(|state| {
            state.end_boot();
            state.off = false;
        });
    }

    /// Attaches the guest of a suspended VM.
    pub(crate) fn go_on(&self) {
        self.shared.change(|state| state.off = false);
    }

    /// Detaches the guest of a VM that was suspended. It must not get, much later, what it has not received.
    pub(crate) fn suspend(&self) {
        self.shared.change(|state| state.to_guest.clear());
    }

    /// Attaches the guest after a reset.
    pub(crate) fn reset(&self) {
        self.shared.change(|state| state.end_boot());
    }

    /// Detaches the guest.
    pub(crate) fn power_off(&self) {
        self.shared.change(|state| {
            state.end_boot();
            state.off = true;
        });
    }

    /// Closes the port permanently, as dropping its VM does.
    pub(crate) fn close(&self) {
        self.shared.change(|state| state.end());
    }
}

impl PortConnection {
    /// Reads data that the program has sent, at least one byte, waiting for it until `deadline`. Data that it sent
    /// before it closed the port can be read until a program opens the port again.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) at `deadline`. [`NotFound`](ErrorKind::NotFound) if the program has closed the
    /// port. [`InvalidState`](ErrorKind::InvalidState) if the VM was halted or reset since, and in a child of fork(2).
    /// [`Gone`](ErrorKind::Gone) if the VM is gone.
    pub(crate) fn receive(&self, buf: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        let shared = &*self.shared;
        let mut state = shared.lock()?;
        loop {
            let count = shared.take_output(&mut state, self.opening, buf);
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            state.require(&shared.name, self.opening)?;
            let (next, waited) = shared.wait(Wait::until(deadline), state);
            state = next;
            waited.map_err(|ended| {
                ended.error(format_args!("data of the guest through port '{}'", shared.name), || {
                    let what = format!("the guest has sent nothing through port '{}' in time", shared.name);
                    Error::new(ErrorKind::Timeout, what).with_remedy("check that the VM runs, or wait longer")
                })
            })?;
        }
    }

    /// Sends `bytes`. Up to 64 KiB wait for the guest; beyond that, this waits until the guest reads.
    ///
    /// # Errors
    /// As [`receive`](Self::receive). Part of `bytes` may have been sent; a timeout says how much.
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
            let (next, waited) = shared.wait(Wait::until(deadline), state);
            state = next;
            let (name, total) = (&shared.name, bytes.len());
            waited.map_err(|ended| {
                ended.error(format_args!("the guest to read {total} bytes from port '{name}'"), || {
                    let what =
                        format!("the guest does not read port '{name}': {sent} of {total} bytes were accepted in time");
                    Error::new(ErrorKind::Timeout, what).with_remedy("check that the VM runs, or wait longer")
                })
            })?;
        }
    }
}
