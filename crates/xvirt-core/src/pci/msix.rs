//! MSI-X (PCI 3.0, section 6.8.2): vector table, masks, pending bits, and message routing.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::host::{MsiVector, PciHost};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// Message control: MSI-X is enabled.
const ENABLE: u16 = 1 << 15;
/// Message control: all vectors are masked.
const FUNCTION_MASK: u16 = 1 << 14;
/// Size of a table entry in bytes.
const ENTRY: u64 = 16;
/// Vector control: the vector is masked.
const MASKED: u32 = 1;

/// The MSI-X table of one function and its interrupts.
///
/// A vector that must not be sent sets its pending bit. The machine's routing changes only when a vector may be sent
/// and its message differs from the routed one, because drivers mask and unmask far more often than they move an
/// interrupt.
#[derive(Debug)]
pub(crate) struct Msix {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    control: u16,
    vectors: Vec<Vector>,
}

#[derive(Debug)]
struct Vector {
    entry: MsixEntry,
    pending: bool,
    /// The message that `interrupt` sends, once there is one.
    routed: Option<(u64, u32)>,
    interrupt: Box<dyn MsiVector>,
    /// The failure was logged already.
    reported: bool,
}

/// An entry of the vector table, as the guest wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MsixEntry {
    /// Message address.
    pub(crate) address: u64,
    /// Message data.
    pub(crate) data: u32,
    /// Vector control.
    pub(crate) control: u32,
}

impl Default for MsixEntry {
    fn default() -> Self {
        Self { address: 0, data: 0, control: MASKED }
    }
}

/// The saved state: guest-written registers, and pending bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MsixState {
    /// Message control.
    pub(crate) control: u16,
    /// The vector table.
    pub(crate) entries: Vec<MsixEntry>,
    /// Pending bits, by vector.
    pub(crate) pending: Vec<bool>,
}

impl Msix {
    /// A table of `vectors` masked vectors, or the saved one.
    pub(crate) fn new(host: &dyn PciHost, vectors: usize, state: Option<&MsixState>) -> Result<Self> {
        if let Some(state) = state
            && (state.entries.len() != vectors || state.pending.len() != vectors)
        {
            return Err(Error::new(ErrorKind::InvalidConfig, "the saved MSI-X table does not fit this PCI function")
                .with_remedy("restore with the devices that the VM was saved with"));
        }
        let vector = |i: usize| -> Result<Vector> {
            Ok(Vector {
                entry: state.and_then(|s| s.entries.get(i)).copied().unwrap_or_default(),
                pending: state.and_then(|s| s.pending.get(i)).copied().unwrap_or_default(),
                routed: None,
                interrupt: host.msi_vector()?,
                reported: false,
            })
        };
        let control = state.map_or(0, |s| s.control & (ENABLE | FUNCTION_MASK));
        let mut table = Table { control, vectors: (0..vectors).map(vector).collect::<Result<_>>()? };
        table.update_all();
        Ok(Self { table: Mutex::new(table) })
    }

    /// The body of the capability for a table and pending bits in BAR `bar`, and its writable bits.
    pub(crate) fn capability(&self, bar: u8, table_offset: u32, pending_offset: u32) -> ([u8; 10], [u8; 10]) {
        let size = lock(&self.table).vectors.len().saturating_sub(1) as u16;
        let (mut body, mut writable) = ([0; 10], [0; 10]);
        body[..2].copy_from_slice(&size.to_le_bytes());
        body[2..6].copy_from_slice(&(table_offset | u32::from(bar)).to_le_bytes());
        body[6..].copy_from_slice(&(pending_offset | u32::from(bar)).to_le_bytes());
        writable[..2].copy_from_slice(&(ENABLE | FUNCTION_MASK).to_le_bytes());
        (body, writable)
    }

    /// Handles a guest write to message control.
    pub(crate) fn set_control(&self, control: u16) {
        let mut table = lock(&self.table);
        table.control = control & (ENABLE | FUNCTION_MASK);
        table.update_all();
    }

    /// Sends `vector`, or sets its pending bit while it is masked. Nonexistent vectors are ignored.
    pub(crate) fn trigger(&self, vector: u16) {
        let mut table = lock(&self.table);
        let (enabled, open) = (table.control & ENABLE != 0, table.open());
        let Some(vector) = table.vectors.get_mut(usize::from(vector)).filter(|_| enabled) else {
            return;
        };
        if open && vector.routed.is_some() && vector.entry.control & MASKED == 0 {
            vector.send();
        } else {
            vector.pending = true;
        }
    }

    /// Reads the vector table.
    pub(crate) fn read_table(&self, offset: u64, data: &mut [u8]) {
        let table = lock(&self.table);
        let row = usize::try_from(offset / ENTRY).ok().and_then(|i| table.vectors.get(i));
        copy_from(&row.map(|v| v.entry).unwrap_or_default().bytes(), offset % ENTRY, data);
    }

    /// Writes the vector table, four or eight aligned bytes at a time.
    pub(crate) fn write_table(&self, offset: u64, data: &[u8]) {
        let mut table = lock(&self.table);
        let (enabled, open) = (table.control & ENABLE != 0, table.open());
        let Some(vector) = usize::try_from(offset / ENTRY).ok().and_then(|i| table.vectors.get_mut(i)) else {
            return;
        };
        let at = (offset % ENTRY) as usize;
        if !matches!(data.len(), 4 | 8) || !at.is_multiple_of(data.len()) {
            return;
        }
        let mut bytes = vector.entry.bytes();
        bytes[at..at + data.len()].copy_from_slice(data);
        vector.entry = MsixEntry::from_bytes(bytes);
        vector.update(enabled, open);
    }

    /// Reads the pending bits.
    pub(crate) fn read_pending(&self, offset: u64, data: &mut [u8]) {
        let table = lock(&self.table);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (i, byte) in data.iter_mut().enumerate() {
            let first = start.saturating_add(i).saturating_mul(8);
            let bits = table.vectors.iter().skip(first).take(8).enumerate();
            *byte = bits.fold(0, |byte, (bit, vector)| byte | u8::from(vector.pending) << bit);
        }
    }

    /// Resets all guest-written registers.
    pub(crate) fn reset(&self) {
        let mut table = lock(&self.table);
        table.control = 0;
        for vector in &mut table.vectors {
            (vector.entry, vector.pending) = (MsixEntry::default(), false);
        }
        table.update_all();
    }

    /// The state to save.
    pub(crate) fn save(&self) -> MsixState {
        let table = lock(&self.table);
        MsixState {
            control: table.control,
            entries: table.vectors.iter().map(|v| v.entry).collect(),
            pending: table.vectors.iter().map(|v| v.pending).collect(),
        }
    }
}

impl Table {
    /// Whether the function as a whole may send.
    fn open(&self) -> bool {
        self.control & (ENABLE | FUNCTION_MASK) == ENABLE
    }

    fn update_all(&mut self) {
        let (enabled, open) = (self.control & ENABLE != 0, self.open());
        for vector in &mut self.vectors {
            vector.update(enabled, open);
        }
    }
}

impl Vector {
    /// Updates the interrupt after a change of the table.
    fn update(&mut self, enabled: bool, open: bool) {
        if !enabled {
            if self.routed.take().is_some() {
                let masked = self.interrupt.mask();
                self.report(masked);
            }
        } else if open && self.entry.control & MASKED == 0 {
            let message = (self.entry.address, self.entry.data);
            if self.routed != Some(message) {
                let first = self.routed.is_none();
                let mut result = self.interrupt.set_message(message.0, message.1);
                if result.is_ok() && first {
                    result = self.interrupt.unmask();
                }
                if result.is_err() {
                    return self.report(result);
                }
                self.routed = Some(message);
            }
            if std::mem::take(&mut self.pending) {
                self.send();
            }
        }
    }

    fn send(&self) {
        // Fails only if the counter is full; then the interrupt is pending already.
        let _ = self.interrupt.event().write(1);
    }

    /// The guest cannot be told that the host failed to route its interrupt. Only the first failure is logged, because
    /// a guest can cause failures at any rate.
    fn report(&mut self, result: Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.reported, true)
        {
            tracing::error!(%error, "cannot set up an MSI-X vector; its further failures are not logged");
        }
    }
}

impl MsixEntry {
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.data.to_le_bytes());
        bytes[12..].copy_from_slice(&self.control.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let all = u128::from_le_bytes(bytes);
        Self { address: all as u64, data: (all >> 64) as u32, control: (all >> 96) as u32 & MASKED }
    }
}

/// Fills `data` from `bytes[offset..]`, with zeroes beyond the end.
fn copy_from(bytes: &[u8], offset: u64, data: &mut [u8]) {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    for (i, byte) in data.iter_mut().enumerate() {
        *byte = rest.get(i).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestHost;
    use super::*;

    fn write(msix: &Msix, vector: u64, field: u64, value: u32) {
        msix.write_table(vector * ENTRY + field, &value.to_le_bytes());
    }

    fn pending(msix: &Msix) -> u8 {
        let mut byte = [0];
        msix.read_pending(0, &mut byte);
        byte[0]
    }

    /// A table with MSI-X enabled and vector 1 set up.
    fn table(host: &TestHost) -> Msix {
        let msix = Msix::new(host, 3, None).unwrap();
        msix.set_control(ENABLE);
        write(&msix, 1, 0, 0xfee0_1000);
        write(&msix, 1, 8, 0x41);
        write(&msix, 1, 12, 0);
        msix
    }

    #[test]
    fn a_message_is_routed_once_and_sent() {
        let host = TestHost::new();
        let msix = table(&host);
        msix.trigger(1);
        assert_eq!(host.taken(1), 1);
        for _ in 0..3 {
            write(&msix, 1, 12, MASKED);
            write(&msix, 1, 12, 0);
        }
        assert_eq!(host.vector(1).routes(), [(0xfee0_1000, 0x41)]);
        write(&msix, 1, 8, 0x42);
        assert_eq!(host.vector(1).routes(), [(0xfee0_1000, 0x41), (0xfee0_1000, 0x42)]);
        assert!(host.vector(0).routes().is_empty());
        assert_eq!((host.vector(1).attached(), host.vector(0).attached()), (true, false));
    }

    #[test]
    fn masked_vectors_pend() {
        let host = TestHost::new();
        let msix = table(&host);
        write(&msix, 1, 12, MASKED);
        msix.trigger(1);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(1)), (0b10, 0));
        write(&msix, 1, 12, 0);
        assert_eq!((pending(&msix), host.taken(1)), (0, 1));

        msix.set_control(ENABLE | FUNCTION_MASK);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(1)), (0b10, 0));
        msix.set_control(ENABLE);
        assert_eq!((pending(&msix), host.taken(1)), (0, 1));
    }

    #[test]
    fn disabled_and_absent_vectors_are_ignored() {
        let host = TestHost::new();
        let msix = table(&host);
        msix.trigger(3);
        msix.trigger(0xffff);
        msix.set_control(0);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(1), host.vector(1).attached()), (0, 0, false));
        msix.set_control(ENABLE);
        msix.trigger(1);
        assert_eq!((host.taken(1), host.vector(1).attached()), (1, true));
    }

    #[test]
    fn odd_accesses_do_nothing() {
        let host = TestHost::new();
        let msix = table(&host);
        let before = msix.save();
        for (offset, length) in [(1, 4), (4, 8), (0, 1), (0, 16), (48, 4), (u64::MAX - 15, 4)] {
            msix.write_table(offset, &vec![0xff; length]);
        }
        assert_eq!(msix.save(), before);
        let mut data = [0; 8];
        msix.read_table(u64::MAX, &mut data);
        msix.read_pending(u64::MAX - 2, &mut data);
        msix.read_table(16, &mut data);
        assert_eq!(u64::from_le_bytes(data), 0xfee0_1000);
    }

    #[test]
    fn state_goes_round_with_what_was_pending() {
        let old_host = TestHost::new();
        let old = table(&old_host);
        old.set_control(ENABLE | FUNCTION_MASK);
        old.trigger(1);
        let state = old.save();
        let host = TestHost::new();
        let new = Msix::new(&host, 3, Some(&state)).unwrap();
        assert_eq!(new.save(), state);
        new.set_control(ENABLE);
        assert_eq!((host.taken(1), host.vector(1).routes()), (1, vec![(0xfee0_1000, 0x41)]));
        assert!(Msix::new(&host, 2, Some(&state)).is_err());
        new.reset();
        assert_eq!(new.save(), Msix::new(&TestHost::new(), 3, None).unwrap().save());
    }
}
