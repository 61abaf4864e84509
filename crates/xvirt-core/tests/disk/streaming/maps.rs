//! The file that records which blocks are present.

use std::fs;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use xvirt_core::disk::GuestSlice;
use xvirt_core::{Error, ErrorKind};

use super::*;

#[track_caller]
fn tells(error: Error, kind: ErrorKind, what: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(what) && error.remedy().is_some(), "{error}");
}

#[test]
fn what_was_flushed_is_remembered_and_what_was_not_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(8, &[]));
    let disk = parts.create();
    write(&disk, BLOCK, &[0xaa; BLOCK as usize]).unwrap();
    read(&disk, 2 * BLOCK, 512).unwrap();
    disk.flush().unwrap();
    read(&disk, 3 * BLOCK, 512).unwrap();
    drop(disk);
    let disk = parts.reopen().unwrap();
    assert!(read(&disk, BLOCK, 512).unwrap() == [0xaa; 512]);
    read(&disk, 2 * BLOCK, 2 * BLOCK as usize).unwrap();
    assert_eq!(parts.source.reads(), [2, 3, 3]);
}

/// Records the map each time the target is flushed.
#[derive(Debug)]
struct Flushes {
    bytes: Arc<dyn BlockBackend>,
    map: PathBuf,
    seen: Mutex<Vec<Vec<u8>>>,
    failing: AtomicBool,
    /// The disk to write to between a flush of the target and its end.
    meanwhile: Mutex<Option<Arc<StreamingDisk>>>,
}

impl BlockBackend for Flushes {
    fn capacity(&self) -> u64 {
        self.bytes.capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.bytes.read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.bytes.write(buffers, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.seen.lock().unwrap().push(fs::read(&self.map).unwrap());
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.bytes.flush()?;
        match self.meanwhile.lock().unwrap().take() {
            Some(disk) => write(&*disk, 2 * BLOCK, &[0xbb; BLOCK as usize]),
            None => Ok(()),
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.bytes.discard(offset, length)
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.bytes.write_zeroes(offset, length, unmap)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.bytes.next_data(offset)
    }
}

/// A streaming disk of four blocks, and its target.
fn with_flushes(folder: &Path) -> (Parts, Arc<Flushes>, Arc<StreamingDisk>) {
    let parts = Parts::new(folder, numbered(4, &[]));
    let target = Arc::new(Flushes {
        bytes: Arc::clone(&parts.target),
        map: parts.map.clone(),
        seen: Mutex::default(),
        failing: AtomicBool::new(false),
        meanwhile: Mutex::default(),
    });
    let disk =
        StreamingDisk::create(Arc::clone(&parts.source) as _, Arc::clone(&target) as _, &parts.map, BLOCK).unwrap();
    (parts, target, Arc::new(disk))
}

#[test]
fn what_is_written_during_a_flush_is_not_taken_for_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let (parts, target, disk) = with_flushes(folder.path());
    *target.meanwhile.lock().unwrap() = Some(Arc::clone(&disk));
    write(&*disk, 0, &[0xaa; BLOCK as usize]).unwrap();
    disk.flush().unwrap();
    drop(disk);
    let disk = parts.reopen().unwrap();
    assert!(read(&disk, 0, 512).unwrap() == [0xaa; 512] && read(&disk, 2 * BLOCK, 512).unwrap() == [3; 512]);
}

#[test]
fn the_map_is_written_after_the_target_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let (Parts { map, .. }, target, disk) = with_flushes(folder.path());
    target.failing.store(true, Ordering::SeqCst);
    let empty = fs::read(&map).unwrap();
    write(&*disk, 0, &[0xaa; BLOCK as usize]).unwrap();
    // Blocks that were not flushed are not recorded as present.
    assert_eq!(disk.flush().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert!(fs::read(&map).unwrap() == empty);
    target.failing.store(false, Ordering::SeqCst);
    disk.flush().unwrap();
    let one = fs::read(&map).unwrap();
    assert!(one != empty);
    disk.flush().unwrap();
    assert!(*target.seen.lock().unwrap() == [empty.clone(), empty, one]);
}

#[test]
fn a_map_that_cannot_be_written_fails_the_flush() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(4, &[]));
    let disk = parts.create();
    write(&disk, 0, &[0xaa; BLOCK as usize]).unwrap();
    let obstacle = folder.path().join("map.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(disk.flush().is_err());
    assert!(disk.complete(&()).unwrap_err().to_string().contains("cannot put the disk"));
    fs::remove_dir(&obstacle).unwrap();
    disk.flush().unwrap();
    assert!(read(&parts.reopen().unwrap(), 0, 512).unwrap() == [0xaa; 512]);
}

#[test]
fn no_damage_of_the_map_is_taken_for_another_map() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(100, &[]));
    let disk = parts.create();
    write(&disk, 0, &[0xaa; 40 * BLOCK as usize]).unwrap();
    disk.flush().unwrap();
    let good = fs::read(&parts.map).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    damaged.extend((0..good.len() * 8).map(|bit| {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    }));
    damaged.push([&good[..], &[0]].concat());
    damaged.push(vec![0; 40 << 20]);
    for bytes in damaged {
        fs::write(&parts.map, bytes).unwrap();
        let error = parts.reopen().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CorruptImage | ErrorKind::UnsupportedImage), "{error}");
    }
    fs::write(&parts.map, good).unwrap();
    parts.reopen().unwrap();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path(), numbered(4, &[]));
    let create = |source: Arc<Source>, size| StreamingDisk::create(source, Arc::clone(&parts.target), &parts.map, size);
    tells(parts.reopen().unwrap_err(), ErrorKind::NotFound, "cannot read the disk map");
    for size in [0, 2048, 5000, 128 << 20] {
        tells(create(parts.source.clone(), size).unwrap_err(), ErrorKind::InvalidConfig, "in blocks of");
    }
    let other = Source::new(numbered(5, &[]));
    tells(create(other, BLOCK).unwrap_err(), ErrorKind::InvalidConfig, "has 262144 bytes, its source 327680");
    let fixed = StreamingDisk::create(Arc::clone(&parts.target), Arc::clone(&parts.source) as _, &parts.map, BLOCK);
    tells(fixed.unwrap_err(), ErrorKind::InvalidConfig, "cannot be written");
    drop(parts.create());
    tells(create(parts.source.clone(), BLOCK).unwrap_err(), ErrorKind::AlreadyExists, "cannot create the disk map");
    let larger = folder.path().join("larger");
    disk::create(&larger, ImageFormat::Raw, 5 * BLOCK).unwrap();
    let error = StreamingDisk::open(Source::new(numbered(5, &[])), open(&larger), &parts.map).unwrap_err();
    tells(error, ErrorKind::InvalidConfig, "it is for a disk of 262144 bytes, this one has 327680");
    let names = folder.path().read_dir().unwrap().count();
    assert_eq!(names, 3, "target, larger and map, and nothing else");
}
