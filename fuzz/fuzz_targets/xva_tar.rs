//! Fuzzes the iteration over the members of a tar archive.
//!
//! The input is an archive and one more byte, whose lowest bit selects whether header checksums are fixed first,
//! without which hardly any mutation would pass the check. The other bits select how the archive is split into pieces.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use xvirt_xva::fuzzing::members;

const BLOCK: usize = 512;
/// The number of bytes read from each member; the rest is skipped.
const START: u64 = 700;

fuzz_target!(|data: &[u8]| {
    let Some((control, archive)) = data.split_last() else { return };
    let mut archive = archive.to_vec();
    if control & 1 != 0 {
        archive.as_chunks_mut::<BLOCK>().0.iter_mut().for_each(seal);
    }
    let archive = Bytes::from(archive);
    let (found, passed, result) = members(&mut std::iter::once(archive.clone()), START);
    assert!(passed <= archive.len() as u64);
    let mut data = 0;
    for member in &found {
        assert!(!member.name.starts_with("./"));
        assert_eq!(member.start.len() as u64, member.size.min(START));
        data += member.start.len();
    }
    assert!(found.len() * BLOCK + data <= archive.len());
    if result.is_ok() {
        let sizes: u64 = found.iter().map(|member| member.size).sum();
        assert!(sizes <= passed, "data of {sizes} bytes within {passed}");
    }

    // The result does not depend on how the archive is split.
    let piece = usize::from(control >> 1) * 9 + 1;
    let mut rest = archive;
    let mut pieces = std::iter::from_fn(|| {
        let next = rest.split_to(piece.min(rest.len()));
        (!next.is_empty()).then_some(next)
    });
    let (again, _, outcome) = members(&mut pieces, START);
    assert_eq!(found, again);
    assert_eq!(result.err().map(|error| error.to_string()), outcome.err().map(|error| error.to_string()));
});

/// Fixes the checksum of a header. In other blocks this changes arbitrary bytes, which is harmless.
fn seal(block: &mut [u8; BLOCK]) {
    if block.iter().all(|byte| *byte == 0) {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
