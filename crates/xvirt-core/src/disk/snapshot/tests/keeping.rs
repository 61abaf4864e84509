//! Which blocks are preserved, when, and for how long.

use std::thread;

use super::*;

#[test]
fn a_view_shows_what_was_there_whatever_happens_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (_, disk, _) = filled(folder.path(), 8);
    let before = all(&*disk);
    let view = snapshot_views(std::slice::from_ref(&disk), folder.path()).unwrap().remove(0);
    write(&*disk, BLOCK - 512, &[0xaa; 1024]).unwrap();
    disk.write_zeroes(3 * BLOCK, 512, false).unwrap();
    disk.discard(5 * BLOCK, 2 * BLOCK).unwrap();
    assert!(all(&*view) == before);
    assert_eq!((view.capacity(), view.read_only()), (8 * BLOCK, true));
    let mut after = before;
    after[BLOCK as usize - 512..][..1024].fill(0xaa);
    after[3 * BLOCK as usize..][..512].fill(0);
    after[5 * BLOCK as usize..][..2 * BLOCK as usize].fill(0);
    assert!(all(&*disk) == after);
    let refused = [write(&*view, 0, &[0; 512]), view.discard(0, 512), view.write_zeroes(0, 512, true)];
    assert!(refused.into_iter().all(|refused| refused.unwrap_err().raw_os_error() == Some(libc::EROFS)));
    assert!(read(&*view, 8 * BLOCK - 512, 1024).is_err());
    // The scratch file has no name.
    let names = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name != "disk" && name != "scratch").count(), 0);
}

#[test]
fn a_buffer_in_pieces_is_filled_from_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let (_, disk, scratch) = filled(folder.path(), 3);
    let view = view(&disk, &scratch);
    write(&*disk, BLOCK, &[0xaa; 512]).unwrap();
    let (mut one, mut two) = (vec![0; 512], vec![0; 2 * BLOCK as usize]);
    let buffers = [GuestSlice::from(one.as_mut_slice()), GuestSlice::from(two.as_mut_slice())];
    view.read(&buffers, BLOCK / 2).unwrap();
    assert!([one, two].concat() == read(&*view, BLOCK / 2, 512 + 2 * BLOCK).unwrap());
}

#[test]
fn holes_stay_holes_and_read_as_zeroes_after_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Storage::new(folder.path(), "disk", 1 << 40);
    let scratch = Storage::new(folder.path(), "scratch", 1 << 40);
    let disk = Arc::new(CopyBeforeWrite::new(disk as _));
    write(&*disk, 10 * BLOCK, &[1; BLOCK as usize]).unwrap();
    let view = view(&disk, &scratch);
    write(&*disk, 4 * BLOCK, &[2; 2 * BLOCK as usize]).unwrap();
    write(&*disk, 900 << 30, &[3; BLOCK as usize]).unwrap();
    disk.discard(10 * BLOCK, BLOCK).unwrap();
    assert!(read(&*view, 4 * BLOCK, 2 * BLOCK).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(view.next_data(0).unwrap(), Some(10 * BLOCK..11 * BLOCK));
    assert_eq!(view.next_data(11 * BLOCK).unwrap(), None);
    assert_eq!(scratch.writes.load(Ordering::SeqCst), 1);
}

#[test]
fn where_data_is_is_not_asked_for_again_with_each_block() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, disk, scratch) = filled(folder.path(), 32);
    let view = view(&disk, &scratch);
    for block in 0..32 {
        write(&*disk, block * BLOCK, &[0xaa; 512]).unwrap();
    }
    assert_eq!(storage.searches.load(Ordering::SeqCst), 1);
    assert!(read(&*view, 31 * BLOCK, BLOCK).unwrap().iter().all(|byte| *byte == 32));
}

#[test]
fn a_block_is_copied_once_and_its_writers_wait_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, disk, scratch) = filled(folder.path(), 4);
    let view = view(&disk, &scratch);
    let before = storage.writes.load(Ordering::SeqCst);
    storage.hold_next();
    std::thread::scope(|scope| {
        let disk = &*disk;
        let writer = |i: u64| scope.spawn(move || write(disk, BLOCK + i * 512, &[0xaa; 512]).unwrap());
        let first = writer(0);
        storage.wait_until_held();
        let others = [writer(1), writer(2)];
        // A write to another block need not wait.
        write(disk, 3 * BLOCK, &[0xbb; 512]).unwrap();
        assert_eq!(storage.writes.load(Ordering::SeqCst), before + 1);
        assert!(!first.is_finished() && others.iter().all(|writer| !writer.is_finished()));
        storage.let_go();
    });
    assert_eq!(storage.writes.load(Ordering::SeqCst), before + 4);
    assert_eq!(scratch.writes.load(Ordering::SeqCst), 2);
    assert!(read(&*view, BLOCK, BLOCK).unwrap().iter().all(|byte| *byte == 2));
}

#[test]
fn a_reader_that_a_write_overtakes_reads_again() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, disk, scratch) = filled(folder.path(), 4);
    let view = view(&disk, &scratch);
    storage.hold_next();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&*view, 0, 4 * BLOCK).unwrap());
        storage.wait_until_held();
        write(&*disk, BLOCK, &[0xaa; 2 * BLOCK as usize]).unwrap();
        // Only now does it read from the disk, and finds the new data.
        storage.let_go();
        let expected: Vec<u8> = (1..=4).flat_map(|block| [block; BLOCK as usize]).collect();
        assert!(reader.join().unwrap() == expected);
    });
}

#[test]
fn what_was_released_is_neither_kept_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let (_, disk, scratch) = filled(folder.path(), 4);
    let view = view(&disk, &scratch);
    write(&*disk, 0, &[0xaa; 512]).unwrap();
    view.release(2 * BLOCK + 512);
    view.release(BLOCK);
    write(&*disk, 0, &[0xbb; 2 * BLOCK as usize]).unwrap();
    assert_eq!(scratch.writes.load(Ordering::SeqCst), 1);
    assert_eq!(scratch.next_data(0).unwrap(), None, "the space was given back");
    assert!(read(&*view, 2 * BLOCK, 512).unwrap_err().to_string().contains("released"));
    write(&*disk, 2 * BLOCK, &[0xcc; BLOCK as usize]).unwrap();
    assert!(read(&*view, 2 * BLOCK + 512, BLOCK - 512).unwrap().iter().all(|byte| *byte == 3));
}

#[test]
fn a_dropped_view_ends_the_copying_and_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, disk, scratch) = filled(folder.path(), 4);
    let mut views: Vec<_> = (0..MAX).map(|_| view(&disk, &scratch)).collect();
    let refused = make(std::slice::from_ref(&disk), vec![Arc::clone(&scratch) as _]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    views.pop();
    views.push(view(&disk, &scratch));
    drop(views);
    assert_eq!(Arc::strong_count(&scratch), 1);
    let reads = storage.reads.load(Ordering::SeqCst);
    write(&*disk, 0, &[0xaa; 512]).unwrap();
    assert_eq!((storage.reads.load(Ordering::SeqCst), scratch.writes.load(Ordering::SeqCst)), (reads, 0));
}

#[test]
fn a_disk_of_any_size_can_have_a_view() {
    let folder = tempfile::tempdir().unwrap();
    /// An empty disk of the maximum size.
    #[derive(Debug)]
    struct Endless;
    impl BlockBackend for Endless {
        fn capacity(&self) -> u64 {
            u64::MAX / 512 * 512
        }
        fn read_only(&self) -> bool {
            false
        }
        fn read(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
        fn discard(&self, _: u64, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
            Ok(())
        }
        fn next_data(&self, _: u64) -> io::Result<Option<Range<u64>>> {
            Ok(None)
        }
    }
    let disk = Arc::new(CopyBeforeWrite::new(Arc::new(Endless)));
    let scratch = Storage::new(folder.path(), "scratch", 1 << 20);
    let view = view(&disk, &scratch);
    write(&*disk, disk.capacity() - 512, &[1; 512]).unwrap();
    assert!(read(&*view, disk.capacity() - 1024, 512).is_err(), "kept, but not in a file that is so small");
    assert!(read(&*view, 0, 512).is_ok());
    let error = snapshot_views(&[disk], folder.path()).unwrap_err();
    assert!(error.remedy().unwrap().contains("a file system that supports files of"), "{error}");
}

#[test]
fn a_disk_of_a_former_run_is_there_or_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    disk::create(&path, ImageFormat::Raw, 1 << 20).unwrap();
    let open = || disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite);
    for _ in 0..500 {
        let disk = Arc::new(CopyBeforeWrite::new(open().unwrap()));
        let previous = disk.previous();
        assert!(previous.get().is_some_and(|same| Arc::ptr_eq(&same, &disk)));
        let user = thread::spawn(move || drop(disk));
        while previous.get().is_some() {}
        // The last user may be closing it.
        open().unwrap();
        user.join().unwrap();
    }
}
