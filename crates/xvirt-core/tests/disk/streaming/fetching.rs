//! Which blocks are fetched, when, and how often.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use xvirt_core::ErrorKind;
use xvirt_core::disk::Access;
use xvirt_core::progress::{Done, Progress};

use super::*;
use crate::threads;

#[test]
fn a_block_is_fetched_when_it_is_needed_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(10, &[6]));
    let disk = parts.create();
    // The end of one block and the beginning of the next; again; a hole; a whole block written; part of a block
    // written.
    assert!(read(&disk, 2 * BLOCK - 512, 1024).unwrap() == [[2; 512], [3; 512]].concat());
    assert!(read(&disk, BLOCK, 512).unwrap() == [2; 512]);
    assert!(read(&disk, 6 * BLOCK, 512).unwrap() == [0; 512]);
    write(&disk, 4 * BLOCK, &[0xaa; BLOCK as usize]).unwrap();
    assert_eq!(parts.source.reads(), [1, 2]);
    write(&disk, 7 * BLOCK + 512, &[0xbb; 512]).unwrap();
    assert!(read(&disk, 7 * BLOCK, 1536).unwrap() == [[8; 512], [0xbb; 512], [8; 512]].concat());
    assert_eq!(parts.source.reads(), [1, 2, 7]);
    // From the middle of one block over a whole one into a third.
    disk.write_zeroes(8 * BLOCK - 512, BLOCK + 1024, true).unwrap();
    assert!(read(&disk, 9 * BLOCK, 1024).unwrap() == [[0; 512], [10; 512]].concat());
    assert_eq!(parts.source.reads(), [1, 2, 7, 9]);
    // Blocks are not fetched if they are overwritten entirely.
    disk.discard(512, BLOCK - 512).unwrap();
    disk.discard(2 * BLOCK + 512, 3 * BLOCK).unwrap();
    assert_eq!(parts.source.reads(), [1, 2, 7, 9]);
    assert!(read(&disk, 5 * BLOCK, 512).unwrap() == [6; 512] && read(&disk, 0, 512).unwrap() == [1; 512]);
    assert!(read(&disk, 10 * BLOCK - 512, 1024).is_err());
}

#[test]
fn holes_of_the_source_are_holes_of_the_disk_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(10, &[0, 1, 4, 5, 6, 8, 9]));
    let disk = parts.create();
    let data = || {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(range) = disk.next_data(at).unwrap() {
            at = range.end;
            found.extend(range.start / BLOCK..range.end.div_ceil(BLOCK));
        }
        found.dedup();
        found
    };
    assert_eq!(data(), [2, 3, 7]);
    write(&disk, 5 * BLOCK, &[1; BLOCK as usize]).unwrap();
    disk.write_zeroes(3 * BLOCK, BLOCK, true).unwrap();
    assert_eq!(data(), [2, 5, 7]);
    disk.complete(&()).unwrap();
    assert_eq!(data(), [2, 5, 7]);
    assert_eq!(parts.source.reads(), [2, 7]);
}

/// A fetch is held up while three readers want the block and one writer overwrites it.
fn meet_at_a_block(folder: &Path) {
    let parts = Parts::new(folder, numbered(4, &[]));
    let disk = parts.create();
    let (about_to_write, told) = mpsc::channel();
    parts.source.hold_next();
    std::thread::scope(|scope| {
        let wanting = |at| {
            let disk = &disk;
            scope.spawn(move || read(disk, at, 512).unwrap())
        };
        let first = wanting(BLOCK);
        parts.source.wait_until_held();
        let others = [wanting(BLOCK), wanting(BLOCK + 512)];
        let disk = &disk;
        let writer = scope.spawn(move || {
            about_to_write.send(()).unwrap();
            write(disk, BLOCK, &[0xaa; BLOCK as usize]).unwrap();
        });
        // A reader of a block that is already present does not wait.
        write(disk, 3 * BLOCK, &[0xbb; BLOCK as usize]).unwrap();
        assert!(read(disk, 3 * BLOCK, 512).unwrap() == [0xbb; 512]);
        told.recv().unwrap();
        // Gives a faulty writer the opportunity to proceed.
        (0..100).for_each(|_| std::thread::yield_now());
        assert!(!first.is_finished() && !writer.is_finished());
        parts.source.let_go();
        for thread in [first].into_iter().chain(others) {
            let found = thread.join().unwrap();
            // A read beside a write may see a part of it.
            assert!(found.iter().all(|byte| [2, 0xaa].contains(byte)), "{found:?}");
        }
    });
    // The fetch did not overwrite the write that waited for it.
    assert!(read(&disk, BLOCK, BLOCK as usize).unwrap().iter().all(|byte| *byte == 0xaa));
    assert_eq!(parts.source.reads(), [1]);
}

#[test]
fn several_who_want_a_block_wait_for_one_fetch() {
    for _ in 0..20 {
        meet_at_a_block(tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn an_error_of_the_source_fails_what_needed_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(6, &[]));
    let disk = parts.create();
    parts.source.set_bad(Some(3));
    let failed = [read(&disk, 3 * BLOCK, 512).map(drop), write(&disk, 3 * BLOCK, &[1; 512])];
    assert!(failed.into_iter().all(|failed| failed.unwrap_err().raw_os_error() == Some(libc::EIO)));
    assert!(read(&disk, 2 * BLOCK, 512).unwrap() == [3; 512]);
    let error = disk.complete(&()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("from byte 196608: Input/output error"), "{error}");
    assert!(error.remedy().unwrap().contains("complete it again"), "{error}");
    assert!(!disk.is_complete());
    parts.source.set_bad(None);
    assert!(read(&disk, 3 * BLOCK, 512).unwrap() == [4; 512]);
    // A bad block can still be overwritten.
    parts.source.set_bad(Some(4));
    write(&disk, 4 * BLOCK, &[0xaa; BLOCK as usize]).unwrap();
    disk.complete(&()).unwrap();
    assert!(disk.is_complete());
}

#[test]
fn a_complete_disk_needs_its_source_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = numbered(20, &[7, 8, 9]);
    let parts = Parts::new(folder.path(), bytes.clone());
    let disk = parts.create();
    write(&disk, 5 * BLOCK, &[0xaa; BLOCK as usize]).unwrap();
    disk.complete(&()).unwrap();
    let expected: Vec<_> = (0..20).filter(|block| ![5, 7, 8, 9].contains(block)).collect();
    assert_eq!(parts.source.reads(), expected);
    assert_eq!(std::sync::Arc::strong_count(&parts.source), 1);
    let again = parts.reopen().unwrap();
    assert!(again.is_complete());
    assert!(all(&again) == all(&*parts.target) && all(&again) == all(&disk));
    assert!(all(&disk)[6 * BLOCK as usize..] == bytes[6 * BLOCK as usize..]);
    assert_eq!(parts.source.reads(), expected);
}

/// Passes on the progress of the completion.
struct Watch(mpsc::Sender<Done>);

impl Progress for Watch {
    fn report(&self, done: Done) {
        let _ = self.0.send(done);
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn the_guest_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(10, &[]));
    let disk = parts.create();
    let (begun, reports) = mpsc::channel();
    let watch = Watch(begun);
    parts.source.hold_next();
    std::thread::scope(|scope| {
        scope.spawn(|| read(&disk, 5 * BLOCK, 3 * BLOCK as usize).unwrap());
        parts.source.wait_until_held();
        scope.spawn(|| disk.complete(&watch).unwrap());
        reports.recv().unwrap();
        parts.source.let_go();
    });
    assert_eq!(parts.source.reads(), [5, 6, 7, 0, 1, 2, 3, 4, 8, 9]);
    let done: Vec<_> = reports.iter().take(5).collect();
    assert!(done.iter().all(|done| done.total == Some(10 * BLOCK)));
    assert!(done.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes));
}

#[test]
fn a_cancelled_completion_leaves_a_disk_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(4, &[]));
    let disk = parts.create();
    let error = disk.complete(&AtomicBool::new(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(all(&disk) == numbered(4, &[]));
    disk.complete(&()).unwrap();
}

#[test]
fn four_threads_and_the_completion_do_not_disturb_each_other() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let base = pattern(77, 17 * MIB as usize);
    let source = folder.path().join("source");
    std::fs::write(&source, &base).unwrap();
    disk::grow(&source, Some(ImageFormat::Raw), threads::SIZE).unwrap();
    for (format, size) in [(ImageFormat::Raw, 64 << 10), (ImageFormat::Qcow2, MIB), (ImageFormat::Qcow2, 4096)] {
        let (target, map) = (folder.path().join("target"), folder.path().join("map"));
        disk::create(&target, format, threads::SIZE).unwrap();
        let source = open_as(&source, ImageFormat::Raw, Access::ReadOnly);
        let disk = StreamingDisk::create(source, open_as(&target, format, Access::ReadWrite), &map, size).unwrap();
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads::THREADS)
                .map(|thread| {
                    let (disk, base) = (&disk, &base);
                    scope.spawn(move || threads::work(disk, thread, base, 1500))
                })
                .collect();
            scope.spawn(|| disk.complete(&()).unwrap());
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let mut model = vec![0; threads::SIZE as usize];
        for (at, bytes) in done {
            model[at as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert!(disk.is_complete() && all(&disk) == model, "{format}, {size}");
        disk.flush().unwrap();
        drop(disk);
        assert!(all(&*open_as(&target, format, Access::ReadOnly)) == model, "{format}, {size}");
        std::fs::remove_file(target).unwrap();
        std::fs::remove_file(map).unwrap();
    }
}
