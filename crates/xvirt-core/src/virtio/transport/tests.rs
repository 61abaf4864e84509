use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ErrorKind;
use crate::bus::BusDevice;
use crate::device::{Device, reset_all};
use crate::pci::testing::TestHost;
use crate::pci::{PciBus, PciFunction};
use crate::sync::lock;
use crate::virtio::testing::{
    BAR, DATA, EVENT_IDX, FIRST_MESSAGE, INDIRECT, NEXT, Piece, RAM, Rig, SIZE, VERSION_1, WRITE, base, ram,
};
use crate::virtio::{Rng, VirtioDevice};

fn rig() -> Rig {
    Rig::new(Arc::new(Rng))
}

fn started() -> Rig {
    let mut rig = rig();
    rig.start(EVENT_IDX);
    rig
}

fn read(device: &dyn BusDevice, offset: u64) -> u32 {
    let mut data = [0; 4];
    device.read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn the_bus_shows_a_modern_device_with_its_structures() {
    let (rig, bus) = (rig(), PciBus::new(None).unwrap());
    bus.insert(1, rig.pci.clone()).unwrap();
    let (ecam, slot) = (bus.ecam(), 1 << 15);
    assert_eq!(read(&*ecam, slot), 0x1044_1af4);
    assert_eq!(read(&*ecam, slot | 8), 0xff00_0001);
    assert_eq!(read(&*ecam, slot | 0x10), BAR as u32 | 4);
    let mut capability = u64::from(read(&*ecam, slot | 0x34) & 0xff);
    let mut found = Vec::new();
    while capability != 0 {
        let head = read(&*ecam, slot | capability);
        found.push((head as u8, if head as u8 == 9 { (head >> 24) as u8 } else { 0 }));
        capability = u64::from(head >> 8 & 0xff);
    }
    assert_eq!(found, [(9, 1), (9, 3), (9, 4), (9, 2), (9, 5), (0x11, 0)]);
}

#[test]
fn only_offered_features_with_version_1_are_accepted() {
    let rig = rig();
    assert_eq!(rig.offered(), VERSION_1 | EVENT_IDX | 1 << 28);
    for (features, status) in [(VERSION_1 | 1, 3), (EVENT_IDX, 3), (VERSION_1 | 1 << 34, 3), (VERSION_1, 11)] {
        rig.set_status(0);
        rig.set_status(3);
        rig.accept(features);
        rig.set_status(11);
        assert_eq!(rig.status(), status, "{features:#x}");
        rig.set_status(15);
        assert_eq!(rig.status(), if status == 11 { 15 } else { 3 | 4 & status }, "{features:#x}");
    }
}

#[test]
fn requests_are_served_with_one_interrupt_each() {
    let mut rig = started();
    rig.request(0, &[Piece::Write(DATA, 64)]);
    assert_ne!(rig.bytes(DATA, 64), [0; 64]);
    let mut sent = Vec::new();
    crate::virtio::testing::wait("an interrupt", || {
        sent.extend(rig.host.taken(FIRST_MESSAGE));
        !sent.is_empty()
    });
    assert_eq!(sent, [0xfee0_0000]);
    assert_eq!(rig.read::<1>(0x1000), [1]);
    assert_eq!(rig.read::<1>(0x1000), [0], "reading clears it");
    assert_eq!(rig.host.doorbells(), [BAR + 0x3000]);
}

#[test]
fn a_queue_goes_round_many_times() {
    for features in [0, EVENT_IDX, EVENT_IDX | 1 << 28] {
        let mut rig = rig();
        rig.start(features);
        for _ in 0..SIZE * 5 {
            assert_eq!(rig.request(0, &[Piece::Write(DATA, 8), Piece::Write(DATA + 8, 8)]), 16);
        }
    }
}

#[test]
fn indirect_tables_work() {
    let mut rig = started();
    rig.write_descriptor(DATA, DATA + 0x1000, 5, WRITE | NEXT, 2);
    rig.write_descriptor(DATA + 32, DATA + 0x2000, 6, WRITE, 0);
    rig.descriptor(0, 3, DATA, 48, INDIRECT, 0);
    rig.offer(0, 3);
    rig.kick(0);
    assert_eq!(rig.used(0), (3, 11));
}

#[test]
fn a_hostile_driver_gets_needs_reset_and_then_works_again() {
    type Attack = fn(&mut Rig);
    let attacks: [(&str, Attack); 12] = [
        ("loop", |r| {
            r.descriptor(0, 0, DATA, 8, WRITE | NEXT, 1);
            r.descriptor(0, 1, DATA, 8, WRITE | NEXT, 0);
            r.offer(0, 0);
        }),
        ("next beyond the table", |r| {
            r.descriptor(0, 0, DATA, 8, WRITE | NEXT, SIZE);
            r.offer(0, 0);
        }),
        ("head beyond the table", |r| r.offer(0, SIZE)),
        ("buffer outside", |r| _ = r.post(0, &[Piece::Write(RAM, 8)])),
        ("buffer half outside", |r| _ = r.post(0, &[Piece::Write(RAM - 4, 8)])),
        ("buffer wraps", |r| _ = r.post(0, &[Piece::Write(u64::MAX - 3, 8)])),
        ("longer than 4 GiB", |r| _ = r.post(0, &[Piece::Write(DATA, u32::MAX), Piece::Write(DATA, u32::MAX)])),
        ("readable after writable", |r| _ = r.post(0, &[Piece::Write(DATA, 8), Piece::Read(DATA, 8)])),
        ("more chains than the ring has", |r| r.set_available(0, SIZE + 1)),
        ("odd indirect table", |r| {
            r.descriptor(0, 0, DATA, 17, INDIRECT, 0);
            r.offer(0, 0);
        }),
        ("indirect in indirect", |r| {
            r.write_descriptor(DATA, DATA, 16, INDIRECT, 0);
            r.descriptor(0, 0, DATA, 16, INDIRECT, 0);
            r.offer(0, 0);
        }),
        ("endless indirect table", |r| {
            for i in 0..2000_u16 {
                r.write_descriptor(DATA + 16 * u64::from(i), DATA, 1, WRITE | NEXT, i + 1);
            }
            r.descriptor(0, 0, DATA, 2000 * 16, INDIRECT, 0);
            r.offer(0, 0);
        }),
    ];
    let mut rig = rig();
    for (name, attack) in attacks {
        rig.start(EVENT_IDX);
        rig.interrupts(1);
        attack(&mut rig);
        rig.kick(0);
        eprintln!("{name}");
        rig.wait_needs_reset();
        crate::virtio::testing::wait("a configuration interrupt", || rig.interrupts(1) == 1);
        rig.kick(0);
        rig.start(EVENT_IDX);
        assert_eq!(rig.request(0, &[Piece::Write(DATA, 8)]), 8, "{name}");
    }
}

#[test]
fn empty_and_useless_buffers_come_back() {
    let mut rig = started();
    assert_eq!(rig.request(0, &[Piece::Write(DATA, 0)]), 0);
    assert_eq!(rig.request(0, &[Piece::Read(DATA, 64)]), 0);
    assert_eq!(rig.request(0, &[Piece::Write(DATA, (RAM - DATA) as u32)]), 4096);
}

#[test]
fn rings_that_are_not_in_memory_fail_the_device_only() {
    for place in [RAM - 0x1000, 0x8000_0001, u64::MAX - 0x2fff, DATA + 8] {
        let rig = rig();
        rig.set_status(3);
        rig.accept(VERSION_1);
        rig.set_status(11);
        rig.enable(0, place);
        rig.set_status(15);
        assert_eq!(rig.status(), 0x4f, "{place:#x}");
        rig.set_status(0);
        assert_eq!(rig.status(), 0);
    }
}

#[test]
fn registers_take_only_what_makes_sense() {
    let rig = rig();
    for size in [0, 3, 128, u16::MAX] {
        rig.write(0x18, &size.to_le_bytes());
        assert_eq!(rig.read(0x18), 64_u16.to_le_bytes());
    }
    rig.write(0x1a, &2_u16.to_le_bytes());
    assert_eq!(rig.read(0x1a), [0xff; 2], "there is no vector 2");
    rig.write(0x16, &1_u16.to_le_bytes());
    assert_eq!(rig.read(0x18), [0; 2], "there is no queue 1");
    rig.write(0x1c, &1_u16.to_le_bytes());
    rig.write(0x16, &0_u16.to_le_bytes());
    rig.write(0x20, &0x1_2345_6780_u64.to_le_bytes());
    assert_eq!(rig.read(0x24), 1_u32.to_le_bytes());
    for offset in 0..0x8000 / 4 {
        rig.write(offset * 4 + 1, &[0xa5; 8]);
        rig.read::<8>(offset * 4 + 3);
    }
}

#[test]
fn the_bar_is_reachable_through_configuration_space() {
    let rig = rig();
    let capability = 0x40 + 16 * 3 + 20;
    let mut data = [0; 4];
    rig.pci.config_read(capability, &mut data);
    assert_eq!((data[0], data[3]), (9, 5));
    let select = |offset: u32, length: u32| {
        rig.pci.config_write(capability + 8, &offset.to_le_bytes());
        rig.pci.config_write(capability + 12, &length.to_le_bytes());
    };
    select(0x14, 1);
    rig.pci.config_write(capability + 16, &[3]);
    assert_eq!(rig.status(), 3);
    let mut status = [0];
    rig.pci.config_read(capability + 16, &mut status);
    assert_eq!(status, [3]);
    for (offset, length) in [(0x8000, 4), (u32::MAX - 3, 4), (1, 4), (0, 0), (0, 3), (0, u32::MAX)] {
        select(offset, length);
        rig.pci.config_write(capability + 16, &data);
        rig.pci.config_read(capability + 16, &mut data);
    }
}

#[test]
fn sizing_changes_nothing_and_moving_moves() {
    let mut rig = started();
    assert_eq!(rig.host.maps(), 1);
    let command = |value: u16| rig.pci.config_write(4, &value.to_le_bytes());
    let bar = |value: u32| rig.pci.config_write(0x10, &value.to_le_bytes());
    command(4);
    bar(u32::MAX);
    let mut size = [0; 4];
    rig.pci.config_read(0x10, &mut size);
    assert_eq!(u32::from_le_bytes(size), !(BAR_SIZE as u32 - 1) | 4);
    bar(BAR as u32);
    command(6);
    assert_eq!((rig.host.maps(), rig.status()), (1, 15));
    command(4);
    bar(0xd000_0000);
    command(6);
    assert_eq!(rig.host.maps(), 2);
    assert_eq!(rig.host.doorbells(), [0xd000_3000]);
    let mut status = [0];
    rig.host.mmio.read(0xd000_0014, &mut status);
    assert_eq!((status, rig.status()), ([15], 0xff));
    rig.post(0, &[Piece::Write(DATA, 8)]);
    assert!(rig.host.ring(0xd000_3000));
    assert_eq!(rig.used(0).1, 8);
    rig.pci.reset().unwrap();
    assert_eq!((rig.status(), rig.host.doorbells()), (0, vec![]));
}

#[test]
fn a_paused_device_touches_nothing_until_resumed() {
    let mut rig = started();
    rig.pci.pause();
    rig.post(0, &[Piece::Write(DATA, 8)]);
    rig.kick(0);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.used_index(0), 0);
    rig.pci.pause();
    rig.pci.resume();
    assert_eq!(rig.used(0).1, 8);
    rig.pci.resume();
    for _ in 0..200 {
        rig.pci.pause();
        rig.pci.resume();
        assert!(rig.pci.save().is_err(), "its worker is about to go on");
        rig.request(0, &[Piece::Write(DATA, 8)]);
    }
}

#[test]
fn a_device_moves_with_what_was_posted_and_lost_notifications() {
    let mut rig = started();
    for _ in 0..20 {
        rig.request(0, &[Piece::Write(DATA, 8)]);
    }
    assert_eq!(rig.pci.save().unwrap_err().kind(), ErrorKind::InvalidState);
    rig.pci.pause();
    rig.post(0, &[Piece::Write(DATA, 8)]);
    let mut rig = rig.moved(|_| Arc::new(Rng));
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(rig.used_index(0), 20);
    rig.pci.resume();
    assert_eq!(rig.used(0).1, 8);
    rig.request(0, &[Piece::Write(DATA, 8)]);
}

#[test]
fn an_idle_and_a_broken_device_move_too() {
    let rig = rig().moved(|_| Arc::new(Rng));
    assert_eq!(rig.status(), 0);
    let mut rig = started();
    rig.offer(0, SIZE);
    rig.kick(0);
    rig.wait_needs_reset();
    let mut rig = rig.moved(|_| Arc::new(Rng));
    rig.pci.resume();
    assert_eq!(rig.status(), 0x4f);
    rig.start(0);
    rig.request(0, &[Piece::Write(DATA, 8)]);
}

#[test]
fn a_driver_cannot_say_that_the_device_needs_a_reset() {
    let rig = started();
    rig.set_status(0x4f);
    assert_eq!(rig.status(), 15);
    let mut rig = rig.moved(|_| Arc::new(Rng));
    rig.pci.resume();
    assert_eq!(rig.request(0, &[Piece::Write(DATA, 8)]), 8);
}

#[test]
fn a_foreign_state_is_refused() {
    let rig = started();
    rig.pci.pause();
    let good = rig.pci.save().unwrap();
    let restore = |state: &VirtioPciState| {
        let host = Arc::new(crate::pci::testing::TestHost::new());
        VirtioPci::new(Arc::new(Rng) as Arc<dyn VirtioDevice>, ram(), host, BAR, Some(state)).map(|_| ())
    };
    restore(&good).unwrap();
    let edits: [fn(&mut VirtioPciState); 7] = [
        |s| s.registers.queues.clear(),
        |s| s.registers.queues[0].size = 0,
        |s| s.registers.queues[0].size = 128,
        |s| s.registers.driver_features |= 1,
        |s| s.registers.queues[0].driver = RAM,
        |s| s.interrupt.msix.entries.clear(),
        |s| s.config.bytes[2] = 0x42,
    ];
    for (i, edit) in edits.iter().enumerate() {
        let mut state = good.clone();
        edit(&mut state);
        assert!(restore(&state).is_err(), "edit {i}");
    }
}

#[test]
fn reset_while_busy_leaves_nothing_behind() {
    let mut rig = rig();
    for _ in 0..100 {
        rig.start(0);
        for _ in 0..8 {
            rig.post(0, &[Piece::Write(DATA, 4096)]);
        }
        rig.kick(0);
        rig.set_status(0);
        let used = rig.used_index(0);
        std::thread::yield_now();
        assert_eq!((rig.used_index(0), rig.status()), (used, 0));
    }
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 100, "{threads} threads");
}

#[test]
fn dropping_gives_everything_back() {
    let rig = started();
    let (host, memory) = (rig.host.clone(), rig.memory.clone());
    drop(rig);
    assert_eq!((Arc::strong_count(&host), host.doorbells()), (1, vec![]));
    let mut data = [0];
    host.mmio.read(BAR, &mut data);
    assert_eq!(data, [0xff]);
    drop(memory);
    assert_eq!(base(0), 0x1_0000);
}

#[test]
fn devices_that_changed_places_find_their_own_again() {
    let (host, memory) = (Arc::new(TestHost::new()), ram());
    let places = [BAR, BAR + BAR_SIZE];
    let functions = places.map(|bar| VirtioPci::new(Arc::new(Rng), memory.clone(), host.clone(), bar, None).unwrap());
    let put = |function: &VirtioPci, bar: u64| {
        // Decoding is off while the BAR moves, as in a real guest.
        function.config_write(4, &0_u16.to_le_bytes());
        function.config_write(0x10, &(bar as u32).to_le_bytes());
        function.config_write(4, &2_u16.to_le_bytes());
    };
    put(&functions[0], BAR + 8 * BAR_SIZE);
    put(&functions[1], places[0]);
    put(&functions[0], places[1]);
    reset_all(functions.iter().map(|function| &**function as &dyn Device)).unwrap();
    for (function, bar) in functions.iter().zip(places) {
        host.mmio.write(bar + 0x16, &[7, 0]);
        assert_eq!(lock(&function.inner).registers.queue_select, 7);
    }
}

#[test]
fn a_queue_that_is_enabled_too_late_is_not_and_the_device_still_moves() {
    let mut rig = rig();
    rig.set_status(3);
    rig.accept(VERSION_1);
    rig.set_status(11);
    rig.set_status(15);
    // The queue lies outside of guest memory: such a device could not be restored.
    rig.enable(0, RAM);
    assert_eq!(rig.read::<2>(0x1c), [0; 2]);
    rig = rig.moved(|_| Arc::new(Rng));
    rig.pci.resume();
    rig.start(EVENT_IDX);
    assert_eq!(rig.request(0, &[Piece::Write(DATA, 64)]), 64);
}
