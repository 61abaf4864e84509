//! MSI-X (PCI 3.0, section 6.8.2): vector table, masks and pending bits.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::host::PciHost;
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

/// The MSI-X table of one function. A vector that must not be sent sets its pending bit.
#[derive(Debug)]
pub(crate) struct Msix {
    host: Arc<dyn PciHost>,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    control: u16,
    vectors: Vec<Vector>,
    /// A failure to send was logged already.
    reported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Vector {
    entry: MsixEntry,
    pending: bool,
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
    pub(crate) fn new(host: Arc<dyn PciHost>, vectors: usize, state: Option<&MsixState>) -> Result<Self> {
        if let Some(state) = state
            && (state.entries.len() != vectors || state.pending.len() != vectors)
        {
            return Err(Error::new(ErrorKind::InvalidConfig, "the saved MSI-X table does not fit this PCI function")
                .with_remedy("restore with the devices that the VM was saved with"));
        }
        let vector = |i: usize| Vector {
            entry: state.and_then(|s| s.entries.get(i)).copied().unwrap_or_default(),
            pending: state.and_then(|s| s.pending.get(i)).copied().unwrap_or_default(),
        };
        let control = state.map_or(0, |s| s.control & (ENABLE | FUNCTION_MASK));
        let mut table = Table { control, vectors: (0..vectors).map(vector).collect(), reported: false };
        table.send_pending(&*host);
        Ok(Self { host, table: Mutex::new(table) })
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
        table.send_pending(&*self.host);
    }

    /// Sends `vector`, or sets its pending bit while it is masked. Nonexistent vectors are ignored.
    pub(crate) fn trigger(&self, vector: u16) {
        let mut table = lock(&self.table);
        if table.control & ENABLE == 0 {
            return;
        }
        if let Some(entry) = table.vectors.get_mut(usize::from(vector)) {
            entry.pending = true;
            table.send_if_pending(vector.into(), &*self.host);
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
        let index = usize::try_from(offset / ENTRY).unwrap_or(usize::MAX);
        let Some(vector) = table.vectors.get_mut(index) else { return };
        let at = (offset % ENTRY) as usize;
        if !matches!(data.len(), 4 | 8) || !at.is_multiple_of(data.len()) {
            return;
        }
        let mut bytes = vector.entry.bytes();
        bytes[at..at + data.len()].copy_from_slice(data);
        vector.entry = MsixEntry::from_bytes(bytes);
        table.send_if_pending(index, &*self.host);
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
            *vector = Vector { entry: MsixEntry::default(), pending: false };
        }
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
    /// Sends each pending vector that may be sent now.
    fn send_pending(&mut self, host: &dyn PciHost) {
        (0..self.vectors.len()).for_each(|index| self.send_if_pending(index, host));
    }

    /// Sends a vector if it is pending and may be sent now.
    fn send_if_pending(&mut self, index: usize, host: &dyn PciHost) {
        let is_open = self.control & (ENABLE | FUNCTION_MASK) == ENABLE;
        let Some(vector) = self
            .vectors
            .get_mut(index)
            .filter(|vector| is_open && vector.pending && vector.entry.control & MASKED == 0)
        else {
            return;
        };
        vector.pending = false;
        // The guest cannot be told that its message has no effect. Only the first failure is logged, because a guest can
        // cause failures at any rate.
        if let Err(error) = host.send_message(vector.entry.address, vector.entry.data)
            && !std::mem::replace(&mut self.reported, true)
        {
            tracing::error!(%error, "cannot send an MSI-X message; further failures are not logged");
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

    const DATA: u32 = 0x41;
    const ADDRESS: u64 = 0xfee0_1000;

    /// A table with MSI-X enabled and vector 1 set up.
    fn table(host: &Arc<TestHost>) -> Msix {
        let msix = Msix::new(host.clone(), 3, None).unwrap();
        msix.set_control(ENABLE);
        write(&msix, 1, 0, ADDRESS as u32);
        write(&msix, 1, 8, DATA);
        write(&msix, 1, 12, 0);
        msix
    }

    #[test]
    fn a_vector_sends_the_message_that_it_has_then() {
        let host = Arc::new(TestHost::new());
        let msix = table(&host);
        msix.trigger(1);
        assert_eq!(host.taken(DATA), [ADDRESS]);
        write(&msix, 1, 8, 0x42);
        write(&msix, 1, 4, 1);
        msix.trigger(1);
        msix.trigger(1);
        assert_eq!((host.taken(DATA), host.taken(0x42)), (vec![], vec![ADDRESS | 1 << 32; 2]));
    }

    #[test]
    fn masked_vectors_pend() {
        let host = Arc::new(TestHost::new());
        let msix = table(&host);
        write(&msix, 1, 12, MASKED);
        msix.trigger(1);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(DATA)), (0b10, vec![]));
        write(&msix, 1, 12, 0);
        assert_eq!((pending(&msix), host.taken(DATA)), (0, vec![ADDRESS]));

        msix.set_control(ENABLE | FUNCTION_MASK);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(DATA)), (0b10, vec![]));
        msix.set_control(ENABLE);
        assert_eq!((pending(&msix), host.taken(DATA)), (0, vec![ADDRESS]));
    }

    #[test]
    fn disabled_and_absent_vectors_are_ignored() {
        let host = Arc::new(TestHost::new());
        let msix = table(&host);
        msix.trigger(3);
        msix.trigger(0xffff);
        msix.set_control(0);
        msix.trigger(1);
        assert_eq!((pending(&msix), host.taken(DATA)), (0, vec![]));
        msix.set_control(ENABLE);
        msix.trigger(1);
        assert_eq!(host.taken(DATA), [ADDRESS]);
    }

    #[test]
    fn odd_accesses_do_nothing() {
        let msix = table(&Arc::new(TestHost::new()));
        let before = msix.save();
        for (offset, length) in [(1, 4), (4, 8), (0, 1), (0, 16), (48, 4), (u64::MAX - 15, 4)] {
            msix.write_table(offset, &vec![0xff; length]);
        }
        assert_eq!(msix.save(), before);
        let mut data = [0; 8];
        msix.read_table(u64::MAX, &mut data);
        msix.read_pending(u64::MAX - 2, &mut data);
        msix.read_table(16, &mut data);
        assert_eq!(u64::from_le_bytes(data), ADDRESS);
    }

    #[test]
    fn state_goes_round_with_what_was_pending() {
        let old = table(&Arc::new(TestHost::new()));
        old.set_control(ENABLE | FUNCTION_MASK);
        old.trigger(1);
        let state = old.save();
        let host = Arc::new(TestHost::new());
        let new = Msix::new(host.clone(), 3, Some(&state)).unwrap();
        assert_eq!((new.save(), host.taken(DATA)), (state.clone(), vec![]));
        new.set_control(ENABLE);
        assert_eq!(host.taken(DATA), [ADDRESS]);
        // One that was pending and may be sent is sent at once.
        let open = MsixState { control: ENABLE, ..state.clone() };
        Msix::new(host.clone(), 3, Some(&open)).unwrap();
        assert_eq!(host.taken(DATA), [ADDRESS]);
        assert!(Msix::new(host.clone(), 2, Some(&state)).is_err());
        new.reset();
        assert_eq!(new.save(), Msix::new(host, 3, None).unwrap().save());
    }
}
