use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::device::Device;
use crate::memory::{GuestRam, resident};
use crate::virtio::BalloonState;
use crate::virtio::testing::{DATA, EVENT_IDX, Piece, RAM, Rig, wait};

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATISTICS: usize = 2;
const ALL: u64 = 0b11_0110 | EVENT_IDX;
const PAGE: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
/// The address of requests; the pages they name follow.
const REQUEST: u64 = DATA;

fn balloon(interval: Option<Duration>) -> Arc<Balloon> {
    Arc::new(Balloon::new(interval, BalloonState::new(0, true)).unwrap())
}

fn started(features: u64) -> (Rig, Arc<Balloon>) {
    let balloon = balloon(None);
    let mut rig = Rig::new(balloon.clone());
    rig.start(features);
    rig.fill(DATA, &vec![0xa5; (RAM - DATA) as usize]);
    (rig, balloon)
}

/// A request for these page numbers.
fn numbers(rig: &mut Rig, queue: usize, pages: &[u32]) {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    rig.fill(REQUEST, &bytes);
    rig.request(queue, &[Piece::Read(REQUEST, bytes.len() as u32)]);
}

fn page(address: u64) -> u32 {
    (address / PAGE) as u32
}

fn set_config(rig: &Rig, offset: u64, value: u32) {
    rig.write(0x2000 + offset, &value.to_le_bytes());
}

/// Writes statistics into the driver's buffer.
fn fill_statistics(rig: &Rig, entries: &[(u16, u64)]) -> u32 {
    let bytes: Vec<u8> =
        entries.iter().flat_map(|(tag, value)| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat()).collect();
    rig.fill(REQUEST, &bytes);
    bytes.len() as u32
}

/// Answers a request for statistics: waits until the buffer is used, and posts it again with fresh ones.
fn answer(rig: &mut Rig, entries: &[(u16, u64)]) {
    rig.used(STATISTICS);
    let length = fill_statistics(rig, entries);
    rig.post(STATISTICS, &[Piece::Read(REQUEST, length)]);
    rig.kick(STATISTICS);
}

#[test]
fn pages_in_the_balloon_are_the_hosts_until_they_are_touched() {
    let (mut rig, _) = started(ALL);
    let first = DATA + 0x10_0000;
    let pages = [3, 1, 2, 2, 7].map(|i| page(first + i * PAGE));
    numbers(&mut rig, INFLATE, &pages);
    let expected = [true, false, false, false, true, true, true, false, true];
    assert_eq!(resident(&rig.memory, first, 9), expected);
    assert_eq!(rig.bytes(first + PAGE, 8), [0; 8]);
    rig.fill(first + PAGE, b"mine");
    numbers(&mut rig, DEFLATE, &pages);
    assert_eq!(rig.bytes(first + PAGE, 4), b"mine");
    assert_eq!(rig.bytes(first + 8 * PAGE, 1), [0xa5]);
}

#[test]
fn memory_that_was_given_back_counts_as_written() {
    let dirty = |memory: &GuestRam, address: u64| {
        memory.find_region(GuestAddress(0)).unwrap().bitmap().dirty_at(address as usize)
    };
    let balloon = balloon(None);
    let mut rig = Rig::new(balloon);
    rig.start(ALL);
    let untouched = DATA + 0x10_0000;
    numbers(&mut rig, INFLATE, &[page(untouched)]);
    assert_eq!([untouched - PAGE, untouched, untouched + PAGE].map(|at| dirty(&rig.memory, at)), [false, true, false]);
}

#[test]
fn hostile_page_numbers_touch_nothing_else() {
    let (mut rig, _) = started(ALL);
    rig.fill(0xe_0000, b"tables");
    rig.fill(0x1000, b"low");
    let everything: Vec<u32> = (0..256).chain([page(RAM), page(RAM) + 1, u32::MAX - 1, u32::MAX, 1 << 20]).collect();
    numbers(&mut rig, INFLATE, &everything);
    assert_eq!((rig.bytes(0xe_0000, 6), rig.bytes(0x1000, 3)), (b"tables".to_vec(), b"low".to_vec()));
    assert_eq!(rig.bytes(RAM - PAGE, 1), [0xa5]);
    // Odd lengths, empty requests, and writable instead of readable buffers.
    for pieces in [vec![Piece::Read(REQUEST, 3)], vec![Piece::Write(REQUEST, 64)], vec![Piece::Read(REQUEST, 0)]] {
        rig.request(INFLATE, &pieces);
    }
    assert_eq!(rig.status() & 0x40, 0);
    rig.post(INFLATE, &[Piece::Read(RAM - 4, 8)]);
    rig.kick(INFLATE);
    rig.wait_needs_reset();
}

#[test]
fn an_endless_request_is_cut() {
    let (mut rig, _) = started(ALL);
    // The page numbers lie in the first 64 KiB, and only the 32,769th is valid.
    let list = DATA + 0x10_0000;
    rig.fill(list, &vec![0; 0x4_0000]);
    rig.fill(list + 4 * 0x8000, &page(RAM - PAGE).to_le_bytes());
    rig.request(INFLATE, &[Piece::Read(list, 0x4_0000)]);
    assert_eq!(rig.bytes(RAM - PAGE, 1), [0xa5]);
    rig.request(INFLATE, &[Piece::Read(list + 4 * 0x8000, 4)]);
    assert_eq!(rig.bytes(RAM - PAGE, 1), [0]);
}

#[test]
fn reported_pages_go_back_by_either_queue_unless_they_are_poisoned() {
    for queue in [3, 4] {
        let (mut rig, _) = started(ALL);
        let (one, two) = (DATA + 0x10_0000, DATA + 0x20_0000);
        set_config(&rig, 12, 0xaaaa_aaaa);
        rig.request(queue, &[Piece::Write(one, 0x4000)]);
        assert_eq!(rig.bytes(one, 1), [0xa5], "poison");
        set_config(&rig, 12, 0);
        rig.request(queue, &[Piece::Write(one, 0x4000), Piece::Write(two, 0x1000)]);
        assert_eq!(resident(&rig.memory, one, 5), [false, false, false, false, true]);
        assert_eq!(resident(&rig.memory, two, 2), [false, true]);
        // Ranges outside of memory, ranges that wrap around, and one larger than memory.
        for (address, length) in [(RAM, u32::MAX), (8, 0x8_0000), (0xffff_f000, 0x2000), (u64::MAX - 0x1fff, 0x1000)] {
            rig.request(queue, &[Piece::Write(address, length)]);
        }
        assert_eq!((rig.status() & 0x40, rig.bytes(RAM - 1, 1)), (0, vec![0xa5]));
    }
}

#[test]
fn a_driver_without_the_feature_reports_nothing() {
    let (mut rig, _) = started(EVENT_IDX);
    rig.request(4, &[Piece::Write(DATA + 0x10_0000, 0x1000)]);
    assert_eq!(rig.bytes(DATA + 0x10_0000, 1), [0xa5]);
}

#[test]
fn the_target_is_told_and_survives_a_reset_but_not_what_the_driver_said() {
    let (mut rig, balloon) = started(ALL);
    balloon.set_target(1000);
    rig.pci.config_changed();
    wait("a configuration interrupt", || rig.interrupts(5) == 1);
    assert_eq!(rig.config(0), 1000_u32.to_le_bytes());
    assert!(!balloon.wait_target(Duration::ZERO).unwrap());
    set_config(&rig, 4, 1000);
    set_config(&rig, 0, 7);
    rig.write(0x2000 + 4, &[1]);
    assert!(balloon.wait_target(PATIENCE).unwrap());
    assert_eq!((rig.config(0), rig.config(4)), (1000_u32.to_le_bytes(), 1000_u32.to_le_bytes()));
    rig.set_status(0);
    assert_eq!((balloon.state().target, balloon.state().actual), (1000, 0));
    // Statistics of a driver that never became ready do not count either.
    set_config(&rig, 4, 1000);
    rig.start(ALL);
    assert_eq!((rig.config(0), rig.config(4)), (1000_u32.to_le_bytes(), [0; 4]));
}

#[test]
fn statistics_come_at_the_start_and_when_asked() {
    for features in [ALL, ALL & !EVENT_IDX] {
        let before = SystemTime::now();
        let (mut rig, balloon) = started(features);
        let length = fill_statistics(&rig, &[(6, 600), (4, 400), (99, 1), (7, 700)]);
        rig.post(STATISTICS, &[Piece::Read(REQUEST, length)]);
        rig.kick(STATISTICS);
        wait("statistics", || balloon.report().is_some());
        let report = balloon.report().unwrap();
        assert_eq!((report.available, report.free, report.disk_caches), (Some(600), Some(400), Some(700)));
        assert_eq!((report.total, report.swapped_in), (None, None));
        assert!(report.taken >= before);
        assert_eq!(rig.used_index(STATISTICS), 0, "nobody asked again");

        let asking = std::thread::spawn({
            let balloon = balloon.clone();
            move || balloon.refresh(PATIENCE).unwrap()
        });
        answer(&mut rig, &[(6, 601), (0, 1), (1, 2), (2, 3), (3, u64::MAX)]);
        assert!(asking.join().unwrap());
        let report = balloon.report().unwrap();
        assert_eq!((report.available, report.free), (Some(601), None));
        assert_eq!((report.swapped_in, report.swapped_out), (Some(1), Some(2)));
        assert_eq!((report.major_faults, report.minor_faults), (Some(3), Some(u64::MAX)));
    }
}

#[test]
fn statistics_come_each_interval() {
    let balloon = balloon(Some(Duration::from_millis(2)));
    let mut rig = Rig::new(balloon.clone());
    rig.start(ALL);
    let length = fill_statistics(&rig, &[(6, 0)]);
    rig.post(STATISTICS, &[Piece::Read(REQUEST, length)]);
    rig.kick(STATISTICS);
    for i in 1..5 {
        answer(&mut rig, &[(6, i)]);
        wait("statistics", || balloon.report().unwrap().available == Some(i));
    }
}

#[test]
fn asking_ends_when_the_driver_is_silent_or_goes() {
    let (rig, balloon) = started(ALL);
    assert!(!balloon.refresh(Duration::from_millis(5)).unwrap());
    let asking = std::thread::spawn({
        let balloon = balloon.clone();
        move || (balloon.refresh(PATIENCE * 100).unwrap(), Instant::now())
    });
    rig.set_status(0);
    assert!(!asking.join().unwrap().0);
    assert!(!balloon.answers());
}

#[test]
fn broken_statistics_are_read_as_far_as_they_go() {
    let (mut rig, balloon) = started(ALL);
    rig.fill(REQUEST, &[6, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1]);
    rig.post(STATISTICS, &[Piece::Read(REQUEST, 13)]);
    rig.kick(STATISTICS);
    wait("statistics", || balloon.report().is_some());
    assert_eq!((balloon.report().unwrap().available, balloon.report().unwrap().disk_caches), (Some(1), None));
    let asking = std::thread::spawn({
        let balloon = balloon.clone();
        move || balloon.refresh(PATIENCE).unwrap()
    });
    rig.used(STATISTICS);
    rig.post(STATISTICS, &[Piece::Read(REQUEST, (RAM - REQUEST) as u32)]);
    rig.kick(STATISTICS);
    assert!(asking.join().unwrap());
}

#[test]
fn a_balloon_moves_with_its_size_and_the_buffer_it_holds() {
    let (mut rig, balloon) = started(ALL);
    balloon.set_target(5);
    set_config(&rig, 4, 3);
    set_config(&rig, 12, 9);
    let length = fill_statistics(&rig, &[(6, 1)]);
    rig.post(STATISTICS, &[Piece::Read(REQUEST, length)]);
    rig.kick(STATISTICS);
    wait("statistics", || balloon.report().is_some());
    let mut moved = None;
    let mut rig = rig.moved(|state| {
        let crate::virtio::DeviceState::Balloon(state) = state.device.clone() else { panic!("not a balloon") };
        moved.insert(Arc::new(Balloon::new(None, state).unwrap())).clone()
    });
    rig.pci.resume();
    let balloon = moved.unwrap();
    assert_eq!(balloon.state(), BalloonState { target: 5, actual: 3, poison: 9, reporting: true });
    let asking = std::thread::spawn({
        let balloon = balloon.clone();
        move || balloon.refresh(PATIENCE).unwrap()
    });
    answer(&mut rig, &[(6, 2)]);
    assert!(asking.join().unwrap());
    assert_eq!(balloon.report().unwrap().available, Some(2));
}
