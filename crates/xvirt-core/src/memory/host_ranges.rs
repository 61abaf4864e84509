//! Where guest memory lies in this process.

use std::ops::Range;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::GuestRam;

/// The addresses of guest memory in this process, by positions that are counted over all its regions.
#[derive(Debug)]
pub(crate) struct HostRanges(Vec<Part>);

/// A region of guest memory.
#[derive(Debug)]
struct Part {
    /// Its addresses in this process.
    host: Range<usize>,
    /// Where it begins, counted over all regions.
    position: u64,
}

impl HostRanges {
    pub(super) fn of(ram: &GuestRam) -> Self {
        let (mut parts, mut position) = (Vec::new(), 0);
        for region in ram.iter() {
            let start = region.get_mmap().as_ptr() as usize;
            parts.push(Part { host: start..start + region.get_mmap().size(), position });
            position += region.len();
        }
        Self(parts)
    }

    /// The addresses of each region.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Range<usize>> {
        self.0.iter().map(|part| &part.host)
    }

    /// The position of an address of this process.
    pub(super) fn position(&self, address: usize) -> Option<u64> {
        let part = self.0.iter().find(|part| part.host.contains(&address))?;
        Some(part.position + (address - part.host.start) as u64)
    }

    /// The addresses of these positions, in their order.
    pub(super) fn host(&self, positions: &Range<u64>) -> impl Iterator<Item = Range<usize>> + use<'_> {
        let positions = positions.clone();
        self.0.iter().filter_map(move |part| {
            let end = part.position + part.host.len() as u64;
            let (from, to) = (positions.start.max(part.position), positions.end.min(end));
            let address = |position: u64| part.host.start + (position - part.position) as usize;
            (from < to).then(|| address(from)..address(to))
        })
    }
}
