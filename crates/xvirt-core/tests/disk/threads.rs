//! Several queues on one disk.

use std::sync::atomic::{AtomicBool, Ordering};

use xvirt_core::disk::{self, Access, BlockBackend};

use crate::need;
use crate::support::*;

pub const SIZE: u64 = 24 * MIB;
pub const THREADS: u64 = 4;
/// Small, so that threads share clusters; the stripes of one thread lie between those of others.
const STRIPE: u64 = 8 * 1024;

/// Writes every fourth stripe, and returns the expected contents.
pub fn work(disk: &dyn BlockBackend, thread: u64, base: &[u8], requests: u64) -> Vec<(u64, Vec<u8>)> {
    let mut random = Random::new(1000 + thread);
    let stripes = SIZE / STRIPE / THREADS;
    let at = |stripe: u64| (stripe * THREADS + thread) * STRIPE;
    let mut model: Vec<Vec<u8>> = (0..stripes)
        .map(|stripe| {
            let from = at(stripe) as usize;
            (from..from + STRIPE as usize).map(|place| base.get(place).copied().unwrap_or(0)).collect()
        })
        .collect();
    for request in 0..requests {
        let stripe = random.below_u64(stripes);
        let start = random.below_u64(STRIPE / 512) * 512;
        let length = (random.below_u64((STRIPE - start) / 512) + 1) * 512;
        let range = start as usize..(start + length) as usize;
        let expected = &mut model[stripe as usize][range];
        match random.below_u64(10) {
            0..=4 => {
                expected.copy_from_slice(&pattern(thread << 32 | request, length as usize));
                write(disk, at(stripe) + start, expected).unwrap();
            }
            5 => {
                expected.fill(0);
                disk.write_zeroes(at(stripe) + start, length, request % 2 == 0).unwrap();
            }
            6 => {
                disk.discard(at(stripe) + start, length).unwrap();
                expected.copy_from_slice(&read(disk, at(stripe) + start, length as usize).unwrap());
            }
            7 if request % 20 == 0 => disk.flush().unwrap(),
            _ => assert!(read(disk, at(stripe) + start, length as usize).unwrap() == expected, "request {request}"),
        }
    }
    model.into_iter().enumerate().map(|(stripe, bytes)| (at(stripe as u64), bytes)).collect()
}

#[test]
fn four_threads_do_not_disturb_each_other() {
    need!("qemu-img");
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let base = pattern(77, 17 * MIB as usize);
    let raw = folder.path().join("base.raw");
    std::fs::write(&raw, &base).unwrap();
    let compressed = folder.path().join("compressed.qcow2");
    let convert = ["convert", "-c", "-O", "qcow2", text(&raw), text(&compressed)];
    run("qemu-img", &convert);
    run("qemu-img", &["resize", "-q", text(&compressed), "24M"]);
    let on_base = |cluster: &str| {
        let options = format!("cluster_size={cluster}");
        let arguments = ["-f", "qcow2", "-F", "raw", "-b", "base.raw", "-o", &options];
        qemu_create(folder.path(), &format!("{cluster}.qcow2"), &arguments, "24M")
    };
    for path in [on_base("64k"), on_base("4k"), on_base("512"), compressed.clone()] {
        let disk = open(&path);
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (disk, base) = (&*disk, &base);
                    scope.spawn(move || work(disk, thread, base, 2500))
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let mut model = vec![0; SIZE as usize];
        for (at, bytes) in done {
            model[at as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert!(all(&*disk) == model, "{}", path.display());
        drop(disk);
        check(&path);
        assert!(qemu_bytes(&path, "qcow2") == model, "{}", path.display());
    }
}

#[test]
fn readers_see_whole_sectors_while_a_writer_allocates() {
    need!("qemu-img");
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = qemu_create(folder.path(), "a.qcow2", &["-f", "qcow2", "-o", "cluster_size=4k"], "4M");
    let disk = disk::open(&path, None, Access::ReadWrite).unwrap();
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (disk, finished) = (&*disk, &finished);
            scope.spawn(move || {
                let mut random = Random::new(5 + thread);
                while !finished.load(Ordering::Relaxed) {
                    let bytes = read(disk, random.below_u64(4 * MIB / 512) * 512, 512).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a torn sector");
                }
            });
        }
        for sector in (0..4 * MIB / 512).rev() {
            write(&*disk, sector * 512, &[sector as u8 | 1; 512]).unwrap();
        }
        finished.store(true, Ordering::Relaxed);
    });
}
