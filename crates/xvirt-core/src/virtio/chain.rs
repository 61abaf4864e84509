//! Descriptor chains, parsed and checked before a device sees them.

use std::fmt;
use std::ops::Range;

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress};

use self::ServeError::Malformed;
use crate::Error;
use crate::memory::GuestSlice;
use crate::memory::{GuestBuffers, GuestRam, append_slices, mark_dirty, require_loaded, require_was_loaded};

/// The most descriptors in a chain, including indirect ones: the limit of a vectored system call (`IOV_MAX`).
const MAX_SEGMENTS: usize = 1024;

/// The result of serving a driver.
pub(crate) type Served<T = ()> = Result<T, ServeError>;

/// Why a device stopped serving its queues until the driver resets it.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The driver violated the queue protocol, as the text says.
    Malformed(&'static str),
    /// The host lacks something that the device needs.
    Host(Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(how) => f.write_str(how),
            Self::Host(error) => error.fmt(f),
        }
    }
}

impl From<Error> for ServeError {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// One request: readable buffers, then writable ones. It is reused, so that requests need no allocation.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    head: u16,
    /// Buffers with the driver's data.
    pub(crate) readable: Segments,
    /// Buffers for the device to fill.
    pub(crate) writable: Segments,
}

impl Chain {
    /// The index of its first descriptor, which identifies the chain.
    pub(crate) fn head(&self) -> u16 {
        self.head
    }

    /// Loads the descriptors of `chain`, and waits until the memory of its buffers is there.
    pub(super) fn load(&mut self, chain: DescriptorChain<&GuestRam>, memory: &GuestRam) -> Served {
        self.head = chain.head_index();
        self.readable.clear();
        self.writable.clear();
        let (mut count, mut more) = (0, true);
        for descriptor in chain {
            count += 1;
            if count > MAX_SEGMENTS {
                return Err(Malformed("a descriptor chain is too long"));
            }
            more = descriptor.has_next();
            require_loaded(memory, descriptor.addr().0, descriptor.len() as usize)?;
            let segment = Segment { address: descriptor.addr().0, length: descriptor.len() };
            if descriptor.is_write_only() {
                self.writable.list.push(segment);
            } else if self.writable.list.is_empty() {
                self.readable.list.push(segment);
            } else {
                return Err(Malformed("a readable descriptor follows a writable one"));
            }
        }
        // What the ring and the descriptors say.
        require_was_loaded(memory)?;
        // The iterator also ends at a loop, at an index or table outside of memory, and at an invalid indirect table.
        if more { Err(Malformed("a descriptor chain is broken")) } else { Ok(()) }
    }
}

/// Ranges of guest memory, in order.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: Vec<Segment>,
    /// The number of segments at the front that are consumed.
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    length: u32,
}

impl Segments {
    fn clear(&mut self) {
        self.list.clear();
        self.taken = 0;
    }

    fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.list.iter().skip(self.taken)
    }

    /// The remaining guest addresses, which may lie outside of memory.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.iter().map(|s| s.address..s.address.saturating_add(s.length.into()))
    }

    /// The number of bytes left.
    pub(crate) fn len(&self) -> u64 {
        self.iter().map(|s| u64::from(s.length)).sum()
    }

    /// Reads the first bytes into `data` and consumes them; an error if there are too few.
    pub(crate) fn take(&mut self, memory: &GuestRam, mut data: &mut [u8]) -> Served {
        while !data.is_empty() {
            let Some(segment) = self.list.get_mut(self.taken) else {
                return Err(Malformed("a request is too short"));
            };
            let count = data.len().min(segment.length as usize);
            let (now, rest) = data.split_at_mut(count);
            memory.read_slice(now, GuestAddress(segment.address)).map_err(|_| OUTSIDE)?;
            segment.advance(count as u32);
            if segment.length == 0 {
                self.taken += 1;
            }
            data = rest;
        }
        Ok(())
    }

    /// Removes the first `count` bytes, or all that there are.
    pub(crate) fn skip(&mut self, mut count: u64) {
        while count > 0 {
            let Some(segment) = self.list.get_mut(self.taken) else { return };
            let now = segment.length.min(u32::try_from(count).unwrap_or(u32::MAX));
            segment.advance(now);
            if segment.length == 0 {
                self.taken += 1;
            }
            count -= u64::from(now);
        }
    }

    /// Removes the last byte and returns its address.
    pub(crate) fn take_last(&mut self) -> Option<u64> {
        while self.list.len() > self.taken {
            let segment = self.list.last_mut()?;
            if let Some(rest) = segment.length.checked_sub(1) {
                segment.length = rest;
                return segment.address.checked_add(rest.into());
            }
            self.list.pop();
        }
        None
    }

    /// Copies as much of `data` as fits to the front, consumes that space, and returns its size.
    pub(crate) fn put(&mut self, memory: &GuestRam, data: &[u8]) -> Served<usize> {
        let mut done = 0;
        while done < data.len() {
            let Some(segment) = self.list.get_mut(self.taken) else { break };
            let count = (data.len() - done).min(segment.length as usize);
            memory.write_slice(&data[done..done + count], GuestAddress(segment.address)).map_err(|_| OUTSIDE)?;
            segment.advance(count as u32);
            if segment.length == 0 {
                self.taken += 1;
            }
            done += count;
        }
        Ok(done)
    }

    /// The guest address of the byte at `offset`.
    pub(crate) fn address_of(&self, mut offset: usize) -> Option<u64> {
        for segment in self.iter() {
            match offset.checked_sub(segment.length as usize) {
                Some(rest) => offset = rest,
                None => return segment.address.checked_add(offset as u64),
            }
        }
        None
    }

    /// Appends the host memory of the remaining segments to `slices`. For the rules of writing to it, see
    /// [`append_slices`].
    pub(crate) fn slices<'a>(&self, memory: &'a GuestRam, slices: &mut Vec<GuestSlice<'a>>) -> Served {
        self.iter().try_for_each(|s| append_slices(memory, s.address, s.length as usize, slices).ok_or(OUTSIDE))
    }

    /// Appends the remaining segments to `buffers`.
    pub(crate) fn buffers(&self, buffers: &mut GuestBuffers) -> Served {
        self.iter().try_for_each(|s| buffers.append(s.address, s.length).ok_or(OUTSIDE))
    }

    /// Records that the remaining segments were written to.
    pub(crate) fn mark_dirty(&self, memory: &GuestRam) {
        for segment in self.iter() {
            mark_dirty(memory, segment.address, segment.length as usize);
        }
    }
}

impl Segment {
    fn advance(&mut self, count: u32) {
        // Wraps only where there is no memory, which the next access finds out, or to zero behind the last byte.
        self.address = self.address.wrapping_add(count.into());
        self.length -= count;
    }
}

const OUTSIDE: ServeError = Malformed("a buffer is not in guest memory");
