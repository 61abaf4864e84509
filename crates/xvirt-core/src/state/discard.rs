//! Makes a file of saved state invalid.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FlockOperation, flock};

use super::header::{LENGTH, MAGIC};

/// Removes the header of a file, on stable storage, so that nobody resumes from it again. `false` if another process was
/// faster. Everything else stays: memory may be mapped from it.
///
/// # Errors
/// `WouldBlock` if another process is doing so; or the file cannot be written.
pub(crate) fn discard(file: &File) -> io::Result<bool> {
    flock(file, FlockOperation::NonBlockingLockExclusive)?;
    let discarded = remove_header(file);
    // It belongs to the open file, which others may have.
    flock(file, FlockOperation::Unlock)?;
    discarded
}

/// Whether a file was discarded.
pub(crate) fn is_discarded(file: &File) -> io::Result<bool> {
    let mut header = [0; LENGTH];
    if file.metadata()?.len() < LENGTH as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut header, 0)?;
    Ok(header == [0; LENGTH])
}

fn remove_header(file: &File) -> io::Result<bool> {
    let mut magic = MAGIC;
    file.read_exact_at(&mut magic, 0)?;
    if magic != MAGIC {
        return Ok(false);
    }
    file.write_all_at(&[0; LENGTH], 0)?;
    file.sync_data()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_discards_and_the_rest_of_the_file_stays() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&MAGIC, 0).unwrap();
        file.write_all_at(b"memory", LENGTH as u64).unwrap();
        assert!(!is_discarded(&file).unwrap());
        assert!(discard(&file).unwrap() && is_discarded(&file).unwrap());
        assert!(!discard(&file).unwrap());
        let mut rest = [0; 6];
        file.read_exact_at(&mut rest, LENGTH as u64).unwrap();
        assert_eq!(&rest, b"memory");
    }
}
