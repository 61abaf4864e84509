//! Files of saved state for fuzzers.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vm_memory::GuestAddress;

use super::consoles::SavedConsoles;
use super::saved::Description;
use crate::machine::{DeviceStates, ProcessorState};
use crate::memory::GuestRam;
use crate::state::fuzzing::{with_header, with_section};
use crate::state::{MemoryBase, Section, StateReader};

/// The guest's memory in bytes.
const MEMORY: usize = 4 << 20;

/// Reads a file whose header begins with these bytes and has a valid checksum.
pub fn read_file(bytes: &[u8], file: &File) {
    read(&with_header(bytes), file);
}

/// Reads a file with a section of this kind.
pub fn read_section(kind: u32, body: &[u8], file: &File) {
    read(&with_section(kind, 1, body, MEMORY as u64), file);
}

fn read(bytes: &[u8], file: &File) {
    let written = file.set_len(0).and_then(|()| file.write_all_at(bytes, 0)).and_then(|()| file.try_clone());
    let Ok(Ok(reader)) = written.map(StateReader::new) else { return };
    if let Ok(ram) = GuestRam::from_ranges(&[(GuestAddress(0), MEMORY)]) {
        let _ = reader.memory(&ram, &());
    }
    section::<Description>(&reader);
    section::<ProcessorState>(&reader);
    section::<DeviceStates>(&reader);
    section::<SavedConsoles>(&reader);
    section::<MemoryBase>(&reader);
}

/// Decodes a section, and checks that encoding and decoding it again gives the same.
fn section<S: Section>(reader: &StateReader) {
    let Ok(section) = reader.section::<S>() else { return };
    let again = rmp_serde::to_vec_named(&section).ok().and_then(|bytes| {
        let section: S = rmp_serde::from_slice(&bytes).ok()?;
        Some((bytes, rmp_serde::to_vec_named(&section).ok()?))
    });
    assert!(again.is_some_and(|(first, second)| first == second));
}
