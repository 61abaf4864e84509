//! The exported disk: half random data, half holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xvirt_core::config::ByteSize;

/// The length of each stretch in bytes.
const STRETCH: usize = 16 << 20;

/// Creates the disk with the same contents every time.
pub(crate) fn make(path: &Path, size: ByteSize) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(size.bytes())?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; STRETCH];
    for at in (0..size.bytes()).step_by(2 * STRETCH) {
        for word in bytes.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        let length = STRETCH.min((size.bytes() - at) as usize);
        file.write_all_at(&bytes[..length], at)?;
    }
    file.sync_all()
}
