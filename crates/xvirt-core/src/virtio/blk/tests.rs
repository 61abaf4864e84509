mod in_flight;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::config::{IoEngine, RateLimit};
use crate::device::Device;
use crate::disk::{BlockBackend, IoOperation};
use crate::memory::GuestSlice;
use crate::virtio::testing::{DATA, EVENT_IDX, Piece, RAM, Rig, wait};
use crate::virtio::{BlockState, DeviceState, VirtioDevice};

const FLUSH: u64 = 1 << 9;
const HEADER: u64 = DATA;
const STATUS: u64 = DATA + 0x100;
const BUFFER: u64 = DATA + 0x1000;
const DISK: usize = 1 << 20;

/// A disk in memory that can fail and can be slow.
#[derive(Debug, Default)]
struct MemoryDisk {
    bytes: Mutex<Vec<u8>>,
    read_only: bool,
    failing: AtomicBool,
    slow: AtomicBool,
    flushes: AtomicUsize,
    in_flight: AtomicUsize,
    discards: Mutex<Vec<(u64, u64)>>,
    /// The block size in bytes; 0 stands for 512.
    block_size: u32,
}

impl MemoryDisk {
    fn new() -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new((0..DISK).map(|i| (i / 512) as u8).collect()), ..Default::default() })
    }

    fn busy(&self) -> io::Result<()> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.failing.load(Ordering::SeqCst) { Err(io::Error::other("torn cable")) } else { Ok(()) }
    }
}

impl BlockBackend for MemoryDisk {
    fn capacity(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn block_size(&self) -> u32 {
        self.block_size.max(512)
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.busy()?;
        let bytes = self.bytes.lock().unwrap();
        let mut at = offset as usize;
        for buffer in buffers {
            buffer.copy_from(&bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.busy()?;
        let mut bytes = self.bytes.lock().unwrap();
        let mut at = offset as usize;
        for buffer in buffers {
            buffer.copy_to(&mut bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.busy()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.discards.lock().unwrap().push((offset, length));
        self.busy()
    }

    fn write_zeroes(&self, offset: u64, length: u64, _: bool) -> io::Result<()> {
        self.bytes.lock().unwrap()[offset as usize..(offset + length) as usize].fill(0);
        self.busy()
    }
}

type Heard = Arc<Mutex<Vec<(IoOperation, u64, u64)>>>;

fn block(disk: &Arc<MemoryDisk>, queues: u16) -> (Arc<Block>, Heard) {
    let heard = Heard::default();
    let ear = heard.clone();
    let sink: IoErrorSink = Arc::new(move |e: IoError| ear.lock().unwrap().push((e.operation, e.offset, e.length)));
    let state = BlockState::new(&**disk, "serial-1", queues);
    (Arc::new(Block::new(disk.clone(), IoEngine::Auto, sink, state).unwrap()), heard)
}

fn started(disk: &Arc<MemoryDisk>) -> (Rig, Heard) {
    let (block, heard) = block(disk, 1);
    let mut rig = Rig::new(block);
    rig.start(EVENT_IDX | FLUSH | 1 << 13 & rig.offered() | 1 << 14 & rig.offered());
    (rig, heard)
}

/// Does one request and returns its status.
fn request(rig: &mut Rig, kind: u32, sector: u64, data: &[Piece]) -> u8 {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    rig.fill(HEADER, &header);
    rig.fill(STATUS, &[0xee]);
    let mut pieces = vec![Piece::Read(HEADER, 16)];
    pieces.extend(data);
    pieces.push(Piece::Write(STATUS, 1));
    rig.request(0, &pieces);
    rig.bytes(STATUS, 1)[0]
}

const READ: u32 = 0;
const WRITE: u32 = 1;
const SYNC: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const ZEROES: u32 = 13;

#[test]
fn sectors_are_read_and_written() {
    let disk = MemoryDisk::new();
    let (mut rig, heard) = started(&disk);
    assert_eq!(request(&mut rig, READ, 3, &[Piece::Write(BUFFER, 512), Piece::Write(BUFFER + 0x800, 1024)]), 0);
    assert_eq!(rig.bytes(BUFFER, 512), [3; 512]);
    assert_eq!((rig.bytes(BUFFER + 0x800, 512), rig.bytes(BUFFER + 0xa00, 512)), (vec![4; 512], vec![5; 512]));
    rig.fill(BUFFER, &[0xab; 1024]);
    assert_eq!(request(&mut rig, WRITE, 2046, &[Piece::Read(BUFFER, 1000), Piece::Read(BUFFER, 24)]), 0);
    assert_eq!(disk.bytes.lock().unwrap()[DISK - 1024..], [0xab; 1024]);
    assert_eq!(request(&mut rig, SYNC, 0, &[]), 0);
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 1);
    assert_eq!(request(&mut rig, GET_ID, 0, &[Piece::Write(BUFFER, 20)]), 0);
    assert_eq!(rig.bytes(BUFFER, 20), *b"serial-1\0\0\0\0\0\0\0\0\0\0\0\0");
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn what_was_read_is_dirty_and_what_was_written_from_is_not() {
    let disk = MemoryDisk::new();
    let (mut rig, _) = started(&disk);
    let dirty = |rig: &Rig, at: u64| rig.memory.iter().next().unwrap().bitmap().dirty_at(at as usize);
    assert_eq!(request(&mut rig, WRITE, 0, &[Piece::Read(BUFFER + 0x2000, 512)]), 0);
    assert_eq!(request(&mut rig, READ, 0, &[Piece::Write(BUFFER + 0x4000, 512)]), 0);
    assert_eq!((dirty(&rig, BUFFER + 0x2000), dirty(&rig, BUFFER + 0x4000)), (false, true));
}

#[test]
fn impossible_requests_fail_and_only_they() {
    let disk = MemoryDisk::new();
    let (mut rig, heard) = started(&disk);
    let data = |length| [Piece::Write(BUFFER, length)];
    for (sector, length) in [(2048, 512), (2047, 1024), (u64::MAX, 512), (u64::MAX / 512 + 1, 512), (0, 511), (0, 1)] {
        assert_eq!(request(&mut rig, READ, sector, &data(length)), 1, "{sector} {length}");
        let data = [Piece::Read(BUFFER, length)];
        assert_eq!(request(&mut rig, WRITE, sector, &data), 1, "{sector} {length}");
    }
    for kind in [2, 3, 9, 14, u32::MAX] {
        assert_eq!(request(&mut rig, kind, 0, &data(512)), 2, "{kind}");
    }
    assert_eq!(request(&mut rig, READ, 2048, &[]), 0, "nothing at the very end");
    assert!(heard.lock().unwrap().is_empty(), "these are the guest's errors");
    assert_eq!(request(&mut rig, READ, 0, &data(512)), 0);
}

#[test]
fn requests_without_header_or_status_need_a_reset() {
    let disk = MemoryDisk::new();
    let (mut rig, _) = started(&disk);
    let wrong: [&[Piece]; 6] = [
        &[Piece::Read(HEADER, 15), Piece::Write(STATUS, 1)],
        &[Piece::Write(STATUS, 1)],
        &[Piece::Read(HEADER, 16)],
        &[Piece::Read(HEADER, 16), Piece::Write(STATUS, 0)],
        &[Piece::Read(HEADER, 16), Piece::Write(RAM, 512), Piece::Write(STATUS, 1)],
        &[Piece::Read(HEADER, 16), Piece::Write(RAM - 1, 2)],
    ];
    rig.fill(HEADER, &[0; 16]);
    for pieces in wrong {
        rig.start(FLUSH);
        rig.post(0, pieces);
        rig.kick(0);
        rig.wait_needs_reset();
    }
    rig.start(FLUSH);
    assert_eq!(request(&mut rig, READ, 0, &[Piece::Write(BUFFER, 512)]), 0);
}

#[test]
fn a_header_in_pieces_is_a_header() {
    let disk = MemoryDisk::new();
    let (mut rig, _) = started(&disk);
    rig.fill(HEADER, &[0; 16]);
    rig.fill(HEADER + 8, &[7]);
    let header = [Piece::Read(HEADER, 5), Piece::Read(HEADER + 5, 0), Piece::Read(HEADER + 5, 11)];
    let mut pieces = header.to_vec();
    // Data and status share a descriptor.
    pieces.push(Piece::Write(BUFFER, 513));
    assert_eq!(rig.request(0, &pieces), 513);
    assert_eq!((rig.bytes(BUFFER, 512), rig.bytes(BUFFER + 512, 1)), (vec![7; 512], vec![0]));
}

#[test]
fn host_errors_reach_the_guest_and_the_embedder() {
    let disk = MemoryDisk::new();
    let (mut rig, heard) = started(&disk);
    disk.failing.store(true, Ordering::SeqCst);
    assert_eq!(request(&mut rig, READ, 4, &[Piece::Write(BUFFER, 512)]), 1);
    assert_eq!(request(&mut rig, WRITE, 5, &[Piece::Read(BUFFER, 1024)]), 1);
    assert_eq!(request(&mut rig, SYNC, 0, &[]), 1);
    let expected = [(IoOperation::Read, 2048, 512), (IoOperation::Write, 2560, 1024), (IoOperation::Flush, 0, 0)];
    assert_eq!(*heard.lock().unwrap(), expected);
    disk.failing.store(false, Ordering::SeqCst);
    assert_eq!(request(&mut rig, READ, 4, &[Piece::Write(BUFFER, 512)]), 0);
}

fn range(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    (u128::from(sector) | u128::from(sectors) << 64 | u128::from(flags) << 96).to_le_bytes()
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let disk = MemoryDisk::new();
    let (mut rig, heard) = started(&disk);
    rig.fill(BUFFER, &[range(8, 8, 0), range(100, 1, 0)].concat());
    assert_eq!(request(&mut rig, DISCARD, 0, &[Piece::Read(BUFFER, 32)]), 0);
    assert_eq!(*disk.discards.lock().unwrap(), [(4096, 4096), (51200, 512)]);
    rig.fill(BUFFER, &range(2, 3, 1));
    assert_eq!(request(&mut rig, ZEROES, 0, &[Piece::Read(BUFFER, 16)]), 0);
    assert_eq!(disk.bytes.lock().unwrap()[1023..1026], [1, 0, 0]);
    assert_eq!(disk.bytes.lock().unwrap()[2559..2561], [0, 5]);
    for (kind, bytes, status) in [
        (DISCARD, range(8, 8, 1), 2),
        (ZEROES, range(8, 8, 2), 2),
        (DISCARD, range(2048, 1, 0), 1),
        (ZEROES, range(u64::MAX, u32::MAX, 0), 1),
        (ZEROES, range(0, u32::MAX, 0), 1),
    ] {
        rig.fill(BUFFER, &bytes);
        assert_eq!(request(&mut rig, kind, 0, &[Piece::Read(BUFFER, 16)]), status, "{kind} {bytes:?}");
    }
    for length in [0, 15, 17, 33 * 16] {
        assert_eq!(request(&mut rig, DISCARD, 0, &[Piece::Read(BUFFER, length)]), 1, "{length}");
    }
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn a_read_only_disk_is_not_written() {
    let disk = Arc::new(MemoryDisk { read_only: true, bytes: Mutex::new(vec![9; DISK]), ..Default::default() });
    let (mut rig, _) = started(&disk);
    assert_eq!(rig.offered() & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    assert_eq!(request(&mut rig, WRITE, 0, &[Piece::Read(BUFFER, 512)]), 1);
    rig.fill(BUFFER, &range(0, 1, 0));
    assert_eq!(request(&mut rig, DISCARD, 0, &[Piece::Read(BUFFER, 16)]), 1);
    assert_eq!(request(&mut rig, ZEROES, 0, &[Piece::Read(BUFFER, 16)]), 1);
    assert_eq!(request(&mut rig, READ, 0, &[Piece::Write(BUFFER, 512)]), 0);
    assert_eq!(*disk.bytes.lock().unwrap(), [9; DISK]);
}

#[test]
fn without_flushing_every_write_is_durable() {
    let disk = MemoryDisk::new();
    let (block, _) = block(&disk, 1);
    let mut rig = Rig::new(block);
    rig.start(0);
    assert_eq!(request(&mut rig, WRITE, 0, &[Piece::Read(BUFFER, 512)]), 0);
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn growing_tells_the_driver() {
    let disk = MemoryDisk::new();
    let (block, _) = block(&disk, 4);
    let mut rig = Rig::new(block.clone());
    rig.start(FLUSH);
    assert_eq!((rig.config(0), rig.config(34)), (2048_u64.to_le_bytes(), 4_u16.to_le_bytes()));
    assert_eq!(rig.offered() & 1 << 12, 1 << 12);
    let generation = rig.read::<1>(0x15);
    disk.bytes.lock().unwrap().resize(2 * DISK, 1);
    assert_eq!(request(&mut rig, READ, 2048, &[Piece::Write(BUFFER, 512)]), 1);
    block.refresh_capacity();
    rig.pci.config_changed();
    assert_eq!((rig.config(0), rig.interrupts(4)), (4096_u64.to_le_bytes(), 1));
    assert_ne!(rig.read::<1>(0x15), generation);
    assert_eq!(rig.read::<1>(0x1000)[0] & 2, 2);
    assert_eq!(request(&mut rig, READ, 2048, &[Piece::Write(BUFFER, 512)]), 0);
}

#[test]
fn all_queues_work() {
    let disk = MemoryDisk::new();
    let (block, _) = block(&disk, 4);
    let mut rig = Rig::new(block);
    rig.start(FLUSH);
    rig.fill(HEADER, &[0; 16]);
    for queue in 0..4 {
        let pieces = [Piece::Read(HEADER, 16), Piece::Write(BUFFER, 512), Piece::Write(STATUS, 1)];
        assert_eq!(rig.request(queue, &pieces), 513);
        wait("an interrupt", || rig.interrupts(queue) > 0);
    }
}

/// Posts as many slow reads as fit, and notifies.
fn busy(rig: &mut Rig, disk: &MemoryDisk) {
    disk.slow.store(true, Ordering::SeqCst);
    rig.fill(HEADER, &[0; 16]);
    for _ in 0..5 {
        rig.post(0, &[Piece::Read(HEADER, 16), Piece::Write(BUFFER, 512), Piece::Write(STATUS, 1)]);
    }
    rig.kick(0);
    wait("a request in flight", || disk.in_flight.load(Ordering::SeqCst) > 0 || rig.used_index(0) > 0);
}

#[test]
fn a_busy_disk_moves_without_losing_a_request() {
    let disk = MemoryDisk::new();
    let (mut rig, _) = started(&disk);
    busy(&mut rig, &disk);
    let mut rig = rig.moved(|state| {
        let DeviceState::Block(state) = &state.device else { panic!("not a disk") };
        Arc::new(Block::new(disk.clone(), IoEngine::Auto, Arc::new(|_| {}), state.clone()).unwrap())
            as Arc<dyn VirtioDevice>
    });
    rig.pci.resume();
    for _ in 0..5 {
        assert_eq!(rig.used(0).1, 513);
    }
    assert_eq!(request(&mut rig, READ, 1, &[Piece::Write(BUFFER, 512)]), 0);
}

#[test]
fn resetting_a_busy_disk_ends_its_requests() {
    let disk = MemoryDisk::new();
    let (mut rig, _) = started(&disk);
    busy(&mut rig, &disk);
    rig.set_status(0);
    assert_eq!(disk.in_flight.load(Ordering::SeqCst), 0);
    disk.slow.store(false, Ordering::SeqCst);
    rig.start(FLUSH);
    assert_eq!(request(&mut rig, READ, 1, &[Piece::Write(BUFFER, 512)]), 0);
}

#[test]
fn the_driver_is_told_of_large_blocks_wherever_the_disk_moves() {
    // Whether the topology is offered; sectors, exponent and minimum block size, and the alignment of discards.
    let told = |rig: &Rig| {
        let word = |at| u32::from_le_bytes(rig.config(at));
        (rig.offered() >> 10 & 1 != 0, word(20), rig.config::<1>(24)[0], u16::from_le_bytes(rig.config(26)), word(44))
    };
    let new = |block_size| {
        let bytes = Mutex::new(vec![0; DISK]);
        Arc::new(MemoryDisk { block_size, bytes, ..MemoryDisk::default() })
    };
    let cases = [
        (512, (false, 512, 0, 0, 8)),
        (4096, (true, 512, 3, 8, 8)),
        (65_536, (true, 512, 7, 128, 128)),
        // Invalid block sizes are not passed on.
        (3000, (false, 512, 0, 0, 8)),
        (1 << 30, (false, 512, 0, 0, 8)),
    ];
    for (size, expected) in cases {
        let mut rig = Rig::new(block(&new(size), 1).0);
        rig.start(rig.offered());
        assert_eq!(told(&rig), expected, "{size}");
        let rig = rig.moved(|state| {
            let DeviceState::Block(state) = &state.device else { panic!("not a disk") };
            Arc::new(Block::new(new(512), IoEngine::Auto, Arc::new(|_| {}), state.clone()).unwrap())
        });
        assert_eq!(told(&rig), expected, "{size}, moved to small blocks");
    }
}

#[test]
fn a_disk_that_does_not_fit_its_state_is_refused() {
    let disk = MemoryDisk::new();
    let new = |disk: &Arc<MemoryDisk>, state: BlockState| {
        Block::new(disk.clone(), IoEngine::Auto, Arc::new(|_| {}), state).map(|_| ())
    };
    let state = BlockState::new(&*disk, "x", 1);
    new(&disk, state.clone()).unwrap();
    new(&disk, BlockState { sectors: 5, ..state.clone() }).unwrap();
    assert!(new(&disk, BlockState { sectors: 2049, ..state.clone() }).is_err());
    assert!(new(&disk, BlockState { sectors: u64::MAX, ..state.clone() }).is_err());
    assert!(new(&disk, BlockState { serial: "x".repeat(21), ..state.clone() }).is_err());
    assert!(new(&disk, BlockState { queues: 0, ..state.clone() }).is_err());
    assert!(new(&disk, BlockState { block_size: 0, ..state.clone() }).is_err());
    let fixed = Arc::new(MemoryDisk { read_only: true, bytes: Mutex::new(vec![0; DISK]), ..Default::default() });
    assert!(new(&fixed, state).is_err());
}

#[test]
fn requests_over_the_limit_wait_in_all_queues_and_a_change_reaches_them() {
    let disk = MemoryDisk::new();
    let (block, _) = block(&disk, 2);
    let limit = |rate| RateLimit::none().operations_per_second(rate).operations_burst(1);
    block.set_limit(limit(50));
    let mut rig = Rig::new(block.clone());
    rig.start(EVENT_IDX | FLUSH);
    rig.fill(HEADER, &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let began = Instant::now();
    for queue in [0, 1, 0, 1, 0, 1] {
        rig.post(queue, &[Piece::Read(HEADER, 16), Piece::Write(STATUS, 1)]);
    }
    rig.kick(0);
    rig.kick(1);
    for queue in [0, 1, 0, 1] {
        rig.used(queue);
    }
    assert!(began.elapsed() >= Duration::from_millis(3 * 20), "{:?}", began.elapsed());
    block.set_limit(RateLimit::none());
    rig.pci.kick();
    rig.used(0);
    rig.used(1);
    assert_eq!((disk.flushes.load(Ordering::SeqCst), block.limit()), (6, RateLimit::none()));
}
