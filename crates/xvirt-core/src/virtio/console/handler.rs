//! Serves the queues of the console.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::control::{self, Message};
use super::device::Shared;
use crate::sync::lock;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served, VirtQueue};

/// The queues by number (section 5.3.2). "Receive" is from the driver's point of view.
pub(super) const RECEIVE: usize = 0;
pub(super) const TRANSMIT: usize = 1;
pub(super) const CONTROL_RECEIVE: usize = 2;
pub(super) const CONTROL_TRANSMIT: usize = 3;
pub(super) const AGENT_RECEIVE: usize = 4;
pub(super) const AGENT_TRANSMIT: usize = 5;

/// The number of bytes copied at a time.
const CHUNK: usize = 4096;
/// The maximum number of bytes taken from one chain at a time. Drivers send a few pages at most; a hostile one may lose
/// the rest of its output.
pub(super) const MAX_OUTPUT: usize = 1 << 20;

pub(super) struct ConsoleHandler {
    shared: Arc<Shared>,
    chain: Chain,
    bytes: Box<[u8; CHUNK]>,
    /// Whether the driver supports multiple ports, and so the agent's.
    multiport: bool,
    /// Whether the driver has buffers for console input left, so that new input can be delivered.
    listening: bool,
}

impl ConsoleHandler {
    pub(super) fn new(shared: Arc<Shared>, multiport: bool) -> Self {
        Self { shared, chain: Chain::default(), bytes: Box::new([0; CHUNK]), multiport, listening: false }
    }

    fn console_input(&mut self, queues: &mut Queues) -> Served {
        let Self { shared, chain, bytes, .. } = self;
        let Some(queue) = queues.get(RECEIVE) else { return Ok(()) };
        self.listening = feed(queue, chain, &mut bytes[..], shared.event(), |buf| shared.console.read_input(buf))?;
        Ok(())
    }

    fn console_output(&mut self, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(TRANSMIT) else { return Ok(()) };
        let memory = queue.memory().clone();
        queue.drain(&mut self.chain, |chain| {
            let mut left = usize::try_from(chain.readable.len()).unwrap_or(MAX_OUTPUT).min(MAX_OUTPUT);
            while left > 0 {
                let bytes = &mut self.bytes[..left.min(CHUNK)];
                chain.readable.take(&memory, bytes)?;
                self.shared.console.output(bytes);
                left -= bytes.len();
            }
            Ok(0)
        })
    }

    fn agent_input(&mut self, queues: &mut Queues) -> Served {
        let Self { shared, chain, bytes, .. } = self;
        let Some(queue) = queues.get(AGENT_RECEIVE) else { return Ok(()) };
        feed(queue, chain, &mut bytes[..], shared.event(), |buf| shared.agent.read_input(buf)).map(drop)
    }

    /// Copies the guest's data on its port to the host, as far as there is room. The rest stays in the queue.
    fn agent_output(&mut self, queue: &mut VirtQueue) -> Served {
        let Self { shared, chain, bytes, .. } = self;
        let memory = queue.memory().clone();
        queue.drain_while(chain, |chain| {
            let mut state = lock(&shared.state);
            if !state.agent_open {
                state.taken = 0;
                return Ok(Some(0));
            }
            chain.readable.skip(state.taken);
            for _ in 0..MAX_OUTPUT / CHUNK {
                let left = usize::try_from(chain.readable.len()).unwrap_or(CHUNK).min(CHUNK);
                if left == 0 {
                    state.taken = 0;
                    return Ok(Some(0));
                }
                let bytes = &mut bytes[..left];
                chain.readable.take(&memory, bytes)?;
                let count = shared.agent.output(bytes);
                state.taken = state.taken.saturating_add(count as u64);
                if count < left {
                    return Ok(None);
                }
            }
            // Continues after the other queues have had their turn.
            shared.raise();
            Ok(None)
        })
    }

    /// Handles the driver's control messages.
    fn hear(&mut self, queues: &mut Queues) -> Served {
        let Some((queue, mut output)) = queues.get_two(CONTROL_TRANSMIT, AGENT_TRANSMIT) else { return Ok(()) };
        let memory = queue.memory().clone();
        queue.drain_while(&mut Chain::default(), |chain| {
            if chain.readable.len() < control::LENGTH as u64 {
                return Ok(Some(0));
            }
            let mut bytes = [0; control::LENGTH];
            chain.readable.take(&memory, &mut bytes)?;
            let Some(message) = Message::read(&bytes) else { return Ok(Some(0)) };
            lock(&self.shared.state).owed |= message.answers();
            let heard = match message {
                Message::Open(control::AGENT, open) => self.set_open(open, output.as_deref_mut())?,
                _ => true,
            };
            Ok(heard.then_some(0))
        })
    }

    /// Handles that a program in the guest opened or closed the port. Data that was queued before belongs to the old
    /// connection: it is moved first, and what does not fit is dropped when the port closes. `false` if the worker must
    /// do something else first.
    fn set_open(&mut self, open: bool, mut output: Option<&mut VirtQueue>) -> Served<bool> {
        if let Some(queue) = output.as_deref_mut() {
            self.agent_output(queue)?;
            if queue.stops_serving() {
                return Ok(false);
            }
        }
        lock(&self.shared.state).agent_open = open;
        self.shared.agent.set_open(open);
        if let Some(queue) = output.filter(|_| !open) {
            self.agent_output(queue)?;
        }
        Ok(true)
    }

    /// Sends the pending control messages to the driver, as far as it has provided buffers.
    fn answer(&mut self, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(CONTROL_RECEIVE) else { return Ok(()) };
        let mut state = lock(&self.shared.state);
        queue.disable_notification()?;
        while let Some((bit, bytes)) = control::first(state.owed, self.shared.agent.name()) {
            if !queue.pop(&mut self.chain)? {
                if queue.enable_notification()? {
                    continue;
                }
                break;
            }
            if self.chain.writable.len() < bytes.len() as u64 {
                return Err(Malformed("a buffer for control messages is too short"));
            }
            let written = self.chain.writable.put(queue.memory(), &bytes)?;
            queue.push(self.chain.head(), written as u32)?;
            state.owed &= !bit;
        }
        queue.signal()
    }
}

impl Shared {
    /// The event for input, and for room for output to the agent's port.
    fn event(&self) -> &EventFd {
        self.console.input_event()
    }

    /// Makes the handler check again, after the other queues have had their turn.
    fn raise(&self) {
        // Fails only when the counter is full, and then the event is raised already.
        let _ = self.event().write(1);
    }
}

/// Copies input to the driver until there is no more input or no more room; `true` if the driver has room left.
fn feed(
    queue: &mut VirtQueue,
    chain: &mut Chain,
    bytes: &mut [u8],
    event: &EventFd,
    mut read_input: impl FnMut(&mut [u8]) -> usize,
) -> Served<bool> {
    let mut turn = queue.size();
    let mut room_left = false;
    queue.disable_notification()?;
    loop {
        if !queue.pop(chain)? {
            if queue.enable_notification()? {
                continue;
            }
            break;
        }
        let room = usize::try_from(chain.writable.len()).unwrap_or(CHUNK).min(CHUNK);
        let count = if turn == 0 { 0 } else { read_input(&mut bytes[..room]) };
        if count == 0 && (room > 0 || turn == 0) {
            queue.unpop(1);
            room_left = true;
            break;
        }
        turn = turn.saturating_sub(1);
        let written = chain.writable.put(queue.memory(), &bytes[..count])?;
        queue.push(chain.head(), written as u32)?;
    }
    if turn == 0 {
        // There may be more; continue after the other queues. Fails only when the counter is full, which is fine.
        let _ = event.write(1);
    }
    queue.signal()?;
    Ok(room_left)
}

impl Handler for ConsoleHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        match index {
            RECEIVE => self.console_input(queues),
            TRANSMIT => self.console_output(queues),
            // Without multiport, the driver has no other queues.
            _ if !self.multiport => Ok(()),
            CONTROL_RECEIVE => self.answer(queues),
            CONTROL_TRANSMIT => {
                self.hear(queues)?;
                self.answer(queues)
            }
            AGENT_RECEIVE => self.agent_input(queues),
            _ => queues.get(AGENT_TRANSMIT).map_or(Ok(()), |queue| self.agent_output(queue)),
        }
    }

    fn input(&self) -> Option<RawFd> {
        (self.listening || self.multiport).then(|| self.shared.event().as_raw_fd())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        // The counter is zero if it was read before; the input is still there.
        let _ = self.shared.event().read();
        self.console_input(queues)?;
        if self.multiport {
            self.agent_input(queues)?;
            if let Some(queue) = queues.get(AGENT_TRANSMIT) {
                self.agent_output(queue)?;
            }
        }
        Ok(())
    }
}
