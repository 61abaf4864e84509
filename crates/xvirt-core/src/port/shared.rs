//! The state shared by the device and the host's handles of one port.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use vmm_sys_util::eventfd::EventFd;

use super::backend::PortBackend;
use crate::process::Process;
use crate::sync::lock;
use crate::wait::{Ended, Wait};
use crate::{Error, ErrorKind, Result};

/// How many bytes may wait in either direction.
pub(super) const LIMIT: usize = 64 << 10;

pub(super) struct Shared {
    pub(super) name: String,
    process: Process,
    state: Mutex<State>,
    changed: Condvar,
    /// Tells the device that there is input, or again room for output.
    event: Arc<EventFd>,
}

pub(super) struct State {
    /// Counts how often the port was opened: each connection belongs to one opening.
    pub(super) opening: u64,
    /// Whether a program in the guest has the port open. The device may report that while the VM is still off, before a
    /// guest resumes.
    pub(super) open: bool,
    /// Whether the VM is halted.
    pub(super) off: bool,
    /// Whether the VM is gone.
    pub(super) ended: bool,
    /// What closed the last connection.
    closed_by: ClosedBy,
    from_guest: VecDeque<u8>,
    pub(super) to_guest: VecDeque<u8>,
    /// Whether the device keeps output for which there was no room.
    output_waits: bool,
    // Notifying a condition variable is a system call even if no thread waits.
    pub(super) waiting: usize,
}

/// What closes a port.
#[derive(Clone, Copy, Debug)]
enum ClosedBy {
    /// The program in the guest, or the driver.
    Guest,
    /// A halt or a reset of the VM.
    Machine,
}

impl Shared {
    pub(super) fn new(name: &str, event: Arc<EventFd>) -> Self {
        let state = State {
            opening: 0,
            open: false,
            off: true,
            ended: false,
            closed_by: ClosedBy::Guest,
            from_guest: VecDeque::new(),
            to_guest: VecDeque::new(),
            output_waits: false,
            waiting: 0,
        };
        let (process, state) = (Process::current(), Mutex::new(state));
        Self { name: name.to_owned(), process, state, changed: Condvar::new(), event }
    }

    /// # Errors
    /// This process is a child of the one that made it, where the lock may never be released.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, State>> {
        self.process.require("a port")?;
        Ok(lock(&self.state))
    }

    /// Waits for a change.
    pub(super) fn wait<'a>(
        &'a self,
        wait: Wait,
        mut state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, std::result::Result<(), Ended>) {
        state.waiting += 1;
        let (mut state, waited) = wait.changed(&self.changed, &self.state, state);
        state.waiting -= 1;
        (state, waited)
    }

    /// Changes the state, and wakes waiting threads.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let Ok(mut state) = self.lock() else { return };
        change(&mut state);
        self.tell(&state);
    }

    /// Takes bytes from the guest for connection number `opening`.
    pub(super) fn take_output(&self, state: &mut State, opening: u64, buf: &mut [u8]) -> usize {
        let count = if state.opening == opening { take(&mut state.from_guest, buf) } else { 0 };
        if count > 0 && std::mem::take(&mut state.output_waits) {
            self.wake_device();
        }
        count
    }

    /// Queues as many of `bytes` for the guest as there is room for.
    pub(super) fn queue_input(&self, state: &mut State, bytes: &[u8]) -> usize {
        let count = put(&mut state.to_guest, bytes);
        if count > 0 {
            self.wake_device();
        }
        count
    }

    fn wake_device(&self) {
        // Fails only when the counter is full, and then the event is raised already.
        let _ = self.event.write(1);
    }

    fn tell(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl State {
    /// Ends the connection because the VM is halted or reset: no data of this boot may reach the next.
    pub(super) fn end_boot(&mut self) {
        if self.open {
            self.open = false;
            self.closed_by = ClosedBy::Machine;
        }
        self.from_guest.clear();
        self.to_guest.clear();
        self.output_waits = false;
    }

    /// Closes the port permanently.
    pub(super) fn end(&mut self) {
        self.end_boot();
        self.ended = true;
        (self.from_guest, self.to_guest) = Default::default();
    }

    /// Checks that connection number `opening` is still open.
    ///
    /// # Errors
    /// What closed it.
    pub(super) fn require(&self, name: &str, opening: u64) -> Result<()> {
        self.require_guest(name)?;
        if self.open && self.opening == opening {
            return Ok(());
        }
        Err(match self.closed_by {
            ClosedBy::Machine => Error::new(
                ErrorKind::InvalidState,
                format!("the VM was halted or reset while port '{name}' was in use"),
            )
            .with_remedy("try again once its guest has booted"),
            ClosedBy::Guest => {
                Error::new(ErrorKind::NotFound, format!("the program in the guest has closed port '{name}'"))
                    .with_remedy("check in the guest why it ended")
            }
        })
    }

    /// Checks that there is a guest that could open the port.
    pub(super) fn require_guest(&self, name: &str) -> Result<()> {
        if self.ended {
            return Err(Error::new(ErrorKind::Gone, format!("port '{name}' is closed: its VM is gone")));
        }
        if self.off {
            let what = format!("no program has port '{name}' open: its VM is halted");
            return Err(Error::new(ErrorKind::InvalidState, what).with_remedy("start the VM first"));
        }
        Ok(())
    }
}

impl PortBackend for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_open(&self, open: bool) {
        self.change(|state| {
            if state.open == open || state.ended {
                return;
            }
            state.open = open;
            state.closed_by = ClosedBy::Guest;
            state.to_guest.clear();
            state.output_waits = false;
            if open {
                // Data from before the last close could be read until now.
                state.from_guest.clear();
                state.opening += 1;
            }
        });
    }

    fn output(&self, bytes: &[u8]) -> usize {
        let Ok(mut state) = self.lock() else { return 0 };
        if !state.open {
            // No program has the port open, so the data belongs to no connection.
            return bytes.len();
        }
        let count = put(&mut state.from_guest, bytes);
        state.output_waits = count < bytes.len();
        self.tell(&state);
        count
    }

    fn read_input(&self, buf: &mut [u8]) -> usize {
        let Ok(mut state) = self.lock() else { return 0 };
        let count = take(&mut state.to_guest, buf);
        self.tell(&state);
        count
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Appends as many of `bytes` as there is room for.
fn put(queue: &mut VecDeque<u8>, bytes: &[u8]) -> usize {
    let count = bytes.len().min(LIMIT.saturating_sub(queue.len()));
    queue.extend(&bytes[..count]);
    count
}

fn take(queue: &mut VecDeque<u8>, buf: &mut [u8]) -> usize {
    let count = buf.len().min(queue.len());
    buf.iter_mut().zip(queue.drain(..count)).for_each(|(to, from)| *to = from);
    count
}
