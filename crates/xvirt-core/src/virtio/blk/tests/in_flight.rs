//! Many requests in flight: their order, and that each of them completes.

use std::collections::HashSet;
use std::sync::Condvar;

use super::*;
use crate::virtio::testing::{INDIRECT, NEXT, SIZE, WRITE as WRITABLE};

/// Longer than anything takes that does not wait.
const MOMENT: Duration = Duration::from_millis(30);

/// A disk whose transfers at a given offset complete only when allowed.
#[derive(Debug, Default)]
struct GatedDisk {
    allowed: Mutex<(bool, HashSet<u64>)>,
    changed: Condvar,
    /// The number of operations that have begun.
    begun: AtomicUsize,
    /// The completed operations with their offsets, in order.
    log: Mutex<Vec<(IoOperation, u64)>>,
}

impl GatedDisk {
    fn allow(&self, sector: u64) {
        self.allowed.lock().unwrap().1.insert(sector * 512);
        self.changed.notify_all();
    }

    fn allow_all(&self) {
        self.allowed.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    fn pass(&self, operation: IoOperation, offset: u64) -> io::Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut allowed = self.allowed.lock().unwrap();
        while !allowed.0 && !allowed.1.contains(&offset) {
            allowed = self.changed.wait(allowed).unwrap();
        }
        self.log.lock().unwrap().push((operation, offset / 512));
        Ok(())
    }

    fn log(&self) -> Vec<(IoOperation, u64)> {
        self.log.lock().unwrap().clone()
    }
}

impl BlockBackend for GatedDisk {
    fn capacity(&self) -> u64 {
        DISK as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, _: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.pass(IoOperation::Read, offset)
    }

    fn write(&self, _: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.pass(IoOperation::Write, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.log.lock().unwrap().push((IoOperation::Flush, 0));
        Ok(())
    }

    fn discard(&self, offset: u64, _: u64) -> io::Result<()> {
        self.pass(IoOperation::Discard, offset)
    }

    fn write_zeroes(&self, offset: u64, _: u64, _: bool) -> io::Result<()> {
        self.pass(IoOperation::WriteZeroes, offset)
    }
}

fn gated(features: u64) -> (Rig, Arc<GatedDisk>) {
    let disk = Arc::new(GatedDisk::default());
    let state = BlockState::new(&*disk, "", 1);
    let block = Block::new(disk.clone(), IoEngine::Auto, Arc::new(|_| {}), state).unwrap();
    let mut rig = Rig::new(Arc::new(block));
    rig.start(features);
    (rig, disk)
}

/// Posts a request with a buffer of its own, and returns its head.
fn post(rig: &mut Rig, kind: u32, sector: u64) -> u32 {
    let at = DATA + 0x1000 * (sector + 1);
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    rig.fill(at, &header);
    rig.fill(at + 16, &[0xee]);
    let data = if kind == WRITE { Piece::Read(at + 512, 512) } else { Piece::Write(at + 512, 512) };
    let pieces = [Piece::Read(at, 16), data, Piece::Write(at + 16, 1)];
    let without_data = [Piece::Read(at, 16), Piece::Write(at + 16, 1)];
    let head = if kind == SYNC { rig.post(0, &without_data) } else { rig.post(0, &pieces) };
    rig.kick(0);
    head.into()
}

#[test]
fn requests_end_in_whatever_order_they_are_done() {
    let (mut rig, disk) = gated(FLUSH);
    let heads: Vec<_> = (0..4).map(|sector| post(&mut rig, READ, sector)).collect();
    for sector in [2, 0, 3, 1] {
        disk.allow(sector);
        assert_eq!(rig.used(0), (heads[sector as usize], 513));
        assert_eq!(rig.bytes(DATA + 0x1000 * (sector + 1) + 16, 1), [0]);
    }
}

#[test]
fn a_flush_waits_for_no_write_that_is_in_flight_and_follows_those_that_ended() {
    let (mut rig, disk) = gated(FLUSH);
    let slow = post(&mut rig, WRITE, 0);
    let quick = post(&mut rig, WRITE, 1);
    disk.allow(1);
    assert_eq!(rig.used(0).0, quick);
    let flush = post(&mut rig, SYNC, 5);
    assert_eq!(rig.used(0).0, flush);
    assert_eq!(disk.log(), [(IoOperation::Write, 1), (IoOperation::Flush, 0)]);
    disk.allow(0);
    assert_eq!(rig.used(0).0, slow);
}

#[test]
fn a_driver_that_cannot_flush_hears_of_a_write_when_it_is_durable() {
    let (mut rig, disk) = gated(0);
    let slow = post(&mut rig, WRITE, 0);
    let quick = post(&mut rig, WRITE, 1);
    disk.allow(1);
    assert_eq!(rig.used(0).0, quick);
    assert_eq!(disk.log(), [(IoOperation::Write, 1), (IoOperation::Flush, 0)]);
    disk.allow(0);
    assert_eq!(rig.used(0).0, slow);
    assert_eq!(disk.log()[2..], [(IoOperation::Write, 0), (IoOperation::Flush, 0)]);
}

/// Runs `action` on another thread and checks that it waits for the requests in flight.
fn waits(disk: &GatedDisk, action: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(action);
        std::thread::sleep(MOMENT);
        assert!(!waiting.is_finished(), "it did not wait");
        disk.allow_all();
        waiting.join().unwrap();
    });
}

#[test]
fn pausing_waits_for_what_is_in_flight_and_takes_nothing_more() {
    let (mut rig, disk) = gated(FLUSH);
    for sector in 0..4 {
        post(&mut rig, READ, sector);
    }
    // Then at least one is in flight, and the worker has seen the others.
    disk.allow(0);
    rig.used(0);
    let pci = rig.pci.clone();
    waits(&disk, || pci.pause());
    let used = rig.used_index(0);
    assert_eq!(usize::from(used), disk.log().len());
    post(&mut rig, READ, 4);
    let rig = rig.moved(|state| {
        let DeviceState::Block(state) = &state.device else { panic!("not a disk") };
        let block = Block::new(disk.clone(), IoEngine::Threads, Arc::new(|_| {}), state.clone()).unwrap();
        Arc::new(block) as Arc<dyn VirtioDevice>
    });
    assert_eq!(rig.used_index(0), used, "a paused disk took a request");
    rig.pci.resume();
    wait("the rest", || rig.used_index(0) == 5);
    assert_eq!(disk.log().len(), 5, "a request was done twice");
}

#[test]
fn a_reset_waits_for_what_is_in_flight() {
    let (mut rig, disk) = gated(FLUSH);
    for sector in 0..3 {
        post(&mut rig, WRITE, sector);
    }
    disk.allow(1);
    rig.used(0);
    waits(&disk, || rig.set_status(0));
    let done = disk.log().len();
    rig.start(FLUSH);
    assert_eq!(request(&mut rig, READ, 1, &[Piece::Write(BUFFER, 512)]), 0);
    assert_eq!(disk.log().len(), done + 1, "a request outlived the reset");
}

#[test]
fn stopping_waits_for_what_is_in_flight() {
    let (mut rig, disk) = gated(FLUSH);
    for sector in 0..2 {
        post(&mut rig, WRITE, sector);
    }
    disk.allow(1);
    rig.used(0);
    waits(&disk, || rig.pci.stop());
}

#[test]
fn a_full_queue_goes_on_when_a_request_has_ended() {
    let (mut rig, disk) = gated(FLUSH);
    // As many chains as descriptors, one descriptor each: an indirect table holds header, data and status.
    for sector in 0..u64::from(SIZE) {
        let at = DATA + 0x1000 * (sector + 1);
        rig.fill(at, &[0; 16]);
        rig.fill(at + 8, &sector.to_le_bytes());
        rig.write_descriptor(at + 0x100, at, 16, NEXT, 1);
        rig.write_descriptor(at + 0x110, at + 512, 513, WRITABLE, 0);
        rig.descriptor(0, sector as u16, at + 0x100, 32, INDIRECT, 0);
        rig.offer(0, sector as u16);
    }
    rig.kick(0);
    wait("a request in flight", || disk.begun.load(Ordering::SeqCst) > 0);
    // Now the device has the whole queue, and wants no notification until a request has completed.
    rig.offer(0, 3);
    disk.allow(5);
    assert_eq!(rig.used(0), (5, 513));
    disk.allow_all();
    for _ in 0..SIZE {
        assert_eq!(rig.used(0).1, 513);
    }
}
