//! The virtio console as its driver sees it, apart from its queues.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::control;
use super::handler::ConsoleHandler;
use crate::Result;
use crate::console::ConsolePort;
use crate::port::PortBackend;
use crate::sandbox::Work;
use crate::sync::lock;
use crate::virtio::device::read_config_bytes;
use crate::virtio::{ConsoleState, DeviceKind, DeviceState, Handler, VirtioDevice};

/// Two for the console, two for control messages, two for the port: see [`handler`](super::handler). A driver fills the
/// queues that the device writes to with pages, so their sizes cost guest memory.
const QUEUE_SIZES: [u16; 6] = [64, 64, 16, 16, 16, 32];

/// VIRTIO_CONSOLE_F_MULTIPORT (section 5.3.3).
pub(super) const MULTIPORT: u64 = 1 << 1;

/// A virtio console with a port for the guest agent.
pub(crate) struct Console {
    shared: Arc<Shared>,
}

/// The state shared by the device and its handler.
pub(super) struct Shared {
    pub(super) console: Arc<dyn ConsolePort>,
    pub(super) agent: Arc<dyn PortBackend>,
    pub(super) state: Mutex<ConsoleState>,
}

impl Console {
    /// A console that writes to and reads from `console`, with a port backed by `agent`. Both raise the event of
    /// `console`. It continues from `state`.
    pub(crate) fn new(console: Arc<dyn ConsolePort>, agent: Arc<dyn PortBackend>, state: ConsoleState) -> Self {
        agent.set_open(state.agent_open);
        Self { shared: Arc::new(Shared { console, agent, state: Mutex::new(state) }) }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("state", &self.shared.state).finish_non_exhaustive()
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
        MULTIPORT
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        // Columns and rows, which are not offered, and the number of ports.
        let mut config = [0; 8];
        config[4..].copy_from_slice(&control::PORTS.to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&self, features: u64) -> Result<Box<dyn Handler>> {
        Ok(Box::new(ConsoleHandler::new(Arc::clone(&self.shared), features & MULTIPORT != 0)))
    }

    fn reset(&self) {
        *lock(&self.shared.state) = ConsoleState::default();
        self.shared.agent.set_open(false);
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console(lock(&self.shared.state).clone())
    }

    fn work(&self) -> Option<Work> {
        Some(Work::Memory)
    }
}
