//! The names of members: `Ref:4/00000003` is a chunk, `Ref:4/00000003.xxhash` its checksum. XenServer pads numbers to 8
//! digits, and also reads others.

use super::Checksum;

/// A parsed member name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// A chunk of the disk with this id.
    Chunk { disk: &'a str, number: u64 },
    /// The checksum of the chunk with this name.
    Checksum { chunk: &'a str, kind: Checksum },
    /// Anything else.
    Other,
}

impl<'a> Name<'a> {
    pub(crate) fn parse(name: &'a str) -> Self {
        for kind in [Checksum::Xxhash, Checksum::Sha1] {
            if let Some(chunk) = name.strip_suffix(kind.extension()) {
                return Self::Checksum { chunk, kind };
            }
        }
        let Some((disk, digits)) = name.rsplit_once('/') else { return Self::Other };
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        number.map_or(Self::Other, |number| Self::Chunk { disk, number })
    }
}

/// The name of a chunk.
pub(crate) fn name(disk: &str, number: u64) -> String {
    format!("{disk}/{number:08}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let chunk = |disk, number| Name::Chunk { disk, number };
        assert_eq!(Name::parse("Ref:4/00000012"), chunk("Ref:4", 12));
        assert_eq!(Name::parse("Ref:4/100000000"), chunk("Ref:4", 100_000_000));
        assert_eq!(Name::parse("Ref:4/12"), chunk("Ref:4", 12));
        let checksum = Name::Checksum { chunk: "Ref:4/00000012", kind: Checksum::Sha1 };
        assert_eq!(Name::parse("Ref:4/00000012.checksum"), checksum);
        for other in ["ova.xml", "Ref:4/", "Ref:4/+0000012", "Ref:4/99999999999999999999999", "00000001"] {
            assert_eq!(Name::parse(other), Name::Other, "{other}");
        }
        assert_eq!(Name::parse(&name("Ref:4", 7)), chunk("Ref:4", 7));
    }
}
