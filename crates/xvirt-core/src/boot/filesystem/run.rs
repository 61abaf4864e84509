//! The location of a file's parts.

use std::io;

use crate::boot::window::Window;

/// Blocks that are contiguous both in the file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) count: u64,
}

/// Reads from `offset` in a file into `buffer`. `runs` are the file's parts in order, in blocks of `block_size` bytes;
/// `read` reads a part, from an offset in a physical block. Gaps are zeroes. They cost no disk access, but they cost
/// time, so they count against the read budget of `window`.
pub(super) fn read_runs(
    runs: &[Run],
    block_size: u64,
    offset: u64,
    buffer: &mut [u8],
    window: &Window<'_>,
    mut read: impl FnMut(u64, u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    buffer.fill(0);
    let mut zeroes = buffer.len() as u64;
    let end = offset.saturating_add(buffer.len() as u64);
    let first = runs.partition_point(|run| (run.logical + run.count) * block_size <= offset);
    for Run { logical, physical, count } in runs.get(first..).unwrap_or_default() {
        let run = logical * block_size..(logical + count) * block_size;
        let (from, to) = (run.start.max(offset), run.end.min(end));
        if from >= to {
            break;
        }
        let part = buffer.get_mut((from - offset) as usize..(to - offset) as usize).unwrap_or_default();
        read(*physical, from - run.start, part)?;
        zeroes -= to - from;
    }
    if zeroes > 0 { window.charge(zeroes) } else { Ok(()) }
}
