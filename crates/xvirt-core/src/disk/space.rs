//! Frees or zeroes the space of an image file.
//!
//! The unit of guests is 512 bytes. A block device of the host may have larger sectors, and refuses to discard or zero
//! a part of one. The partial sectors at the ends of a range are written, or left as they are.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::file::ImageFile;
use super::segments::Segments;
use super::transfer::{check, position};

/// The number of zero bytes written at once.
const CHUNK: u64 = 1 << 20;
/// Frees space and keeps the file size.
const PUNCH: libc::c_int = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

impl ImageFile {
    /// Frees the space of a range, if the host supports it; freed space reads as zeroes. Sectors of a block device that
    /// are only partly in the range stay as they are.
    ///
    /// Returns whether the host supports it.
    pub(super) fn punch(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.allocate(PUNCH, &self.whole_sectors(offset, length))
    }

    /// Zeroes a range. With `unmap` its space may be freed, otherwise it stays allocated.
    pub(super) fn zero(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let whole = self.whole_sectors(offset, length);
        self.write_zeroes(offset..whole.start)?;
        self.write_zeroes(whole.end..offset + length)?;
        if unmap && self.allocate(PUNCH, &whole)? || self.allocate(libc::FALLOC_FL_ZERO_RANGE, &whole)? {
            return Ok(());
        }
        self.write_zeroes(whole)
    }

    /// The part of a range that the host can free or zero; an empty range at its start if there is none.
    fn whole_sectors(&self, offset: u64, length: u64) -> Range<u64> {
        let (sector, end) = (self.sector(), offset + length);
        let whole = offset.next_multiple_of(sector)..end - end % sector;
        if whole.is_empty() { offset..offset } else { whole }
    }

    fn write_zeroes(&self, range: Range<u64>) -> io::Result<()> {
        let mut zeroes = vec![0; CHUNK.min(range.end - range.start) as usize];
        let mut at = range.start;
        while at < range.end {
            let count = CHUNK.min(range.end - at);
            let chunk = zeroes.get_mut(..count as usize).unwrap_or_default();
            self.write(&mut Segments::of_bytes(chunk), at)?;
            at += count;
        }
        Ok(())
    }

    /// Returns whether the host supports it.
    fn allocate(&self, mode: libc::c_int, range: &Range<u64>) -> io::Result<bool> {
        if range.is_empty() {
            return Ok(true);
        }
        let (start, length) = (position(range.start)?, position(range.end - range.start)?);
        loop {
            // SAFETY: the call takes no pointer.
            let result = check(unsafe { libc::fallocate(self.as_file().as_raw_fd(), mode, start, length) } as isize);
            match result.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) => return Ok(true),
                Err((Some(libc::EINTR), _)) => {}
                // Devices report `EINVAL` for ranges that they do not support.
                Err((Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV | libc::EINVAL), _)) => return Ok(false),
                Err((_, error)) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::disk::{self, Access, BlockBackend, ImageFormat, read_bytes, write_bytes};

    const SIZE: usize = 1 << 20;
    const SECTOR: usize = 4096;

    /// A loop device with sectors of 4096 bytes.
    struct LoopDevice(String);

    impl LoopDevice {
        fn new(file: &Path) -> Option<Self> {
            let output =
                Command::new("losetup").args(["--sector-size", "4096", "-f", "--show"]).arg(file).output().ok()?;
            let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            output.status.success().then_some(Self(name))
        }
    }

    impl Drop for LoopDevice {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["-d", &self.0]).status();
        }
    }

    fn filled(disk: &dyn BlockBackend, range: Range<usize>, byte: u8) {
        write_bytes(disk, [vec![byte; range.len()].as_slice()], range.start as u64).unwrap();
    }

    fn contents(disk: &dyn BlockBackend) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        read_bytes(disk, &mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_device_of_large_sectors_is_used_by_small_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        std::fs::write(&file, vec![0; SIZE]).unwrap();
        let Some(device) = LoopDevice::new(&file) else {
            println!("SKIPPED a_device_of_large_sectors_is_used_by_small_ones: cannot make a loop device with them");
            return;
        };
        // Inside a sector, one sector, several, both ends partial, one end partial, and the end of the disk.
        let ranges = [512..1024, 0..4096, 4096..12_288, 20_992..33_280, 65_536..70_144, SIZE - 1024..SIZE];
        for (direct, range) in [false, true].into_iter().flat_map(|direct| ranges.clone().map(|range| (direct, range)))
        {
            let what = format!("{range:?}, direct: {direct}");
            let image = disk::Image::Path(Path::new(&device.0), Some(ImageFormat::Raw));
            let disk = disk::Opening { image, access: Access::ReadWrite, direct }.open().unwrap();
            assert_eq!(disk.block_size(), 4096);
            let (offset, length) = (range.start as u64, range.len() as u64);
            for unmap in [false, true] {
                filled(&*disk, 0..SIZE, 0xa5);
                let mut model = vec![0xa5; SIZE];
                filled(&*disk, range.clone(), 0x17);
                model[range.clone()].fill(0x17);
                assert!(contents(&*disk) == model, "written {what}");
                disk.write_zeroes(offset, length, unmap).unwrap();
                model[range.clone()].fill(0);
                assert!(contents(&*disk) == model, "zeroed {what}");
            }
            filled(&*disk, 0..SIZE, 0xa5);
            disk.discard(offset, length).unwrap();
            let whole = range.start.next_multiple_of(SECTOR)..range.end / SECTOR * SECTOR;
            let is_right = |(at, byte): (usize, &u8)| *byte == if whole.contains(&at) { 0 } else { 0xa5 };
            assert!(contents(&*disk).iter().enumerate().all(is_right), "discarded {what}");
            disk.flush().unwrap();
        }
    }
}
