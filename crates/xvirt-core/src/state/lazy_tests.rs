//! Memory that is used while it is loaded.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use xvirt_testing::random::Random;

use super::lazy::LazyMemory;
use super::memory::OFFSET;
use super::{DirtyPages, MemoryBase, PAGE, Rounds, StateReader, StateWriter};
use crate::ErrorKind;
use crate::memory::{Contents, GuestRam, MemoryBacking, allocate, give_back, require_loaded, require_was_loaded};
#[cfg(feature = "seccomp")]
use crate::sandbox::{Filter, Work};
use crate::size::ByteSize;

const SIZE: usize = 24 << 20;
const CHUNK: usize = 2 << 20;

fn memory(backing: &MemoryBacking) -> GuestRam {
    allocate(ByteSize::new(SIZE as u64), backing).unwrap()
}

/// Private and shared memory, and huge pages if this host has some.
fn backings(test: &str) -> Vec<MemoryBacking> {
    let huge = MemoryBacking { huge_pages: true, ..MemoryBacking::default() };
    let mut backings = vec![MemoryBacking::default(), MemoryBacking { shared: true, ..MemoryBacking::default() }];
    match allocate(ByteSize::new(SIZE as u64), &huge) {
        Ok(_) => backings.push(huge),
        Err(error) => println!("SKIPPED {test} with huge pages: {error}"),
    }
    backings
}

/// Memory of which two chunks and some pages were never used, and the rest is random.
fn filled(random: &mut Random) -> GuestRam {
    let ram = memory(&MemoryBacking::default());
    for page in (0..SIZE).step_by(PAGE).filter(|page| ![3, 9].contains(&(page / CHUNK))) {
        if random.below(4) > 0 {
            let address = GuestAddress((page + 8 * random.below(500)) as u64);
            ram.write_obj(1 + random.below_u64(u64::MAX - 1), address).unwrap();
        }
    }
    ram
}

fn contents(ram: &GuestRam) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    ram.read_slice(&mut bytes, GuestAddress(0)).unwrap();
    bytes
}

/// Saved state with this memory.
fn saved(ram: &GuestRam) -> File {
    let mut writer = StateWriter::new(tempfile::tempfile().unwrap());
    writer.memory(ram, &()).unwrap();
    writer.finish().unwrap()
}

fn lazily(ram: &GuestRam, file: &File) -> LazyMemory {
    let reader = StateReader::new(file.try_clone().unwrap()).unwrap();
    LazyMemory::new(ram.clone(), reader.memory_chain().unwrap(), "the file".to_owned()).unwrap()
}

fn require_same(one: &[u8], other: &[u8]) {
    let differ: Vec<_> =
        (0..SIZE / PAGE).filter(|page| one[page * PAGE..][..PAGE] != other[page * PAGE..][..PAGE]).collect();
    assert!(differ.is_empty(), "{} pages differ: {:?}", differ.len(), &differ[..differ.len().min(20)]);
}

#[test]
fn whoever_touches_memory_finds_what_was_saved() {
    let mut random = Random::new(1);
    let original = filled(&mut random);
    let (file, expected) = (saved(&original), contents(&original));
    for backing in backings("whoever_touches_memory_finds_what_was_saved") {
        let ram = memory(&backing);
        let lazy = lazily(&ram, &file);
        assert_eq!(lazy.complete(), None);
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let (ram, expected) = (&ram, &expected);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..500 {
                        let address = random.below(SIZE - 8);
                        let read: [u8; 8] = ram.read_obj(GuestAddress(address as u64)).unwrap();
                        assert_eq!(read, expected[address..address + 8], "{address:#x}");
                    }
                });
            }
            // The kernel, of more than one chunk.
            let (start, length) = (5 * CHUNK - 3 * PAGE, CHUNK);
            let copy = tempfile::tempfile().unwrap();
            let from = ram.get_host_address(GuestAddress(start as u64)).unwrap();
            // SAFETY: the range is guest memory, which `ram` keeps mapped.
            let written = unsafe { libc::write(copy.as_raw_fd(), from.cast(), length) };
            assert_eq!(written, length as isize);
            let mut read = vec![0; length];
            copy.read_exact_at(&mut read, 0).unwrap();
            assert!(read == expected[start..start + length]);
        });
        lazy.wait(&()).unwrap();
        assert!(lazy.complete().is_some());
        require_same(&contents(&ram), &expected);
        drop(lazy);
        require_same(&contents(&ram), &expected);
        // Nothing is handled any more, so another can.
        ram.write_slice(&vec![1; SIZE], GuestAddress(0)).unwrap();
    }
}

#[test]
fn what_is_written_and_given_back_meanwhile_stays_so() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let original = filled(&mut random);
        let (file, mut expected) = (saved(&original), contents(&original));
        for backing in [MemoryBacking::default(), MemoryBacking { shared: true, ..MemoryBacking::default() }] {
            expected.copy_from_slice(&contents(&original));
            let ram = memory(&backing);
            let lazy = lazily(&ram, &file);
            let pages: Vec<_> = (0..2000).map(|_| (random.below(SIZE / PAGE), random.below(3))).collect();
            std::thread::scope(|scope| {
                let (ram, pages, expected) = (&ram, &pages, &mut expected);
                scope.spawn(move || {
                    // As the threads of balloons have.
                    #[cfg(feature = "seccomp")]
                    Filter::new(Work::Memory).unwrap().apply().unwrap();
                    for (page, what) in pages {
                        let (from, to) = (page * PAGE, (page + 1) * PAGE);
                        match what {
                            0 => {
                                give_back(ram, from as u64..to as u64, Contents::Zeroes).unwrap();
                                expected[from..to].fill(0);
                            }
                            1 => {
                                ram.write_slice(&[9; 100], GuestAddress(from as u64)).unwrap();
                                expected[from..from + 100].fill(9);
                            }
                            _ => {
                                let read: [u8; 8] = ram.read_obj(GuestAddress(from as u64)).unwrap();
                                assert_eq!(read, expected[from..from + 8], "page {page}");
                            }
                        }
                    }
                });
                lazy.load_all();
            });
            lazy.wait(&()).unwrap();
            require_same(&contents(&ram), &expected);
        }
    }
}

#[test]
fn memory_that_cannot_be_read_stops_the_guest_before_others_go_on() {
    let original = filled(&mut Random::new(3));
    let place = OFFSET + 5 * CHUNK as u64;
    // A page of this chunk that is not zero.
    let expected = contents(&original);
    let page = (5 * CHUNK..6 * CHUNK).step_by(PAGE).find(|at| expected[*at..at + PAGE].iter().any(|byte| *byte != 0));
    for backing in backings("memory_that_cannot_be_read_stops_the_guest_before_others_go_on") {
        for (kind, text) in [
            (ErrorKind::CorruptState, "the checksum of its memory from byte"),
            (ErrorKind::Io, "cannot read the guest's memory"),
        ] {
            let (ram, file) = (memory(&backing), saved(&original));
            if kind == ErrorKind::CorruptState {
                file.write_all_at(&[0xee; 100], OFFSET + page.unwrap() as u64).unwrap();
            }
            let lazy = lazily(&ram, &file);
            let stopped = Arc::new(AtomicBool::new(false));
            let stop = Arc::clone(&stopped);
            lazy.on_failure(move |failure| {
                assert!(failure.to_string().starts_with("the guest's memory cannot be loaded from the file: "));
                stop.store(true, Ordering::SeqCst);
            })
            .unwrap();
            // What was there before remains.
            assert_eq!(ram.read_obj::<u8>(GuestAddress(7)).unwrap(), expected[7]);
            require_loaded(&ram, 8, 100).unwrap();
            require_was_loaded(&ram).unwrap();
            if kind == ErrorKind::Io {
                file.set_len(place).unwrap();
            }
            std::thread::scope(|scope| {
                for offset in [0, PAGE as u64, 100 * PAGE as u64] {
                    let (ram, stopped) = (&ram, &stopped);
                    scope.spawn(move || {
                        let read: u64 = ram.read_obj(GuestAddress(5 * CHUNK as u64 + offset)).unwrap();
                        assert_eq!((read, stopped.load(Ordering::SeqCst)), (0, true));
                    });
                }
                let device = scope.spawn(|| require_loaded(&ram, 5 * CHUNK as u64 - 8, 16));
                let error = device.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.to_string().contains(text), "{error}");
            });
            lazy.wait(&()).unwrap();
            assert_eq!(lazy.complete(), None);
            // Devices never get what is there instead, not even later.
            require_loaded(&ram, 5 * CHUNK as u64, 1).unwrap_err();
            assert_eq!(require_was_loaded(&ram).unwrap_err().kind(), kind);
            give_back(&ram, 0..SIZE as u64, Contents::Zeroes).unwrap();
            assert_eq!(lazy.on_failure(|_| {}).unwrap_err().kind(), kind);
            drop(lazy);
            require_loaded(&ram, 5 * CHUNK as u64, 1).unwrap();
        }
    }
}

/// As khugepaged does with shared memory before Linux 6.4.
#[test]
fn a_page_that_something_else_has_filled_is_a_failure() {
    let backing = MemoryBacking { shared: true, ..MemoryBacking::default() };
    let (original, ram) = (filled(&mut Random::new(5)), memory(&backing));
    let expected = contents(&original);
    let used = (5 * CHUNK..6 * CHUNK).step_by(PAGE).find(|at| expected[*at..at + PAGE].iter().any(|byte| *byte != 0));
    let lazy = lazily(&ram, &saved(&original));
    let region = ram.iter().next().unwrap();
    region.file_offset().unwrap().file().write_all_at(&[0], used.unwrap() as u64).unwrap();
    let (sender, failures) = mpsc::channel();
    lazy.on_failure(move |failure| sender.send(failure.to_string()).unwrap()).unwrap();
    lazy.wait(&()).unwrap();
    assert!(failures.try_recv().unwrap().contains("cannot fill a page of guest memory"));
    require_loaded(&ram, 5 * CHUNK as u64, 1).unwrap_err();
}

#[test]
fn what_is_given_up_stops_the_guest_first_and_is_not_for_devices() {
    let (original, ram) = (filled(&mut Random::new(6)), memory(&MemoryBacking::default()));
    let lazy = lazily(&ram, &saved(&original));
    lazy.on_failure(|failure| panic!("{failure}")).unwrap();
    let stopped = AtomicBool::new(false);
    lazy.end(|| {
        assert!(lazy.complete().is_none());
        stopped.store(true, Ordering::SeqCst);
    });
    assert!(stopped.load(Ordering::SeqCst));
    assert_eq!(require_loaded(&ram, 5 * CHUNK as u64, 1).unwrap_err().kind(), ErrorKind::Cancelled);
    lazy.end(|| panic!("it has ended already"));
    drop(lazy);
    require_loaded(&ram, 5 * CHUNK as u64, 1).unwrap();
}

#[test]
fn whoever_ends_it_early_lets_all_go_on() {
    let (original, ram) = (filled(&mut Random::new(4)), memory(&MemoryBacking::default()));
    let lazy = lazily(&ram, &saved(&original));
    drop(lazy);
    assert!(contents(&ram).iter().all(|byte| *byte == 0));
    // All zeroes, of which nothing has to be read.
    let file = saved(&memory(&MemoryBacking::default()));
    let lazy = lazily(&ram, &file);
    assert!(lazy.complete().is_some());
    lazy.wait(&()).unwrap();
    let other = allocate(ByteSize::mib(8), &MemoryBacking::default()).unwrap();
    let chain = StateReader::new(file).unwrap().memory_chain().unwrap();
    let error = LazyMemory::new(other, chain, "the file".to_owned()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

#[test]
fn memory_of_a_file_that_is_based_on_others_is_loaded() {
    let mut random = Random::new(9);
    let (ram, mut files) = (filled(&mut random), Vec::<File>::new());
    let (mut base, mut dirty) = (None, DirtyPages::all((SIZE / PAGE) as u64));
    for _ in 0..3 {
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
        reader.open_bases(open).unwrap();
        let read = memory(&MemoryBacking::default());
        let lazy = LazyMemory::new(read.clone(), reader.memory_chain().unwrap(), "files".to_owned()).unwrap();
        lazy.load_all();
        require_same(&contents(&read), &contents(&ram));
        drop(lazy);
        dirty = DirtyPages::none((SIZE / PAGE) as u64);
        for _ in 0..100 {
            let page = random.below_u64((SIZE / PAGE) as u64);
            dirty.insert(page);
            ram.write_slice(&[random.below(2) as u8; PAGE], GuestAddress(page * PAGE as u64)).unwrap();
        }
    }
}
