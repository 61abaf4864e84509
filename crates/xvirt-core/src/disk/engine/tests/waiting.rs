//! Which operations wait for which.

use std::sync::mpsc;
use std::time::Duration;

use xvirt_testing::process::in_own_process;

use super::*;
use crate::disk::{CopyBeforeWrite, snapshot_views};

/// Longer than anything takes that does not wait.
const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn a_view_waits_for_writes_that_are_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(CopyBeforeWrite::new(image(folder.path(), ImageFormat::Raw, 1 << 20)));
    let reading = disk.place(0, 4096, false).unwrap();
    let place = disk.place(0, 4096, true).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(snapshot_views(&[Arc::clone(&disk)], folder.path()).unwrap()).unwrap());
        assert!(receiver.recv_timeout(MOMENT).is_err(), "the view did not wait");
        drop(place);
        let view = receiver.recv().unwrap();
        assert!(disk.place(0, 4096, true).is_none(), "a write may only go through the disk while there is a view");
        assert!(disk.place(0, 4096, false).is_some());
        drop(view);
        assert!(disk.place(0, 4096, true).is_some());
    });
    drop(reading);
}

#[test]
fn clusters_stay_where_they_are_while_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let disk = image(folder.path(), ImageFormat::Qcow2, 1 << 20);
    let Some(mut rig) = Rig::new(&disk, IoEngine::Auto) else { return };
    assert!(disk.place(0, 4096, true).is_none(), "there is no cluster yet");
    rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 4096)])).unwrap();
    for write in [false, true] {
        let place = disk.place(0, 4096, write).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(disk.write_zeroes(0, 65536, true)).unwrap());
            assert!(receiver.recv_timeout(MOMENT).is_err(), "the cluster was taken away");
            assert!(disk.place(0, 4096, write).is_none(), "nobody new comes before who waits");
            drop(place);
            receiver.recv().unwrap().unwrap();
        });
        rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 4096)])).unwrap();
    }
}

#[test]
fn a_dropped_engine_has_done_everything() {
    for choice in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let disk = image(folder.path(), ImageFormat::Raw, 2 << 20);
        let Some(mut rig) = Rig::new(&disk, choice) else { continue };
        for block in 0..300 {
            rig.fill(block * BLOCK, &pattern(block));
            rig.engine.add(rig.transfer(IoOperation::Write, block * BLOCK, &[(block * BLOCK, 4096)]));
        }
        let memory = Arc::downgrade(&rig.memory);
        drop(rig);
        assert!(memory.upgrade().is_none(), "something still has the guest's memory");
        let bytes = std::fs::read(folder.path().join("raw")).unwrap();
        assert!((0..300).all(|block| bytes[(block * BLOCK) as usize..][..BLOCK as usize] == pattern(block)));
    }
}

#[test]
fn threads_end_with_their_disk() {
    // Other tests start and end threads at any time.
    in_own_process("disk::engine::tests::waiting::threads_end_with_their_disk", || {
        let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let folder = tempfile::tempdir().unwrap();
        let disk = image(folder.path(), ImageFormat::Qcow2, 2 << 20);
        let before = count();
        let mut rig = Rig::new(&disk, IoEngine::Threads).unwrap();
        assert_eq!(count(), before, "no thread is there before it is needed");
        for block in 0..300 {
            rig.engine.add(rig.transfer(IoOperation::Write, block * BLOCK, &[(block * BLOCK, 4096)]));
        }
        rig.engine.submit();
        assert!(count() <= before + pool::MAX_THREADS);
        drop(rig);
        assert_eq!(count(), before);
    });
}

/// The threads that create and drop a ring belong to the program and wait for events of their own.
#[test]
fn a_ring_that_is_closed_interrupts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let disk = image(folder.path(), ImageFormat::Raw, 1 << 20);
    let events = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let rings: Vec<_> = (0..20).map_while(|_| Rig::new(&disk, IoEngine::IoUring)).collect();
    let dropped = std::thread::spawn(move || {
        for mut rig in rings {
            rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 4096)])).unwrap();
        }
    });
    let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let wait = || {
        let mut ready = [std::mem::MaybeUninit::uninit(); 1];
        rustix::event::epoll::wait(&events, &mut ready, Some(&limit)).map(|(ready, _)| ready.len())
    };
    // The kernel destroys a ring some time after it was closed, so the test waits a little longer.
    while !dropped.is_finished() {
        assert_eq!(wait(), Ok(0));
    }
    dropped.join().unwrap();
    assert_eq!(wait(), Ok(0));
}
