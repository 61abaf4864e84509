//! Limits on the program headers of an ELF kernel.
//!
//! `linux-loader` follows the program headers without limits. A small file can make it copy the same segment thousands
//! of times, or scan billions of empty notes, because thousands of headers may refer to the same bytes, which may be a
//! hole.

use std::io::{self, Read, Seek, SeekFrom};

use crate::{Error, ErrorKind, Result};

/// Linux has 5.
const MAX_HEADERS: u16 = 64;
/// In bytes; Linux has 512.
const MAX_NOTES: u64 = 64 << 10;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// The relevant fields of a program header.
struct Segment {
    kind: u32,
    /// The size in the file in bytes.
    size: u64,
}

/// Rejects a kernel whose program headers exceed the limits; `memory` is the total size that its segments may have. The
/// loader itself rejects other invalid and unreadable headers.
pub(super) fn check(kernel: &mut (impl Read + Seek), memory: u64) -> Result<()> {
    let Ok(count) = header_count(kernel) else { return Ok(()) };
    if count > MAX_HEADERS {
        return Err(excess(format!("the kernel has {count} program headers, the maximum is {MAX_HEADERS}")));
    }
    let Ok(segments) = segments(kernel, count) else { return Ok(()) };
    let sum = |kind| {
        let sizes = segments.iter().filter(|segment| segment.kind == kind).map(|segment| segment.size);
        sizes.fold(0, u64::saturating_add)
    };
    let (notes, loaded) = (sum(PT_NOTE), sum(PT_LOAD));
    if notes > MAX_NOTES {
        return Err(excess(format!("the kernel has {notes} bytes of notes, the maximum is {MAX_NOTES}")));
    }
    if loaded > memory {
        let what = format!("a kernel of {} MiB does not fit the VM's memory", loaded >> 20);
        return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the VM more memory"));
    }
    Ok(())
}

/// The number of program headers: `e_phnum` of the System V ABI's "ELF Header".
fn header_count(kernel: &mut (impl Read + Seek)) -> io::Result<u16> {
    kernel.seek(SeekFrom::Start(56))?;
    read(kernel).map(u16::from_le_bytes)
}

/// The first `count` program headers (System V ABI, "Program Header").
fn segments(kernel: &mut (impl Read + Seek), count: u16) -> io::Result<Vec<Segment>> {
    kernel.seek(SeekFrom::Start(32))?;
    let table = u64::from_le_bytes(read(kernel)?);
    kernel.seek(SeekFrom::Start(table))?;
    let segment = |_| {
        let header: [u8; 56] = read(kernel)?;
        let mut fields = &header[..];
        let kind = u32::from_le_bytes(read(&mut fields)?);
        // The fields after flags, offset and both addresses.
        let mut fields = &header[32..];
        Ok(Segment { kind, size: u64::from_le_bytes(read(&mut fields)?) })
    };
    (0..count).map(segment).collect()
}

fn read<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn excess(what: String) -> Error {
    Error::new(ErrorKind::InvalidKernel, what).with_remedy("check the kernel image")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A kernel with `count` program headers of this kind and size.
    fn kernel(count: u16, kind: u32, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7FELF\x02\x01\x01");
        bytes[24..32].copy_from_slice(&(1_u64 << 20).to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&count.to_le_bytes());
        let mut header = [0; 56];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[32..40].copy_from_slice(&size.to_le_bytes());
        bytes.extend(header.repeat(count.into()));
        bytes
    }

    fn refusal(kernel: &[u8]) -> Option<String> {
        check(&mut Cursor::new(kernel), 100 << 20).err().map(|error| error.to_string())
    }

    #[test]
    fn what_no_kernel_needs_is_refused() {
        let cases = [
            (
                kernel(2000, PT_NOTE, 1 << 20),
                "the kernel has 2000 program headers, the maximum is 64; check the kernel image",
            ),
            (
                kernel(64, PT_NOTE, 1025),
                "the kernel has 65600 bytes of notes, the maximum is 65536; check the kernel image",
            ),
            (kernel(3, PT_LOAD, 40 << 20), "a kernel of 120 MiB does not fit the VM's memory; give the VM more memory"),
            (
                kernel(2, PT_LOAD, u64::MAX),
                "a kernel of 17592186044415 MiB does not fit the VM's memory; give the VM more memory",
            ),
        ];
        for (kernel, expected) in cases {
            assert_eq!(refusal(&kernel).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_a_kernel_may_have_is_not() {
        let truncated = kernel(64, PT_NOTE, 1024);
        for kernel in [&kernel(64, PT_NOTE, 1024), &kernel(64, PT_LOAD, 1 << 20), &truncated[..1000], &truncated[..40]]
        {
            assert_eq!(refusal(kernel), None);
        }
    }
}
