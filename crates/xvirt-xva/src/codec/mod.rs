//! The compression of an archive: none, gzip or zstd, detected automatically.
//!
//! The `decode` thread decompresses the input, which another thread reads `ahead`; gzip members and zstd frames may be
//! concatenated: `members` reads those of gzip. `frame` extracts small zstd frames from the input, which all CPUs
//! decompress in parallel. `seek_table` locates frames without reading earlier ones.

mod ahead;
mod decode;
mod frame;
mod members;
mod seek_table;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use decode::{Counters, decode, fill, open};
pub(crate) use frame::skippable;
pub(crate) use seek_table::{Frame, SeekTable};

use crate::error::unsupported;
use crate::tar;
use crate::{Error, Result};

/// The compression of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    None,
    /// gzip, supported by all versions of XenServer, but slow.
    Gzip,
    /// zstd, supported by XCP-ng since 7.6 and by XenServer since 8.1.
    #[default]
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Known formats that are not appliances, and what to do with them.
const FOREIGN: [(&[u8], usize, &str); 6] = [
    (b"\xfd7zXZ\0", 0, "compressed with xz; decompress it first"),
    (b"BZh", 0, "compressed with bzip2; decompress it first"),
    (b"PK\x03\x04", 0, "a zip archive; unpack it first"),
    (b"QFI\xfb", 0, "a qcow2 disk image; use it as a disk"),
    (b"conectix", 0, "a VHD disk image; convert it to raw or qcow2 and use it as a disk"),
    (b"KDMV", 0, "a VMDK disk image; convert it to raw or qcow2 and use it as a disk"),
];

/// Detects the compression from at most 512 bytes, with XenServer's rules. Other formats are errors.
fn detect(start: &[u8]) -> Result<Compression> {
    recognize(start).map_err(|what| foreign("it is", what))
}

/// Checks the first bytes, at most 512, of what was compressed.
fn detect_inside(outside: Compression, start: &[u8]) -> Result<()> {
    let decompress = match outside {
        Compression::None => return Ok(()),
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    match recognize(start) {
        Ok(Compression::None) => Ok(()),
        Ok(inside) => Err(unsupported(
            format!("the archive is compressed twice, with {inside} and then with {outside}"),
            &format!("decompress it once: {decompress} -dc OLD >NEW"),
        )),
        Err(what) => Err(foreign(&format!("it is compressed with {outside}, and inside"), what)),
    }
}

/// The error for something else. `what` says what it is and, after a semicolon, what to do.
fn foreign(begin: &str, what: &str) -> Error {
    let (what, remedy) = what.split_once("; ").unwrap_or((what, ""));
    unsupported(format!("this is not a virtual appliance (XVA): {begin} {what}"), remedy)
}

/// The compression of an archive that begins so, or what it is in place of an archive, and what to do.
fn recognize(start: &[u8]) -> std::result::Result<Compression, &'static str> {
    if frame::is_magic(start) {
        return Ok(Compression::Zstd);
    }
    if start.starts_with(b"\x1f\x8b") {
        return Ok(Compression::Gzip);
    }
    if tar::is_header(start) {
        return Ok(Compression::None);
    }
    let known = FOREIGN.iter().find(|(magic, at, _)| start.get(*at..).is_some_and(|bytes| bytes.starts_with(magic)));
    Err(match (known, start) {
        (Some((.., what)), _) => what,
        (None, []) => "empty; copy it again",
        (None, start) if is_web_page(start) => {
            "a web page, probably of a login or an error; download the archive again, and look at the page"
        }
        (None, [b'<', ..]) => "an XML file; name the archive that holds it",
        (None, _) => "neither a tar archive nor compressed with gzip or zstd; check that it is the right file",
    })
}

fn is_web_page(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let begins = |text: &str| start.get(..text.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(text.as_bytes()));
    begins("<!doctype html") || begins("<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert_eq!(detect(b"\x28\xb5\x2f\xfdxxxx").unwrap(), Compression::Zstd);
        assert_eq!(detect(b"\x51\x2a\x4d\x18xxxx").unwrap(), Compression::Zstd);
        assert_eq!(detect(b"\x1f\x8b\x08").unwrap(), Compression::Gzip);
        assert_eq!(detect(&tar::file_header("ova.xml", 5)).unwrap(), Compression::None);
        for (start, text) in [
            (&b""[..], "this is not a virtual appliance (XVA): it is empty; copy it again"),
            (b"\n<!DOCTYPE HTML><p>", "it is a web page, probably of a login or an error; download the archive again"),
            (b"PK\x03\x04", "it is a zip archive; unpack it first"),
            (&[7; 512], "it is neither a tar archive nor compressed with gzip or zstd; check that"),
        ] {
            let error = detect(start).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_was_compressed_is_named() {
        detect_inside(Compression::Gzip, &tar::file_header("ova.xml", 5)).unwrap();
        for (outside, start, text) in [
            (
                Compression::Gzip,
                &b"\x1f\x8b\x08"[..],
                "is compressed twice, with gzip and then with gzip; decompress it \
                                                      once: gzip -dc OLD >NEW",
            ),
            (Compression::Zstd, b"\x1f\x8b\x08", "with gzip and then with zstd; decompress it once: zstd -dc OLD >NEW"),
            (
                Compression::Gzip,
                b"QFI\xfb",
                "it is compressed with gzip, and inside a qcow2 disk image; use it as a disk",
            ),
            (Compression::Zstd, b"", "it is compressed with zstd, and inside empty; copy it again"),
        ] {
            let error = detect_inside(outside, start).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
