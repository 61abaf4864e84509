//! A failure affects the view, never the guest.

use super::*;

/// Overwrites a block while `breaking` is in effect; the disk has the new contents, and the error of the view says
/// `why`.
fn breaks(breaking: impl Fn(&Storage, &Storage), mending: impl Fn(&Storage), kind: io::ErrorKind, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (storage, disk, scratch) = filled(folder.path(), 4);
    let (lost, bystander) = (view(&disk, &scratch), Storage::new(folder.path(), "other", 4 * BLOCK));
    let before = all(&*disk);
    breaking(&storage, &scratch);
    write(&*disk, BLOCK, &[0xaa; 512]).unwrap();
    mending(&storage);
    assert!(read(&*disk, BLOCK, 512).unwrap().iter().all(|byte| *byte == 0xaa));
    for outcome in [read(&*lost, 0, 512).map(drop), read(&*lost, BLOCK, 512).map(drop), lost.next_data(0).map(drop)] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(Arc::strong_count(&scratch), 1, "its space is given back while the view is still there");
    // Another view of the same disk is unaffected.
    let now = all(&*disk);
    let other = view(&disk, &bystander);
    disk.write_zeroes(0, 4 * BLOCK, true).unwrap();
    assert!(all(&*other) == now && now != before);
}

#[test]
fn a_full_scratch_file_breaks_the_view_only() {
    let full = |_: &Storage, scratch: &Storage| scratch.full.store(true, Ordering::SeqCst);
    let why = "could not write the scratch file at byte 65536: No space left";
    breaks(full, |_| (), io::ErrorKind::StorageFull, why);
}

#[test]
fn an_unreadable_disk_breaks_the_view_only() {
    let unreadable = |disk: &Storage, _: &Storage| disk.unreadable.store(true, Ordering::SeqCst);
    let readable = |disk: &Storage| disk.unreadable.store(false, Ordering::SeqCst);
    let kind = io::Error::from_raw_os_error(libc::EIO).kind();
    breaks(unreadable, readable, kind, "could not read the disk at byte 65536: Input/output error");
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_, disk, _) = filled(folder.path(), 1);
    let error = snapshot_views(&[disk], &folder.path().join("missing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("scratch file in"), "{error}");
    assert!(error.remedy().unwrap().contains("create the directory"), "{error}");
}
