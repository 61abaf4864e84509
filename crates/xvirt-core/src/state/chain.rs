//! The memory in a file of saved state and in those on which it is based.

use std::fs::File;
use std::sync::Arc;

use super::base::MemoryBase;
use super::header::damaged;
use super::memory::{CHUNK, MemoryMap, MemoryRange, read_chunk};
use crate::Result;

/// Files of memory, each of which is based on the one before.
#[derive(Debug)]
pub(crate) struct MemoryChain {
    layers: Vec<(MemoryMap, Option<MemoryBase>, Arc<File>)>,
    top: MemoryMap,
}

impl MemoryChain {
    /// # Errors
    /// `CorruptState`: they are of different memories.
    pub(super) fn new(layers: Vec<(MemoryMap, Option<MemoryBase>, Arc<File>)>) -> Result<Self> {
        let top = layers.last().map(|(map, ..)| map.clone()).ok_or_else(|| damaged("it has no memory"))?;
        if layers.iter().any(|(map, ..)| map.ranges != top.ranges) {
            return Err(damaged("it and the file that it is based on differ in the guest's memory"));
        }
        Ok(Self { layers, top })
    }

    /// The ranges of guest memory.
    pub(super) fn ranges(&self) -> &[MemoryRange] {
        &self.top.ranges
    }

    /// How many bytes of memory the guest has.
    pub(super) fn length(&self) -> u64 {
        self.top.length()
    }

    /// How many chunks the memory has.
    pub(super) fn chunks(&self) -> u64 {
        self.length().div_ceil(CHUNK as u64)
    }

    /// Whether a part of chunk `number` is in a file. Otherwise, it is all zeroes.
    pub(super) fn has(&self, number: u64) -> bool {
        self.layers.iter().any(|(map, ..)| map.has_any(number as usize))
    }

    /// Reads chunk `number`, which `bytes` is as long as.
    pub(super) fn read(&self, number: u64, bytes: &mut [u8]) -> Result<()> {
        self.layers.iter().try_for_each(|(map, base, file)| read_chunk(map, base.as_ref(), file, number, bytes))
    }
}
