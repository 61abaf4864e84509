//! Fuzzes qcow2 images: opening, reading and writing.
//!
//! Written data need not read back, because clusters of a hostile image may overlap each other or its tables. The only
//! allowed backing file is `base` beside the image, so that no other file of this machine is opened.
#![no_main]

use std::fs;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xvirt_core::disk::{Access, BlockBackend, GuestSlice, ImageFormat, inspect, open};
use xvirt_fuzz::qcow2::{Folder, Image};

const MAX_STEPS: usize = 16;
const MAX_BYTES: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    // The last bytes control the steps, so that the image starts where its file does.
    let Some((image, steps)) = data.split_last_chunk::<64>().map(|(image, steps)| (image.to_vec(), steps)) else {
        return;
    };
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(steps)) else { return };
    let mut image = Image(image);
    image.forget_backing_file();
    Folder::with(|folder| {
        let path = folder.image();
        fs::write(path, &image.0).expect("there is memory");
        drop(inspect(path, Some(ImageFormat::Qcow2)));
        let access = if input.write { Access::ReadWrite } else { Access::ReadOnly };
        let Ok(disk) = open(path, Some(ImageFormat::Qcow2), access) else { return };
        input.steps.iter().take(MAX_STEPS).for_each(|step| step.run(&*disk));
    });
});

#[derive(Arbitrary, Debug)]
struct Input {
    write: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read { at: u16, length: u16 },
    Write { at: u16, length: u16, fill: u8 },
    Discard { at: u16, length: u16 },
    Zero { at: u16, length: u16, unmap: bool },
    Flush,
    NextData { at: u16 },
}

impl Step {
    fn run(&self, disk: &dyn BlockBackend) {
        // Any position on the disk, in steps of 1/2^16 of its size.
        let place = |at: u16, length: u16| {
            let offset = (disk.capacity() / (1 << 16) * u64::from(at)).next_multiple_of(512);
            let length = (u64::from(length) % MAX_BYTES as u64).next_multiple_of(512);
            (offset, length.min(disk.capacity().saturating_sub(offset)))
        };
        match *self {
            Self::Read { at, length } => drop(read(disk, place(at, length))),
            Self::Write { at, length, fill } if !disk.read_only() => {
                let (offset, length) = place(at, length);
                let mut bytes = vec![fill; length as usize];
                drop(disk.write(&[GuestSlice::from(&mut bytes[..])], offset));
                drop(read(disk, (offset, length)));
            }
            Self::Discard { at, length } if !disk.read_only() => {
                let (offset, length) = place(at, length);
                drop(disk.discard(offset, length));
            }
            Self::Zero { at, length, unmap } if !disk.read_only() => {
                let (offset, length) = place(at, length);
                drop(disk.write_zeroes(offset, length, unmap));
            }
            Self::Flush => drop(disk.flush()),
            Self::NextData { at } => {
                let (offset, _) = place(at, 0);
                if let Ok(Some(range)) = disk.next_data(offset) {
                    assert!(range.start >= offset && range.start < range.end && range.end <= disk.capacity());
                }
            }
            _ => {}
        }
    }
}

fn read(disk: &dyn BlockBackend, (offset, length): (u64, u64)) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    disk.read(&[GuestSlice::from(&mut bytes[..])], offset)?;
    Ok(bytes)
}
