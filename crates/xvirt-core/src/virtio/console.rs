//! The console (virtio 1.2, section 5.3), with one port.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::{Chain, DeviceKind, DeviceState, Handler, Queues, Served, VirtQueue, VirtioDevice};
use crate::Result;
use crate::console::ConsolePort;
use crate::sandbox::Work;

const QUEUE_SIZES: [u16; 2] = [64, 64];
const RECEIVE: usize = 0;
/// Bytes copied at a time.
const CHUNK: usize = 4096;
/// Output taken from one chain; drivers send a page at most, and a hostile one may lose the rest.
const MAX_OUTPUT: usize = 1 << 20;

/// A virtio console.
pub(crate) struct Console {
    port: Arc<dyn ConsolePort>,
}

impl Console {
    /// A console that writes to and reads from `port`.
    pub(crate) fn new(port: Arc<dyn ConsolePort>) -> Self {
        Self { port }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl VirtioDevice for Console {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Console
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn activate(&self, _: u64) -> Result<Box<dyn Handler>> {
        let (port, bytes) = (self.port.clone(), Box::new([0; CHUNK]));
        Ok(Box::new(ConsoleHandler { port, chain: Chain::default(), bytes, listening: false }))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console
    }

    fn work(&self) -> Option<Work> {
        Some(Work::Memory)
    }
}

struct ConsoleHandler {
    port: Arc<dyn ConsolePort>,
    chain: Chain,
    bytes: Box<[u8; CHUNK]>,
    /// The driver has room for input: more of it is worth knowing about.
    listening: bool,
}

impl ConsoleHandler {
    /// Moves input to the driver until one of them has no more.
    fn feed(&mut self, queue: &mut VirtQueue) -> Served {
        let mut turn = queue.size();
        queue.disable_notification()?;
        loop {
            if !queue.pop(&mut self.chain)? {
                self.listening = false;
                if queue.enable_notification()? {
                    continue;
                }
                break;
            }
            let room = usize::try_from(self.chain.writable.len()).unwrap_or(CHUNK).min(CHUNK);
            let count = if turn == 0 { 0 } else { self.port.read_input(&mut self.bytes[..room]) };
            if count == 0 && (room > 0 || turn == 0) {
                queue.unpop(1);
                self.listening = true;
                break;
            }
            turn = turn.saturating_sub(1);
            let written = self.chain.writable.put(queue.memory(), &self.bytes[..count])?;
            queue.push(self.chain.head(), written as u32)?;
        }
        if turn == 0 {
            // There may be more, after the other queue's turn. Only fails when the counter is full, which will do.
            let _ = self.port.input_event().write(1);
        }
        queue.signal()
    }

    fn output(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        queue.drain(&mut self.chain, |chain| {
            let mut left = usize::try_from(chain.readable.len()).unwrap_or(MAX_OUTPUT).min(MAX_OUTPUT);
            while left > 0 {
                let bytes = &mut self.bytes[..left.min(CHUNK)];
                chain.readable.take(&memory, bytes)?;
                self.port.output(bytes);
                left -= bytes.len();
            }
            Ok(0)
        })
    }
}

impl Handler for ConsoleHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        if index == RECEIVE { self.feed(queue) } else { self.output(queue) }
    }

    fn input(&self) -> Option<RawFd> {
        self.listening.then(|| self.port.input_event().as_raw_fd())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        // Empty when somebody was faster; the input is still there to be asked for.
        let _ = self.port.input_event().read();
        queues.get(RECEIVE).map_or(Ok(()), |queue| self.feed(queue))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;

    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::device::Device;
    use crate::virtio::testing::{DATA, EVENT_IDX, Piece, Rig, wait};

    const TRANSMIT: usize = 1;

    struct Port {
        output: Mutex<Vec<u8>>,
        input: Mutex<VecDeque<u8>>,
        event: EventFd,
    }

    impl Port {
        fn new() -> Arc<Self> {
            let event = EventFd::new(EFD_NONBLOCK).unwrap();
            Arc::new(Self { output: Mutex::default(), input: Mutex::default(), event })
        }

        fn type_in(&self, text: &[u8]) {
            self.input.lock().unwrap().extend(text);
            self.event.write(1).unwrap();
        }
    }

    impl ConsolePort for Port {
        fn output(&self, bytes: &[u8]) {
            self.output.lock().unwrap().extend(bytes);
        }

        fn read_input(&self, buf: &mut [u8]) -> usize {
            let mut input = self.input.lock().unwrap();
            let count = buf.len().min(input.len());
            buf[..count].iter_mut().zip(input.drain(..count)).for_each(|(to, from)| *to = from);
            count
        }

        fn input_event(&self) -> &EventFd {
            &self.event
        }
    }

    fn started() -> (Rig, Arc<Port>) {
        let port = Port::new();
        let mut rig = Rig::new(Arc::new(Console::new(port.clone())));
        rig.start(EVENT_IDX);
        (rig, port)
    }

    #[test]
    fn output_arrives_in_order() {
        let (mut rig, port) = started();
        let text: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
        rig.fill(DATA, &text);
        rig.request(TRANSMIT, &[Piece::Read(DATA, 1), Piece::Read(DATA + 1, 0), Piece::Read(DATA + 1, 9000)]);
        rig.request(TRANSMIT, &[Piece::Read(DATA + 9001, 999)]);
        assert!(*port.output.lock().unwrap() == text);
    }

    #[test]
    fn input_waits_for_buffers_and_buffers_for_input() {
        let (mut rig, port) = started();
        port.type_in(b"early");
        rig.post(RECEIVE, &[Piece::Write(DATA, 3)]);
        rig.kick(RECEIVE);
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 3)), (3, b"ear".to_vec()));
        rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
        rig.kick(RECEIVE);
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 2)), (2, b"ly".to_vec()));
        rig.post(RECEIVE, &[Piece::Write(DATA, 0)]);
        rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
        rig.kick(RECEIVE);
        std::thread::sleep(Duration::from_millis(5));
        port.type_in(b"late");
        assert_eq!((rig.used(RECEIVE).1, rig.used(RECEIVE).1, rig.bytes(DATA, 4)), (0, 4, b"late".to_vec()));
        wait("an interrupt", || rig.host.taken(RECEIVE) > 0);
    }

    #[test]
    fn a_console_moves_with_the_input_that_nobody_read() {
        let (mut rig, port) = started();
        rig.post(RECEIVE, &[Piece::Write(DATA, 16)]);
        rig.kick(RECEIVE);
        rig.pci.pause();
        port.type_in(b"x");
        assert_eq!(rig.used_index(RECEIVE), 0);
        let other = port.clone();
        let mut rig = rig.moved(|_| Arc::new(Console::new(other)));
        rig.pci.resume();
        assert_eq!((rig.used(RECEIVE).1, rig.bytes(DATA, 1)), (1, b"x".to_vec()));
    }

    #[test]
    fn endless_output_is_cut_and_outside_memory_needs_a_reset() {
        let (mut rig, port) = started();
        let pieces = [Piece::Read(DATA, 0x30_0000 - 1), Piece::Read(DATA, 0x30_0000 - 1)];
        rig.request(TRANSMIT, &pieces);
        assert_eq!(port.output.lock().unwrap().len(), MAX_OUTPUT);
        rig.post(TRANSMIT, &[Piece::Read(u64::MAX - 1, 8)]);
        rig.kick(TRANSMIT);
        rig.wait_needs_reset();
    }
}
