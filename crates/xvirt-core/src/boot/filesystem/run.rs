//! Where the parts of a file lie.

use std::io;

use crate::boot::window::Window;

/// Blocks that follow each other both in the file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) count: u64,
}

/// Fills `buffer` from `offset` in a file on, whose parts, in order, are `runs` of blocks of `block_size` bytes. Each part
/// is read by `read`, from an offset in a physical block on; what no run covers is zeroes. Those cost the disk nothing, but
/// their reader time: they count among what may be read of `window`.
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
