//! Points created while several threads write.

use std::sync::atomic::AtomicU64;

use super::*;

const SIZE: u64 = 32 * BLOCK;
const THREADS: u64 = 4;
/// Small, so that threads share blocks; the stripes of the threads are interleaved.
const STRIPE: u64 = 8 << 10;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The changes of a thread to its own stripes, applied to the disk and to a model of it.
struct Storm {
    thread: u64,
    random: Random,
    number: u64,
}

enum Change {
    Write(Vec<u8>),
    Zero { unmap: bool },
    Discard,
}

impl Storm {
    fn new(seed: u64, thread: u64) -> Self {
        Self { thread, random: Random(seed * 1000 + thread), number: 0 }
    }

    /// The next change: offset, length, and kind.
    fn next(&mut self) -> (u64, u64, Change) {
        let stripe = self.random.below(SIZE / STRIPE / THREADS) * THREADS + self.thread;
        let start = self.random.below(STRIPE / 512) * 512;
        let length = (self.random.below((STRIPE - start) / 512) + 1) * 512;
        self.number += 1;
        let change = match self.random.below(8) {
            0 => Change::Zero { unmap: self.number.is_multiple_of(2) },
            1 => Change::Discard,
            _ => {
                let word = (self.thread << 48 | self.number).to_le_bytes();
                Change::Write(word.into_iter().cycle().take(length as usize).collect())
            }
        };
        (stripe * STRIPE + start, length, change)
    }

    fn change(&mut self, disk: &dyn BlockBackend) {
        let (offset, length, change) = self.next();
        match change {
            Change::Write(bytes) => write(disk, offset, &bytes).unwrap(),
            Change::Zero { unmap } => disk.write_zeroes(offset, length, unmap).unwrap(),
            Change::Discard => disk.discard(offset, length).unwrap(),
        }
    }

    /// Discarding a range of a raw file on a file system with holes makes it read as zeroes.
    fn change_model(&mut self, model: &mut [u8]) {
        let (offset, length, change) = self.next();
        let range = &mut model[offset as usize..(offset + length) as usize];
        match change {
            Change::Write(bytes) => range.copy_from_slice(&bytes),
            Change::Zero { .. } | Change::Discard => range.fill(0),
        }
    }
}

/// Whether the stripes of a thread are equal.
fn agree(thread: u64, one: &[u8], two: &[u8]) -> bool {
    let stripes = one.chunks(STRIPE as usize).zip(two.chunks(STRIPE as usize)).skip(thread as usize);
    stripes.step_by(THREADS as usize).all(|(one, two)| one == two)
}

/// Creates a point during concurrent writes, and reads it with two readers while they continue.
fn round(folder: &Path, seed: u64) {
    let bytes = Storage::new(folder, &format!("disk{seed}"), SIZE);
    let disk = Arc::new(CopyBeforeWrite::new(bytes as _));
    let (begun, ended) =
        ([const { AtomicU64::new(0) }; THREADS as usize], [const { AtomicU64::new(0) }; THREADS as usize]);
    let stop = AtomicBool::new(false);
    let (copies, least, most) = std::thread::scope(|scope| {
        for (thread, (begun, ended)) in begun.iter().zip(&ended).enumerate() {
            let (disk, stop) = (&*disk, &stop);
            scope.spawn(move || {
                let mut storm = Storm::new(seed, thread as u64);
                while !stop.load(Ordering::SeqCst) {
                    begun.fetch_add(1, Ordering::SeqCst);
                    storm.change(disk);
                    ended.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let count = |counts: &[AtomicU64]| counts.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
        while count(&ended).iter().any(|ended| *ended < 50) {
            std::thread::yield_now();
        }
        let least = count(&ended);
        let view = snapshot_views(std::slice::from_ref(&disk), folder).unwrap().remove(0);
        let most = count(&begun);
        let copies = std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| scope.spawn(|| all(&*view)));
            readers.map(|reader| reader.join().unwrap())
        });
        let later = count(&ended);
        while count(&ended).iter().zip(&later).any(|(now, then)| *now < then + 50) {
            std::thread::yield_now();
        }
        let third = all(&*view);
        stop.store(true, Ordering::SeqCst);
        assert!(copies[0] == copies[1] && copies[0] == third, "seed {seed}: the view changed");
        (third, least, most)
    });
    for thread in 0..THREADS {
        let (least, most) = (least[thread as usize], most[thread as usize]);
        let (mut storm, mut model) = (Storm::new(seed, thread), vec![0; SIZE as usize]);
        (0..least).for_each(|_| storm.change_model(&mut model));
        let mut right = agree(thread, &model, &copies);
        for _ in least..most {
            storm.change_model(&mut model);
            right |= agree(thread, &model, &copies);
        }
        assert!(right, "seed {seed}: thread {thread} never wrote what the view shows");
    }
}

#[test]
fn a_point_in_a_storm_is_one_moment_of_every_writer_and_does_not_change() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for seed in 0..40 {
        round(folder.path(), seed);
    }
}

#[test]
fn all_disks_get_their_points_at_one_moment() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let disk = |name| Arc::new(CopyBeforeWrite::new(Storage::new(folder.path(), name, BLOCK) as _));
    let disks = [disk("one"), disk("two")];
    // Two writers that write a counter to one disk first and then to the other.
    let order = [(0, 1, 0), (1, 0, 512)];
    let stop = AtomicBool::new(false);
    let number = |view: &SnapshotView, at| u64::from_le_bytes(read(view, at, 512).unwrap()[..8].try_into().unwrap());
    std::thread::scope(|scope| {
        for (first, second, at) in order {
            let (disks, stop) = (&disks, &stop);
            scope.spawn(move || {
                for count in 1u64.. {
                    let bytes: Vec<_> = count.to_le_bytes().into_iter().cycle().take(512).collect();
                    write(&*disks[first], at, &bytes).unwrap();
                    write(&*disks[second], at, &bytes).unwrap();
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let mut wrong = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while wrong.is_empty() && seen.len() < 1000 {
            let views = snapshot_views(&disks, folder.path()).unwrap();
            for (first, second, at) in order {
                let (ahead, behind) = (number(&views[first], at), number(&views[second], at));
                seen.insert(ahead);
                wrong.extend((ahead != behind && ahead != behind + 1).then_some((ahead, behind)));
            }
        }
        stop.store(true, Ordering::SeqCst);
        assert_eq!(wrong, []);
    });
}
