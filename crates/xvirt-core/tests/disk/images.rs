//! Reading and writing images of both formats.

use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};

use crate::need;
use crate::support::*;

/// Makes random requests to a disk and to a plain buffer, and compares the data that both read.
fn exercise(disk: &dyn BlockBackend, model: &mut [u8], requests: u64, seed: u64) {
    let mut random = Random::new(seed);
    let sectors = disk.capacity() / 512;
    for request in 0..requests {
        let offset = random.below_u64(sectors) * 512;
        let most = (disk.capacity() - offset).min(300 * 1024) / 512;
        let length = (random.below_u64(most) + 1) * 512;
        let range = offset as usize..(offset + length) as usize;
        match random.below_u64(8) {
            0..=2 => {
                let bytes = pattern(seed + request, length as usize);
                write(disk, offset, &bytes).unwrap();
                model[range].copy_from_slice(&bytes);
            }
            3 => {
                disk.write_zeroes(offset, length, request % 2 == 0).unwrap();
                model[range].fill(0);
            }
            4 => {
                disk.discard(offset, length).unwrap();
                model[range.clone()].copy_from_slice(&read(disk, offset, length as usize).unwrap());
            }
            5 if request % 8 == 0 => disk.flush().unwrap(),
            _ => assert!(read(disk, offset, length as usize).unwrap() == model[range], "request {request}"),
        }
    }
    assert!(all(disk) == model);
}

#[test]
fn raw_keeps_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    let mut model = pattern(1, 5 * MIB as usize);
    std::fs::write(&path, &model).unwrap();
    let disk = open_as(&path, ImageFormat::Raw, Access::ReadWrite);
    assert_eq!(disk.capacity(), 5 * MIB);
    exercise(&*disk, &mut model, 300, 7);
    disk.flush().unwrap();
    assert!(std::fs::read(&path).unwrap() == model);
}

#[test]
fn qcow2_keeps_what_is_written() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for (number, cluster) in ["512", "4k", "64k", "2M"].into_iter().enumerate() {
        let options = format!("cluster_size={cluster}");
        let path = qemu_create(folder.path(), &format!("{cluster}.qcow2"), &["-f", "qcow2", "-o", &options], "9M");
        let mut model = vec![0; 9 * MIB as usize];
        let disk = open(&path);
        exercise(&*disk, &mut model, 300, 11 + number as u64);
        drop(disk);
        check(&path);
        assert!(qemu_bytes(&path, "qcow2") == model, "cluster size {cluster}");
        assert!(all(&*disk::open(&path, None, Access::ReadOnly).unwrap()) == model);
    }
}

#[test]
fn scattered_buffers_are_filled_and_written_in_order() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("a.raw");
    std::fs::write(&raw, vec![0; 2 * MIB as usize]).unwrap();
    let qcow2 = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2"], "2M");
    for disk in [open_as(&raw, ImageFormat::Raw, Access::ReadWrite), open(&qcow2)] {
        let source = pattern(3, 1_500 * 512);
        disk.write(&pieces(&mut source.clone()), 1536).unwrap();
        let mut target = vec![0; source.len()];
        disk.read(&pieces(&mut target), 1536).unwrap();
        assert!(source == target);
        disk.flush().unwrap();
    }
}

/// More pieces than the kernel accepts in one call, of different sizes, some empty.
fn pieces(memory: &mut [u8]) -> Vec<GuestSlice<'_>> {
    let mut slices = Vec::new();
    let mut rest = memory;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_mut((slices.len() % 700).min(rest.len()));
        slices.push(GuestSlice::from(head));
        rest = tail;
    }
    assert!(slices.len() > 1024);
    slices
}
