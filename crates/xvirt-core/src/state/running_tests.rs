//! Memory that is saved while it is written.

use std::fs::File;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use vm_memory::{Bytes, GuestAddress};
use xvirt_testing::random::Random;

use super::memory::MemoryMap;
use super::{BackgroundSave, DirtyPages, MemoryBase, PAGE, Rounds, StateReader, StateWriter};
use crate::ErrorKind;
use crate::memory::{Contents, GuestRam, MemoryBacking, allocate, give_back};
#[cfg(feature = "seccomp")]
use crate::sandbox::{Filter, Work};
use crate::size::ByteSize;

const SIZE: usize = 24 << 20;

fn memory() -> GuestRam {
    allocate(ByteSize::new(SIZE as u64), &MemoryBacking::default()).unwrap()
}

/// Memory of which a part was never used, a part is zeroes, and the rest random.
fn filled(random: &mut Random) -> GuestRam {
    let ram = memory();
    for page in (0..SIZE).step_by(PAGE) {
        match random.below(4) {
            0 => {}
            1 => ram.write_slice(&[0; PAGE], GuestAddress(page as u64)).unwrap(),
            _ => {
                ram.write_obj(random.below_u64(u64::MAX), GuestAddress((page + 8 * random.below(500)) as u64)).unwrap()
            }
        }
    }
    ram
}

fn contents(ram: &GuestRam) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    ram.read_slice(&mut bytes, GuestAddress(0)).unwrap();
    bytes
}

/// What a file with this map is read as.
fn read(file: File, map: &MemoryMap) -> Vec<u8> {
    let mut writer = StateWriter::new(file);
    writer.memory_written(map).unwrap();
    let reader = StateReader::new(writer.finish().unwrap()).unwrap();
    let ram = memory();
    reader.memory(&ram, &()).unwrap();
    contents(&ram)
}

fn require_same(one: &[u8], other: &[u8]) {
    let differ: Vec<_> =
        (0..SIZE / PAGE).filter(|page| one[page * PAGE..][..PAGE] != other[page * PAGE..][..PAGE]).collect();
    assert!(differ.is_empty(), "{} pages differ: {:?}", differ.len(), &differ[..differ.len().min(20)]);
}

/// Writes to memory, and releases pages, at random until it is told to end. It stops for each wait at the barrier.
fn disturb(ram: &GuestRam, seed: u64, stop: &AtomicBool, end: &AtomicBool, barrier: &Barrier) {
    // As the threads of balloons have.
    #[cfg(feature = "seccomp")]
    Filter::new(Work::Memory).unwrap().apply().unwrap();
    let mut random = Random::new(seed);
    while !end.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            barrier.wait();
            barrier.wait();
        }
        let address = random.below_u64(SIZE as u64 - 8);
        match random.below(8) {
            0 => give_back(ram, address..address + 3 * PAGE as u64, Contents::Zeroes).unwrap(),
            1 => ram.write_slice(&[0; PAGE], GuestAddress(address / PAGE as u64 * PAGE as u64)).unwrap(),
            _ => ram.write_obj(random.below_u64(u64::MAX), GuestAddress(address)).unwrap(),
        }
    }
}

#[test]
fn memory_saved_in_the_background_is_that_of_the_moment() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let (ram, file) = (filled(&mut random), tempfile::tempfile().unwrap());
        let mut save = BackgroundSave::new(ram.clone(), file.try_clone().unwrap()).unwrap();
        let (stop, end, barrier) = (AtomicBool::new(false), AtomicBool::new(false), Barrier::new(3));
        let mut changed = DirtyPages::none((SIZE / PAGE) as u64);
        (0..SIZE / PAGE).filter(|page| page % 7 > 3 || *page > 1500).for_each(|page| changed.insert(page as u64));
        // Half of the time only pages that changed.
        let changed = (seed % 2 == 1).then_some(changed);
        let (expected, saved) = std::thread::scope(|scope| {
            for number in 0..2 {
                let (ram, stop, end, barrier) = (&ram, &stop, &end, &barrier);
                scope.spawn(move || disturb(ram, 100 * seed + number, stop, end, barrier));
            }
            stop.store(true, Ordering::Relaxed);
            barrier.wait();
            stop.store(false, Ordering::Relaxed);
            let expected = contents(&ram);
            save.begin(changed.as_ref()).unwrap();
            barrier.wait();
            let saved = save.finish(&());
            end.store(true, Ordering::Relaxed);
            (expected, saved.unwrap())
        });
        let counts = |page: usize| changed.as_ref().is_none_or(|changed| changed.contains(page as u64));
        let page = |(page, bytes): (usize, &[u8])| if counts(page) { bytes.to_vec() } else { vec![0; PAGE] };
        let expected: Vec<_> = expected.chunks(PAGE).enumerate().flat_map(page).collect();
        require_same(&read(file, &saved.map), &expected);
        // Nothing is protected any more.
        ram.write_slice(&[1; SIZE], GuestAddress(0)).unwrap();
    }
}

#[test]
fn a_full_file_system_lets_everybody_write_again() {
    let ram = filled(&mut Random::new(1));
    let mut save = BackgroundSave::new(ram.clone(), File::options().write(true).open("/dev/full").unwrap()).unwrap();
    save.begin(None).unwrap();
    ram.write_slice(&[1; SIZE], GuestAddress(0)).unwrap();
    assert_eq!(save.finish(&()).unwrap_err().kind(), ErrorKind::NoSpace);
    ram.write_slice(&[2; SIZE], GuestAddress(0)).unwrap();
}

#[test]
fn whoever_ends_it_early_lets_everybody_write_again() {
    let ram = filled(&mut Random::new(1));
    let mut save = BackgroundSave::new(ram.clone(), tempfile::tempfile().unwrap()).unwrap();
    save.begin(None).unwrap();
    let cancelled = AtomicBool::new(true);
    assert_eq!(save.finish(&cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
    drop(save);
    ram.write_slice(&[2; SIZE], GuestAddress(0)).unwrap();
    drop(BackgroundSave::new(ram.clone(), tempfile::tempfile().unwrap()).unwrap());
    ram.write_slice(&[3; SIZE], GuestAddress(0)).unwrap();
}

#[test]
fn memory_that_lies_in_a_file_is_refused() {
    let backing = MemoryBacking { shared: true, ..MemoryBacking::default() };
    let ram = allocate(ByteSize::mib(2), &backing).unwrap();
    let error = BackgroundSave::new(ram, tempfile::tempfile().unwrap()).unwrap_err();
    assert!(error.to_string().contains("the guest's memory lies in a file"), "{error}");
}

#[test]
fn the_last_round_counts() {
    let mut random = Random::new(5);
    let (ram, file) = (filled(&mut random), tempfile::tempfile().unwrap());
    let mut rounds = Rounds::new(ram.clone(), file.try_clone().unwrap()).unwrap();
    rounds.write(&rounds.all(), &()).unwrap();
    for _ in 0..3 {
        let mut dirty = DirtyPages::none((SIZE / PAGE) as u64);
        for _ in 0..400 {
            let page = random.below_u64((SIZE / PAGE) as u64);
            dirty.insert(page);
            let (value, address) = ([random.below(2) as u8; PAGE], GuestAddress(page * PAGE as u64));
            ram.write_slice(&value, address).unwrap();
        }
        rounds.write(&dirty, &()).unwrap();
    }
    let map = rounds.map();
    require_same(&read(file, &map), &contents(&ram));
}

#[test]
fn files_that_are_based_on_others_have_what_has_changed() {
    let mut random = Random::new(9);
    let (ram, mut files) = (filled(&mut random), Vec::<File>::new());
    let (mut base, mut dirty) = (None, DirtyPages::all((SIZE / PAGE) as u64));
    for number in 0..4 {
        let file = tempfile::tempfile().unwrap();
        let mut rounds = Rounds::new(ram.clone(), file.try_clone().unwrap()).unwrap();
        rounds.write(&dirty, &()).unwrap();
        let mut writer = StateWriter::new(file);
        writer.memory_written(&rounds.map()).unwrap();
        if let Some(identity) = base {
            writer.section(&MemoryBase::new(identity, &dirty)).unwrap();
        }
        let (file, identity) = writer.finish_identified().unwrap();
        (base, _) = (Some(identity), files.insert(0, file));

        let open = |number: usize| Ok(files[number].try_clone().unwrap());
        let mut reader = StateReader::new(open(0).unwrap()).unwrap();
        assert_eq!(reader.memory(&memory(), &()).is_err(), number > 0, "without its base");
        reader.open_bases(open).unwrap();
        let read = memory();
        reader.memory(&read, &()).unwrap();
        require_same(&contents(&read), &contents(&ram));

        let file = tempfile::tempfile().unwrap();
        reader.flatten(file.try_clone().unwrap(), &()).unwrap();
        let read = memory();
        StateReader::new(file).unwrap().memory(&read, &()).unwrap();
        require_same(&contents(&read), &contents(&ram));

        dirty = DirtyPages::none((SIZE / PAGE) as u64);
        for _ in 0..100 {
            let page = random.below_u64((SIZE / PAGE) as u64);
            dirty.insert(page);
            ram.write_slice(&[random.below(2) as u8; PAGE], GuestAddress(page * PAGE as u64)).unwrap();
        }
    }
    // Another file in place of the base.
    let mut reader = StateReader::new(files[0].try_clone().unwrap()).unwrap();
    let error = reader.open_bases(|_| Ok(files[2].try_clone().unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptState, "{error}");
}
