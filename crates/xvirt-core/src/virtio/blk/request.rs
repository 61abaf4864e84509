//! Parses disk requests (virtio 1.2, section 5.2.6).

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use super::device::{MAX_DISCARD, MAX_RANGES, MAX_ZEROES, SECTOR, SERIAL};
use crate::disk::{IoOperation, Request};
use crate::memory::GuestRam;
use crate::virtio::{Chain, Malformed, Served};

/// Size of `struct virtio_blk_req` before the data, in bytes.
const HEADER: usize = 16;
/// Size of `struct virtio_blk_discard_write_zeroes` in bytes.
const RANGE: u64 = 16;

/// The properties of a disk that decide whether a request is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sectors: u64,
    pub(super) read_only: bool,
    pub(super) serial: [u8; SERIAL],
}

/// How to answer a parsed request.
#[derive(Debug)]
pub(super) enum Asked {
    /// The engine executes the request. On success, the given number of bytes of the chain has been written.
    Engine(u32),
    /// The request is complete, and the given number of bytes was written.
    Done(u32),
}

/// Why a request was refused, as a status byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Failed = VIRTIO_BLK_S_IOERR as isize,
    Unsupported = VIRTIO_BLK_S_UNSUPP as isize,
}

/// Takes the last writable byte off `chain`, which is for the status, and returns its address.
pub(super) fn status(chain: &mut Chain) -> Served<u64> {
    chain.writable.take_last().ok_or(Malformed("a disk request has no room for its status"))
}

/// Parses the request in `chain`, whose status byte was taken off, into `request`. The operation is filled in even if
/// the result is [`Failed`](Refusal::Failed).
pub(super) fn read(
    limits: &Limits,
    memory: &GuestRam,
    chain: &mut Chain,
    request: &mut Request,
) -> Served<Result<Asked, Refusal>> {
    let mut header = [0; HEADER];
    chain.readable.take(memory, &mut header)?;
    let header = u128::from_le_bytes(header);
    let (kind, sector) = (header as u32, (header >> 64) as u64);
    request.clear();
    Ok(match kind {
        VIRTIO_BLK_T_IN => {
            chain.writable.buffers(&mut request.buffers)?;
            limits.transfer(IoOperation::Read, sector, chain.writable.len(), request)
        }
        VIRTIO_BLK_T_OUT => {
            chain.readable.buffers(&mut request.buffers)?;
            limits.transfer(IoOperation::Write, sector, chain.readable.len(), request)
        }
        VIRTIO_BLK_T_FLUSH => {
            request.operation = IoOperation::Flush;
            Ok(Asked::Engine(0))
        }
        VIRTIO_BLK_T_GET_ID => Ok(Asked::Done(chain.writable.put(memory, &limits.serial)? as u32)),
        VIRTIO_BLK_T_DISCARD => limits.clear(IoOperation::Discard, memory, chain, request)?,
        VIRTIO_BLK_T_WRITE_ZEROES => limits.clear(IoOperation::WriteZeroes, memory, chain, request)?,
        _ => Err(Refusal::Unsupported),
    })
}

impl Limits {
    fn transfer(
        &self,
        operation: IoOperation,
        sector: u64,
        length: u64,
        request: &mut Request,
    ) -> Result<Asked, Refusal> {
        request.operation = operation;
        let offset = self.offset(sector, length)?;
        if operation == IoOperation::Write {
            self.writable()?;
        }
        request.ranges.push(offset..offset + length);
        let written = if operation == IoOperation::Read { length } else { 0 };
        u32::try_from(written).map(Asked::Engine).map_err(|_| Refusal::Failed)
    }

    /// Discards or zeroes ranges.
    fn clear(
        &self,
        operation: IoOperation,
        memory: &GuestRam,
        chain: &mut Chain,
        request: &mut Request,
    ) -> Served<Result<Asked, Refusal>> {
        request.operation = operation;
        let length = chain.readable.len();
        if length == 0 || !length.is_multiple_of(RANGE) || length / RANGE > MAX_RANGES.into() {
            return Ok(Err(Refusal::Failed));
        }
        for _ in 0..length / RANGE {
            let mut range = [0; RANGE as usize];
            chain.readable.take(memory, &mut range)?;
            let range = u128::from_le_bytes(range);
            if let Err(refusal) = self.range(range as u64, (range >> 64) as u32, (range >> 96) as u32, request) {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(Asked::Engine(0)))
    }

    fn range(&self, sector: u64, sectors: u32, flags: u32, request: &mut Request) -> Result<(), Refusal> {
        let (allowed, max) = match request.operation {
            IoOperation::Discard => (0, MAX_DISCARD),
            _ => (VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, MAX_ZEROES),
        };
        if flags & !allowed != 0 {
            return Err(Refusal::Unsupported);
        }
        let length = u64::from(sectors) * SECTOR;
        let offset = self.offset(sector, length)?;
        self.writable()?;
        if sectors > max {
            return Err(Refusal::Failed);
        }
        // If the driver wants any range to keep its allocation, all of them do.
        request.unmap = flags != 0 && (request.unmap || request.ranges.is_empty());
        request.ranges.push(offset..offset + length);
        Ok(())
    }

    /// The byte offset of a range, if it is whole sectors inside the disk.
    fn offset(&self, sector: u64, length: u64) -> Result<u64, Refusal> {
        let end = sector.checked_add(length / SECTOR).ok_or(Refusal::Failed)?;
        if !length.is_multiple_of(SECTOR) || end > self.sectors {
            return Err(Refusal::Failed);
        }
        Ok(sector * SECTOR)
    }

    fn writable(&self) -> Result<(), Refusal> {
        if self.read_only { Err(Refusal::Failed) } else { Ok(()) }
    }
}
