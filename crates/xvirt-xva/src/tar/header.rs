//! The 512-byte header of each member of a tar archive.
//!
//! All dialects that producers of appliances use can be read: V7, ustar, GNU and pax (POSIX.1-2001, `pax`, "ustar
//! Interchange Format"). Headers are written like XenServer's: V7.

/// The unit of a tar archive: headers, and data padded to whole blocks.
pub(crate) const BLOCK: usize = 512;

/// What a file is that GNU tar stored without its holes.
pub(super) const SPARSE: &str = "a sparse file of GNU tar";

/// One header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) kind: Kind,
}

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// pax records for the next member.
    Pax,
    /// pax records for all members.
    PaxGlobal,
    /// The name of the next member.
    GnuName,
    /// The link target of the next member.
    GnuLink,
    /// A link, device or other special file, and what it is.
    Special(&'static str),
}

/// Parses a header; `None` for the block of zeroes that ends an archive. The error is a description.
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Option<Header>, &'static str> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let claimed = number(&block[148..156]).ok_or("the checksum of its header is not a number")?;
    // Some old producers sum signed bytes.
    if claimed != sum(block) && claimed != signed_sum(block) {
        return Err("the checksum of its header is wrong");
    }
    let kind = match block[156] {
        0 | b'0' | b'7' => Kind::File,
        b'5' => Kind::Directory,
        b'x' => Kind::Pax,
        b'g' => Kind::PaxGlobal,
        b'L' => Kind::GnuName,
        b'K' => Kind::GnuLink,
        b'1' => Kind::Special("a hard link"),
        b'2' => Kind::Special("a symbolic link"),
        b'3' | b'4' => Kind::Special("a device"),
        b'6' => Kind::Special("a named pipe"),
        b'S' => Kind::Special(SPARSE),
        _ => Kind::Special("of a type that is not supported"),
    };
    let size = number(&block[124..136]).ok_or("its size is not a number")?;
    let mut name = text(&block[..100]).to_vec();
    let prefix = text(&block[345..500]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    // Old producers mark a directory only by a trailing slash.
    let kind = if kind == Kind::File && name.ends_with(b"/") { Kind::Directory } else { kind };
    Ok(Some(Header { name, size, kind }))
}

/// Whether these bytes start a tar archive.
pub(crate) fn is_header(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block| matches!(parse(block), Ok(Some(_))))
}

/// Formats the header of a file.
///
/// The name must have at most 100 bytes and the size must be below 8 GiB, which applies to everything this crate
/// writes.
pub(crate) fn file(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..100], name);
    put(&mut block[100..107], "0000400");
    put(&mut block[108..115], "0000000");
    put(&mut block[116..123], "0000000");
    put(&mut block[124..135], &format!("{size:011o}"));
    put(&mut block[136..147], "00000000000");
    let checksum = sum(&block);
    put(&mut block[148..155], &format!("{checksum:07o}"));
    block
}

fn put(field: &mut [u8], text: &str) {
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between spaces and NULs, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        // The next bit marks negative numbers.
        let fits = first & 0x7f == 0 && high.iter().all(|byte| *byte == 0);
        return fits.then(|| low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let digits = field.trim_ascii_start().split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    let octal = digits.iter().all(|byte| (b'0'..=b'7').contains(byte));
    octal.then(|| digits.iter().fold(0, |value, digit| value << 3 | u64::from(digit - b'0')))
}

/// The sum of all bytes, with spaces in place of the checksum.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let all: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let checksum: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    all - checksum + 8 * u64::from(b' ')
}

fn signed_sum(block: &[u8; BLOCK]) -> u64 {
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(byte.cast_signed())).sum::<i64>();
    let total = signed(block) - signed(&block[148..156]) + 8 * i64::from(b' ');
    total.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recomputes the checksum after a change.
    fn sealed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
        let checksum = format!("{:06o}\0 ", sum(&block));
        put(&mut block[148..156], &checksum);
        block
    }

    #[test]
    fn what_is_written_is_read() {
        let block = file("Ref:4/00000000", 1 << 20);
        let header = parse(&block).unwrap().unwrap();
        assert_eq!(header, Header { name: b"Ref:4/00000000".to_vec(), size: 1 << 20, kind: Kind::File });
        assert_eq!(&block[124..136], b"00004000000\0");
        assert_eq!((block[156], &block[257..265]), (0, &[0; 8][..]));
    }

    #[test]
    fn every_dialect_is_read() {
        let plain = file("a", 5);
        let mut ustar = plain;
        put(&mut ustar[257..263], "ustar\0");
        put(&mut ustar[345..350], "folder");
        assert_eq!(parse(&sealed(ustar)).unwrap().unwrap().name, b"folde/a");
        let mut gnu = plain;
        put(&mut gnu[257..265], "ustar  \0");
        put(&mut gnu[345..350], "times");
        assert_eq!(parse(&sealed(gnu)).unwrap().unwrap().name, b"a");
        let mut binary = plain;
        binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(parse(&sealed(binary)).unwrap().unwrap().size, (2 << 32) + 1);
        let mut spaces = plain;
        spaces[124..136].copy_from_slice(b"        17  ");
        assert_eq!(parse(&sealed(spaces)).unwrap().unwrap().size, 15);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut flipped = file("a", 5);
        flipped[3] ^= 1;
        assert_eq!(parse(&flipped), Err("the checksum of its header is wrong"));
        for size in [b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"12345678x01\0"] {
            let mut block = file("a", 5);
            block[124..136].copy_from_slice(size);
            assert_eq!(parse(&sealed(block)), Err("its size is not a number"));
        }
        assert_eq!(parse(&[0; BLOCK]), Ok(None));
    }
}
