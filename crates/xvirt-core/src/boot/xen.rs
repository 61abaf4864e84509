//! Recognizes what only Xen can start, among files that a boot menu names as kernels.

use std::io::{self, Read, Seek, SeekFrom};

use super::window::{le16, le32, le64};

/// The most that is read of the headers and of the notes.
const MAX_HEADERS: usize = 64 << 10;

/// The type of the note with the name of the system.
const GUEST_SYSTEM: u32 = 6;

/// The name of the system in an ELF image that is made for Xen and is not Linux, such as GRUB for paravirtual machines.
/// Leaves the position at the start.
pub(super) fn foreign_system(image: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    let header = read(image, 0, 64)?;
    if !header.starts_with(b"\x7fELF") {
        image.rewind()?;
        return Ok(None);
    }
    let is_wide = header.get(4) == Some(&2);
    let (table, size, count) = match is_wide {
        true => (le64(&header, 32), le16(&header, 54), le16(&header, 56)),
        false => (le32(&header, 28).into(), le16(&header, 42), le16(&header, 44)),
    };
    let (size, count) = (usize::from(size).max(1), usize::from(count));
    let headers = read(image, table, (size * count).min(MAX_HEADERS))?;
    let mut found = None;
    for header in headers.chunks_exact(size).filter(|header| le32(header, 0) == 4) {
        let (offset, length) = match is_wide {
            true => (le64(header, 8), le64(header, 32)),
            false => (le32(header, 4).into(), le32(header, 16).into()),
        };
        let length = usize::try_from(length).map_or(MAX_HEADERS, |length| length.min(MAX_HEADERS));
        found = found.or(system(&read(image, offset, length)?));
    }
    image.rewind()?;
    Ok(found.filter(|system| !system.eq_ignore_ascii_case("linux")))
}

/// The name of the system in a segment of notes.
fn system(mut notes: &[u8]) -> Option<String> {
    while notes.len() >= 12 {
        let (name_length, length, kind) = (le32(notes, 0) as usize, le32(notes, 4) as usize, le32(notes, 8));
        let value_at = 12 + name_length.checked_next_multiple_of(4)?;
        let name = notes.get(12..12 + name_length)?;
        let value = notes.get(value_at..value_at.checked_add(length)?)?;
        if name == b"Xen\0" && kind == GUEST_SYSTEM {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        notes = notes.get(value_at + length.checked_next_multiple_of(4)?..).unwrap_or_default();
    }
    None
}

/// Reads at most `length` bytes; fewer at the end of the file.
fn read(image: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.seek(SeekFrom::Start(at))?;
    image.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use super::*;

    /// An ELF image with a note that it is made for this system on Xen.
    pub(in crate::boot) fn image(system: &str, is_wide: bool) -> Vec<u8> {
        let mut note = Vec::new();
        for (kind, value) in [(5, "xen-3.0\0"), (GUEST_SYSTEM, &format!("{system}\0"))] {
            note.extend([4u32, value.len() as u32, kind].into_iter().flat_map(u32::to_le_bytes));
            note.extend(b"Xen\0");
            note.extend(value.as_bytes());
            note.resize(note.len().next_multiple_of(4), 0);
        }
        let mut image = vec![0; 256];
        image[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', if is_wide { 2 } else { 1 }]);
        let fields: [(usize, u32); 6] = match is_wide {
            true => [(32, 64), (54, 56), (56, 1), (64, 4), (72, 256), (96, note.len() as u32)],
            false => [(28, 64), (42, 32), (44, 1), (64, 4), (68, 256), (80, note.len() as u32)],
        };
        for (at, value) in fields {
            let length = if (42..58).contains(&at) { 2 } else { 4 };
            image[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        }
        image.extend(note);
        image
    }

    #[test]
    fn only_systems_for_xen_are_named() {
        for is_wide in [false, true] {
            let found = |image: Vec<u8>| foreign_system(&mut Cursor::new(image)).unwrap();
            assert_eq!(found(image("GRUB", is_wide)).as_deref(), Some("GRUB"));
            assert_eq!(found(image("Mini-OS", is_wide)).as_deref(), Some("Mini-OS"));
            assert_eq!(found(image("linux", is_wide)), None);
            let whole = image("GRUB", is_wide);
            for length in 0..whole.len() {
                let _ = found(whole[..length].to_vec());
            }
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] = 0xff;
                let _ = found(damaged);
            }
        }
        assert_eq!(foreign_system(&mut Cursor::new(b"a kernel")).unwrap(), None);
    }
}
