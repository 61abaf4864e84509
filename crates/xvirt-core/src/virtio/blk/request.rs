//! Requests to a disk (virtio 1.2, section 5.2.6).

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use vm_memory::{Bytes, GuestAddress, VolatileSlice};

use super::device::{MAX_DISCARD, MAX_RANGES, MAX_ZEROES, SECTOR, SERIAL};
use super::error::{IoError, IoErrorSink, IoOperation};
use crate::disk::BlockBackend;
use crate::memory::GuestRam;
use crate::virtio::{Chain, Handler, Malformed, Queues, Served};

/// Bytes of `struct virtio_blk_req` before the data.
const HEADER: usize = 16;
/// Bytes of `struct virtio_blk_discard_write_zeroes`.
const RANGE: u64 = 16;

/// What the driver's view and the handler of a disk share.
pub(super) struct Disk {
    pub(super) backend: Arc<dyn BlockBackend>,
    pub(super) sink: IoErrorSink,
    pub(super) sectors: AtomicU64,
    pub(super) read_only: bool,
    pub(super) serial: [u8; SERIAL],
}

/// Why a request was not done, as its status byte says it.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Failed = VIRTIO_BLK_S_IOERR as isize,
    Unsupported = VIRTIO_BLK_S_UNSUPP as isize,
}

type Outcome = Result<u32, Refusal>;

pub(super) struct BlockHandler {
    disk: Arc<Disk>,
    /// Writes need not be durable before a flush.
    write_back: bool,
    chain: Chain,
}

impl BlockHandler {
    pub(super) fn new(disk: Arc<Disk>, write_back: bool) -> Self {
        Self { disk, write_back, chain: Chain::default() }
    }
}

impl Handler for BlockHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        let memory = queue.memory().clone();
        let mut buffers = Vec::new();
        let (disk, write_back) = (&*self.disk, self.write_back);
        queue.drain(&mut self.chain, |chain| disk.serve(&memory, chain, &mut buffers, write_back))
    }

    fn input(&self) -> Option<RawFd> {
        None
    }

    fn receive(&mut self, _: &mut Queues) -> Served {
        Ok(())
    }
}

impl Disk {
    /// Does one request, and returns how many bytes of the chain were written.
    fn serve<'a>(
        &self,
        memory: &'a GuestRam,
        chain: &mut Chain,
        buffers: &mut Vec<VolatileSlice<'a>>,
        write_back: bool,
    ) -> Served<u32> {
        let mut header = [0; HEADER];
        chain.readable.take(memory, &mut header)?;
        let header = u128::from_le_bytes(header);
        let (kind, sector) = (header as u32, (header >> 64) as u64);
        let status = chain.writable.take_last().ok_or(Malformed("a disk request has no room for its status"))?;
        buffers.clear();
        let outcome = match kind {
            VIRTIO_BLK_T_IN => {
                chain.writable.slices(memory, buffers)?;
                let outcome = self.read(sector, chain.writable.len(), buffers);
                // Also after a failure: some of it may have been read.
                chain.writable.mark_dirty(memory);
                outcome
            }
            VIRTIO_BLK_T_OUT => {
                chain.readable.slices(memory, buffers)?;
                self.write(sector, chain.readable.len(), buffers, write_back)
            }
            VIRTIO_BLK_T_FLUSH => self.flush(),
            VIRTIO_BLK_T_GET_ID => Ok(chain.writable.put(memory, &self.serial)? as u32),
            VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => self.clear(kind, memory, chain, write_back)?,
            _ => Err(Refusal::Unsupported),
        };
        let (answer, written) = match outcome {
            Ok(written) => (VIRTIO_BLK_S_OK as u8, written),
            Err(refusal) => (refusal as u8, 0),
        };
        memory.write_obj(answer, GuestAddress(status)).map_err(|_| Malformed("a status is not in guest memory"))?;
        Ok(written.saturating_add(1))
    }

    fn read(&self, sector: u64, length: u64, buffers: &[VolatileSlice<'_>]) -> Outcome {
        let offset = self.range(sector, length)?;
        self.report(IoOperation::Read, offset, length, self.backend.read(buffers, offset))?;
        u32::try_from(length).map_err(|_| Refusal::Failed)
    }

    fn write(&self, sector: u64, length: u64, buffers: &[VolatileSlice<'_>], write_back: bool) -> Outcome {
        let offset = self.range(sector, length)?;
        self.writable()?;
        self.report(IoOperation::Write, offset, length, self.backend.write(buffers, offset))?;
        if write_back { Ok(0) } else { self.flush() }
    }

    fn flush(&self) -> Outcome {
        self.report(IoOperation::Flush, 0, 0, self.backend.flush())
    }

    /// Discards ranges, or fills them with zeroes.
    fn clear(&self, kind: u32, memory: &GuestRam, chain: &mut Chain, write_back: bool) -> Served<Outcome> {
        let length = chain.readable.len();
        if length == 0 || !length.is_multiple_of(RANGE) || length / RANGE > MAX_RANGES.into() {
            return Ok(Err(Refusal::Failed));
        }
        for _ in 0..length / RANGE {
            let mut range = [0; RANGE as usize];
            chain.readable.take(memory, &mut range)?;
            let range = u128::from_le_bytes(range);
            let outcome = self.clear_range(kind, range as u64, (range >> 64) as u32, (range >> 96) as u32);
            if outcome.is_err() {
                return Ok(outcome);
            }
        }
        Ok(if write_back || kind == VIRTIO_BLK_T_DISCARD { Ok(0) } else { self.flush() })
    }

    fn clear_range(&self, kind: u32, sector: u64, sectors: u32, flags: u32) -> Outcome {
        let (allowed, max) = match kind {
            VIRTIO_BLK_T_DISCARD => (0, MAX_DISCARD),
            _ => (VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, MAX_ZEROES),
        };
        if flags & !allowed != 0 {
            return Err(Refusal::Unsupported);
        }
        let length = u64::from(sectors) * SECTOR;
        let offset = self.range(sector, length)?;
        self.writable()?;
        if sectors > max {
            return Err(Refusal::Failed);
        }
        if kind == VIRTIO_BLK_T_DISCARD {
            self.report(IoOperation::Discard, offset, length, self.backend.discard(offset, length))
        } else {
            let result = self.backend.write_zeroes(offset, length, flags != 0);
            self.report(IoOperation::WriteZeroes, offset, length, result)
        }
    }

    /// The offset of a range that is whole sectors inside the disk.
    fn range(&self, sector: u64, length: u64) -> Result<u64, Refusal> {
        let end = sector.checked_add(length / SECTOR).ok_or(Refusal::Failed)?;
        if !length.is_multiple_of(SECTOR) || end > self.sectors.load(Ordering::Acquire) {
            return Err(Refusal::Failed);
        }
        Ok(sector * SECTOR)
    }

    fn writable(&self) -> Result<(), Refusal> {
        if self.read_only { Err(Refusal::Failed) } else { Ok(()) }
    }

    /// Tells the embedder of a failure, and the driver that there was one.
    fn report(&self, operation: IoOperation, offset: u64, length: u64, result: io::Result<()>) -> Outcome {
        result.map(|()| 0).map_err(|error| {
            (self.sink)(IoError { operation, offset, length, error });
            Refusal::Failed
        })
    }
}
