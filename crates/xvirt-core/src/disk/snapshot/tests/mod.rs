//! Compares views to models, with several writers and with failing storage.

mod consistency;
mod failures;
mod keeping;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::*;
use crate::disk::{self, Access, ImageFormat};
use crate::memory::GuestSlice;

const BLOCK: u64 = 64 << 10;

/// A backend that counts, fails on demand, and can block one reader.
#[derive(Debug)]
struct Storage {
    bytes: Arc<dyn BlockBackend>,
    reads: AtomicUsize,
    writes: AtomicUsize,
    searches: AtomicUsize,
    unreadable: AtomicBool,
    full: AtomicBool,
    held: Mutex<Held>,
    changed: Condvar,
}

/// The progress of blocking the next reader.
#[derive(Debug, Default, PartialEq)]
enum Held {
    #[default]
    Nobody,
    Next,
    Somebody,
}

impl Storage {
    /// A new raw image of `size` bytes in `folder`.
    fn new(folder: &Path, name: &str, size: u64) -> Arc<Self> {
        let path = folder.join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        Arc::new(Self {
            bytes: disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite).unwrap(),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            searches: AtomicUsize::new(0),
            unreadable: AtomicBool::new(false),
            full: AtomicBool::new(false),
            held: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Blocks the next reader only.
    fn hold_next(&self) {
        *self.held.lock().unwrap() = Held::Next;
    }

    /// Waits until a reader is blocked.
    fn wait_until_held(&self) {
        drop(self.changed.wait_while(self.held.lock().unwrap(), |held| *held != Held::Somebody).unwrap());
    }

    fn let_go(&self) {
        *self.held.lock().unwrap() = Held::Nobody;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut held = self.held.lock().unwrap();
        if *held == Held::Next {
            *held = Held::Somebody;
            self.changed.notify_all();
            drop(self.changed.wait_while(held, |held| *held == Held::Somebody).unwrap());
        }
    }
}

impl BlockBackend for Storage {
    fn capacity(&self) -> u64 {
        self.bytes.capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.pass();
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.bytes.read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.bytes.write(buffers, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.bytes.flush()
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.bytes.discard(offset, length)
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.bytes.write_zeroes(offset, length, unmap)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.searches.fetch_add(1, Ordering::SeqCst);
        self.bytes.next_data(offset)
    }
}

/// A disk of `blocks` blocks filled with their numbers from 1, and a scratch backend.
fn filled(folder: &Path, blocks: u64) -> (Arc<Storage>, Arc<CopyBeforeWrite>, Arc<Storage>) {
    let storage = Storage::new(folder, "disk", blocks * BLOCK);
    let scratch = Storage::new(folder, "scratch", blocks * BLOCK);
    let disk = Arc::new(CopyBeforeWrite::new(Arc::clone(&storage) as _));
    for block in 0..blocks {
        write(&*disk, block * BLOCK, &[block as u8 + 1; BLOCK as usize]).unwrap();
    }
    (storage, disk, scratch)
}

/// A view of one disk that uses `scratch`.
fn view(disk: &Arc<CopyBeforeWrite>, scratch: &Arc<Storage>) -> Arc<SnapshotView> {
    make(std::slice::from_ref(disk), vec![Arc::clone(scratch) as _]).unwrap().remove(0)
}

fn read(disk: &dyn BlockBackend, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xee; length as usize];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset)?;
    Ok(bytes)
}

fn write(disk: &dyn BlockBackend, offset: u64, bytes: &[u8]) -> io::Result<()> {
    disk.write(&[GuestSlice::from(bytes.to_vec().as_mut_slice())], offset)
}

fn all(disk: &dyn BlockBackend) -> Vec<u8> {
    read(disk, 0, disk.capacity()).unwrap()
}
