//! The consoles of a VM and the port of its guest agent, which outlive its runs.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::console::{Console, ConsoleContents};
use crate::port::{GUEST_AGENT, PortStream};
use crate::state::{Kind, Section};

#[derive(Clone, Debug)]
pub(super) struct Consoles {
    pub(super) serial: Console,
    pub(super) virtio: Console,
    /// The port of the guest agent. One device carries it and the virtio console.
    pub(super) agent: PortStream,
}

/// The contents of the consoles in saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedConsoles {
    serial: ConsoleContents,
    virtio: ConsoleContents,
}

impl Section for SavedConsoles {
    const KIND: Kind = Kind::Consoles;
    const VERSION: u32 = 1;
}

impl SavedConsoles {
    /// What a copy of the VM goes on with.
    pub(super) fn for_copy(self) -> Self {
        Self { serial: self.serial.for_copy(), virtio: self.virtio.for_copy() }
    }
}

impl Consoles {
    /// The consoles of a halted VM.
    pub(super) fn powered_off() -> Result<Self> {
        let (serial, virtio) = (Console::powered_off()?, Console::powered_off()?);
        let agent = PortStream::new(GUEST_AGENT, virtio.device_event());
        Ok(Self { serial, virtio, agent })
    }

    /// Attaches a new guest, which receives no input that was sent before.
    pub(super) fn power_on(&self) {
        self.all().for_each(Console::power_on);
        self.agent.power_on();
    }

    /// Detaches the guest after a suspend. Its consoles keep their contents.
    pub(super) fn suspend(&self) {
        self.agent.suspend();
    }

    /// What another process needs to go on with the consoles.
    pub(super) fn save(&self) -> SavedConsoles {
        SavedConsoles { serial: self.serial.contents(), virtio: self.virtio.contents() }
    }

    /// Goes on with the consoles of a suspended VM, which may be another process's. They are new.
    pub(super) fn go_on_from(&self, saved: SavedConsoles) {
        self.serial.go_on_from(saved.serial);
        self.virtio.go_on_from(saved.virtio);
        self.agent.go_on();
    }

    /// Attaches the guest after a reset, which receives no input that was sent before.
    pub(super) fn reset(&self) {
        self.all().for_each(Console::reset);
        self.agent.reset();
    }

    /// Detaches the guest.
    pub(super) fn power_off(&self) {
        self.all().for_each(Console::power_off);
        self.agent.power_off();
    }

    /// Ends all streams, because the VM is dropped.
    pub(super) fn close(&self) {
        self.all().for_each(Console::close);
        self.agent.close();
    }

    fn all(&self) -> impl Iterator<Item = &Console> {
        [&self.serial, &self.virtio].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::ConsolePort;

    #[test]
    fn a_copy_goes_on_without_the_input_of_its_original() {
        let consoles = Consoles::powered_off().unwrap();
        consoles.power_on();
        for console in consoles.all() {
            console.output(b"login: ");
            console.write_all(b"root\n").unwrap();
        }
        let saved = consoles.save();
        let copy = Consoles::powered_off().unwrap();
        copy.go_on_from(saved.clone().for_copy());
        for console in copy.all() {
            let mut bytes = [0; 16];
            assert_eq!(console.read_input(&mut bytes), 0);
        }
        assert_eq!(copy.serial.reader().try_read(&mut [0; 16]), Some(7));
        // The original itself still gets it.
        let again = Consoles::powered_off().unwrap();
        again.go_on_from(saved);
        assert_eq!(again.serial.read_input(&mut [0; 16]), 5);
    }
}
