//! Each path transfers the right bytes to the right places.

use crate::memory::GuestSlice;

use super::*;

const BLOCKS: u64 = 256;
const SIZE: u64 = 4 * BLOCKS * BLOCK;

fn read(disk: &dyn BlockBackend, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset).unwrap();
    bytes
}

/// Block numbers in an order in which some are adjacent and most are not.
fn scattered() -> Vec<u64> {
    let mut blocks: Vec<u64> = (0..BLOCKS).collect();
    (0..BLOCKS as usize / 2).step_by(3).for_each(|i| blocks.swap(i, (i * 7 + 100) % BLOCKS as usize));
    blocks
}

/// Writes and reads all blocks, many at once, and checks them without the engine.
fn many_at_once(rig: &mut Rig, disk: &dyn BlockBackend, shift: u64) {
    for operation in [IoOperation::Write, IoOperation::Read] {
        for block in 0..BLOCKS {
            let bytes = if operation == IoOperation::Write { pattern(block) } else { vec![0; BLOCK as usize] };
            rig.fill(block * BLOCK + shift, &bytes);
        }
        for (count, block) in scattered().into_iter().enumerate() {
            let half = BLOCK as u32 / 2;
            let pieces = [(block * BLOCK + shift, half), (block * BLOCK + shift + u64::from(half), half)];
            rig.engine.add(rig.transfer(operation, block * 3 * BLOCK, &pieces));
            if count % 50 == 49 {
                rig.engine.submit();
            }
        }
        rig.engine.submit();
        let mut tokens: Vec<_> = rig.all().iter().map(|request| (request.token, request.outcome.is_ok())).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, (0..BLOCKS).map(|block| ((block * 3 * BLOCK) as usize, true)).collect::<Vec<_>>());
        for block in 0..BLOCKS {
            assert!(rig.bytes(block * BLOCK + shift, BLOCK as usize) == pattern(block), "{operation:?} {block}");
            assert!(read(disk, block * 3 * BLOCK, BLOCK as usize) == pattern(block), "{operation:?} {block}");
        }
    }
}

#[test]
fn many_requests_at_once_do_not_mix_up_their_bytes() {
    for choice in ENGINES {
        for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
            let folder = tempfile::tempdir().unwrap();
            let disk = image(folder.path(), format, SIZE);
            let Some(mut rig) = Rig::new(&disk, choice) else { continue };
            // The second time, all clusters of a qcow2 image are allocated.
            many_at_once(&mut rig, &*disk, 0);
            many_at_once(&mut rig, &*disk, 0);
            assert_eq!(rig.engine.kind(), choice);
        }
    }
}

#[test]
fn memory_that_is_not_aligned_is_copied_for_a_direct_disk() {
    for choice in ENGINES {
        for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
            let folder = tempfile::tempdir().unwrap();
            drop(image(folder.path(), format, SIZE));
            let path = folder.path().join(format.to_string());
            let image = disk::Image::Path(&path, Some(format));
            let disk = disk::Opening { image, access: Access::ReadWrite, direct: true }.open();
            let disk = match disk {
                Ok(disk) => disk,
                Err(error) => {
                    println!("SKIPPED memory_that_is_not_aligned_is_copied_for_a_direct_disk: {error}");
                    return;
                }
            };
            let Some(mut rig) = Rig::new(&disk, choice) else { continue };
            for shift in [0, 513] {
                many_at_once(&mut rig, &*disk, shift);
            }
        }
    }
}

#[test]
fn requests_that_continue_each_other_go_to_the_kernel_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = image(folder.path(), ImageFormat::Raw, SIZE);
    let Some(rig) = Rig::new(&disk, IoEngine::IoUring) else { return };
    let mut ring = ring::Ring::new().unwrap();
    let mut add = |operation, block: u64| {
        let request = rig.transfer(operation, block * BLOCK, &[(block % 7 * BLOCK, BLOCK as u32)]);
        let place = disk.place(block * BLOCK, BLOCK, operation == IoOperation::Write).unwrap();
        let descriptor = place.descriptor(&request.buffers).unwrap();
        ring.add(request, place, descriptor);
        ring.entries()
    };
    let (write, read) = (IoOperation::Write, IoOperation::Read);
    assert_eq!([add(write, 5), add(write, 6), add(write, 7)], [1, 1, 1]);
    assert_eq!([add(write, 9), add(write, 10), add(read, 11), add(read, 12)], [2, 2, 3, 3]);
    // Up to half a megabyte is merged.
    let entries: Vec<_> = (100..100 + 129).map(|block| add(read, block)).collect();
    assert_eq!((entries[0], entries[127], entries[128]), (4, 4, 5));
}

#[test]
fn space_is_cleared_and_flushes_reach_the_backend() {
    for choice in ENGINES {
        for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
            let folder = tempfile::tempdir().unwrap();
            let disk = image(folder.path(), format, SIZE);
            let Some(mut rig) = Rig::new(&disk, choice) else { continue };
            rig.fill(0, &[7; 1 << 20]);
            rig.one(rig.transfer(IoOperation::Write, 0, &[(0, 1 << 20)])).unwrap();
            rig.one(rig.other(IoOperation::Discard, [0..65536, 131_072..196_608])).unwrap();
            let mut request = rig.other(IoOperation::WriteZeroes, Some(262_144..327_680));
            request.unmap = true;
            rig.one(request).unwrap();
            rig.one(rig.other(IoOperation::WriteZeroes, Some(327_680..331_776))).unwrap();
            rig.one(rig.other(IoOperation::Flush, None)).unwrap();
            let bytes = read(&*disk, 0, 1 << 20);
            assert!(bytes[262_144..331_776].iter().all(|byte| *byte == 0));
            assert!(bytes[65536..131_072].iter().chain(&bytes[331_776..]).all(|byte| *byte == 7));
            rig.one(rig.transfer(IoOperation::Read, 327_680, &[(0, 8192)])).unwrap();
            assert_eq!((rig.bytes(0, 4096), rig.bytes(4096, 4096)), (vec![0; 4096], vec![7; 4096]));
        }
    }
}
