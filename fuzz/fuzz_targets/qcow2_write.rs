//! Fuzzes writes to qcow2 images with inconsistent tables.
//!
//! A guest must not affect anything that it did not address: the header names the same backing file as before, no
//! foreign table has changed, written data reads back, and the image can be opened for writing again. The guest writes
//! data that looks like headers with a backing file beside the image, and like tables; that file must never be opened.
#![no_main]

use std::fs;
use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xvirt_core::disk::{Access, BlockBackend, GuestSlice, ImageFormat, inspect, open};
use xvirt_fuzz::qcow2::{Folder, Image, Mutation, SECTOR};

const MAX_STEPS: usize = 24;
const MAX_MUTATIONS: usize = 8;
const MAX_BYTES: u64 = 8 << 10;
/// The size limit of disks whose contents are compared.
const BIGGEST: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    // The last bytes control the steps, so that the image starts where its file does.
    let Some((image, rest)) = data.split_last_chunk::<512>().map(|(image, rest)| (image.to_vec(), rest)) else {
        return;
    };
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(rest)) else { return };
    let mut image = Image(image);
    input.mutations.iter().take(MAX_MUTATIONS).for_each(|mutation| mutation.apply(&mut image));
    image.forget_backing_file();
    Folder::with(|folder| round(folder, &image, &input.steps));
});

fn round(folder: &Folder, image: &Image, steps: &[Step]) {
    let path = folder.image();
    fs::write(path, &image.0).expect("there is memory");
    let qcow2 = Some(ImageFormat::Qcow2);
    let Ok(before) = inspect(path, qcow2) else { return };
    let Ok(disk) = open(path, qcow2, Access::ReadWrite) else {
        let changed = fs::read(path).expect("the image is there") != image.0;
        // An image that was not closed may be repaired before it is refused for another reason.
        assert!(!changed || image.is_dirty() || image.has_autoclear_features(), "a refused image was changed");
        return;
    };
    let mut model = Model::of(&*disk);
    for step in steps.iter().take(MAX_STEPS) {
        step.run(&*disk, &mut model);
    }
    model.compare(&*disk);
    drop(disk);
    let after = Image(fs::read(path).expect("the image is there"));
    image.compare_with(&after, &model.addressed);
    let info = inspect(path, qcow2).expect("the header is good");
    assert_eq!(info.backing, before.backing, "the header names another backing file");
    let disk = open(path, qcow2, Access::ReadWrite).expect("the image is as good as it was");
    model.compare(&*disk);
    drop(disk);
    folder.is_as_before();
}

/// The expected contents of the disk.
struct Model {
    /// `None` after a failure or a discard; or for all bytes, if the disk is too large.
    bytes: Vec<Option<u8>>,
    /// The ranges that the guest has addressed, in bytes.
    addressed: Vec<Range<u64>>,
}

impl Model {
    fn of(disk: &dyn BlockBackend) -> Self {
        let mut bytes = Vec::new();
        if disk.capacity() <= BIGGEST {
            for sector in 0..disk.capacity() / SECTOR {
                // Compressed data may be damaged.
                let read = read(disk, sector * SECTOR, SECTOR).map(|bytes| bytes.into_iter().map(Some).collect());
                bytes.extend(read.unwrap_or(vec![None; SECTOR as usize]));
            }
        }
        Self { bytes, addressed: Vec::new() }
    }

    fn set(&mut self, range: Range<u64>, what: impl Iterator<Item = Option<u8>>) {
        if let Some(bytes) = self.bytes.get_mut(range.start as usize..range.end as usize) {
            bytes.iter_mut().zip(what).for_each(|(byte, what)| *byte = what);
        }
        self.addressed.push(range);
    }

    fn compare(&self, disk: &dyn BlockBackend) {
        for (sector, expected) in (0..).zip(self.bytes.chunks(SECTOR as usize)) {
            if expected.iter().all(Option::is_none) {
                continue;
            }
            let bytes = read(disk, sector * SECTOR, SECTOR).expect("what could be read can be read");
            let same =
                bytes.iter().zip(expected).all(|(byte, expected)| expected.is_none_or(|expected| expected == *byte));
            assert!(same, "sector {sector} holds something else");
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    mutations: Vec<Mutation>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Write { at: u16, length: u16, fill: Fill },
    Discard { at: u16, length: u16 },
    Zero { at: u16, length: u16, unmap: bool },
    Flush,
    Grow { sectors: u8 },
}

/// The data that the guest writes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fill {
    Byte(u8),
    /// A header with a backing file.
    Header,
    /// Entries that point to a cluster of the image.
    Entries(u8),
}

impl Step {
    fn run(&self, disk: &dyn BlockBackend, model: &mut Model) {
        // Any position on the disk, in steps of 1/2^16 of its size.
        let place = |at: u16, length: u16| {
            let start = ((u128::from(disk.capacity()) * u128::from(at)) >> 16) as u64 / SECTOR * SECTOR;
            let length = (u64::from(length) % MAX_BYTES).next_multiple_of(SECTOR);
            start..start.saturating_add(length).min(disk.capacity())
        };
        match *self {
            Self::Write { at, length, fill } => {
                let range = place(at, length);
                let mut bytes = fill.bytes((range.end - range.start) as usize);
                let written = bytes.iter().copied().map(Some).collect::<Vec<_>>();
                let done = write(disk, range.start, &mut bytes);
                model.set(range, written.into_iter().map(|byte| byte.filter(|_| done)));
            }
            Self::Discard { at, length } => {
                let range = place(at, length);
                let _ = disk.discard(range.start, range.end - range.start);
                model.set(range, std::iter::repeat(None));
            }
            Self::Zero { at, length, unmap } => {
                let range = place(at, length);
                let done = disk.write_zeroes(range.start, range.end - range.start, unmap).is_ok();
                model.set(range, std::iter::repeat(done.then_some(0)));
            }
            Self::Flush => drop(disk.flush()),
            Self::Grow { sectors } => {
                let old = disk.capacity();
                let Some(size) = old.checked_add(u64::from(sectors) * SECTOR) else { return };
                if size > old && !model.bytes.is_empty() && disk.grow(size).is_ok() {
                    // There may be mappings beyond the old end, which become visible.
                    model.bytes.resize(size as usize, None);
                    model.addressed.push(old..size);
                }
            }
        }
    }
}

impl Fill {
    fn bytes(self, length: usize) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![byte; length],
            Self::Header => Folder::header().into_iter().cycle().take(length).collect(),
            Self::Entries(cluster) => {
                let entry = ((1 << 63) | (u64::from(cluster) * SECTOR)).to_be_bytes();
                entry.into_iter().cycle().take(length).collect()
            }
        }
    }
}

fn write(disk: &dyn BlockBackend, offset: u64, bytes: &mut [u8]) -> bool {
    disk.write(&[GuestSlice::from(bytes)], offset).is_ok()
}

fn read(disk: &dyn BlockBackend, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    disk.read(&[GuestSlice::from(&mut bytes[..])], offset)?;
    Ok(bytes)
}
