//! Threads that wait for each other.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Instant;

use tempfile::tempfile;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::memory::{MemoryBacking, allocate};
use crate::size::ByteSize;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory of so many chunks, in which every `each`th has one page.
fn memory(chunks: u64, each: usize) -> GuestRam {
    let ram = allocate(ByteSize::new(chunks * CHUNK as u64), &MemoryBacking::default()).unwrap();
    for number in (0..chunks).step_by(each) {
        ram.write_obj(number + 1, GuestAddress(number * CHUNK as u64)).unwrap();
    }
    ram
}

#[test]
fn who_waits_until_a_chunk_is_read_does_not_wait_for_the_file() {
    const CHUNKS: u64 = 64;
    let save = BackgroundSave::new(memory(CHUNKS, 1), tempfile().unwrap()).unwrap();
    save.begin(None).unwrap();
    let (shared, mut buffer) = (&save.shared, vec![0; CHUNK]);
    for number in 0..CHUNKS {
        // As a thread does that saves memory, and then waits for the file for ever.
        assert!(shared.claim(number));
        let went_on = std::thread::scope(|scope| {
            let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
            scope.spawn(move || {
                begin.send(()).unwrap();
                shared.keep_chunk(number);
                end.send(()).unwrap();
            });
            begun.recv().unwrap();
            (0..100).for_each(|_| std::thread::yield_now());
            shared.read(number, &mut buffer).unwrap();
            let went_on = ended.recv_timeout(PATIENCE).is_ok();
            shared.changed.notify_all();
            went_on
        });
        assert!(went_on, "who waited for chunk {number} waits for the file");
    }
}

/// Cancels if it takes very long.
struct Patience(Instant);

impl Progress for Patience {
    fn report(&self, _: crate::progress::Done) {}

    fn cancelled(&self) -> bool {
        self.0.elapsed() > PATIENCE
    }
}

#[test]
fn a_chunk_that_is_written_before_all_others_are_protected_counts() {
    // Each run of chunks is protected by a call of its own, so that the first is written before the last is protected.
    let ram = memory(1500, 2);
    for _ in 0..20 {
        let (end, mut save) = (AtomicBool::new(false), BackgroundSave::new(ram.clone(), tempfile().unwrap()).unwrap());
        let saved = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    ram.write_obj(1_u64, GuestAddress(0)).unwrap();
                }
            });
            let saved = save.begin(None).and_then(|()| save.finish(&Patience(Instant::now())));
            end.store(true, Ordering::Relaxed);
            saved
        });
        assert_eq!(saved.unwrap().map.bytes_present(), 750 * PAGE as u64);
    }
}
