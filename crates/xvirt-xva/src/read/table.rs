//! The table of all checksums at the end of an archive of export version 1.

use sha2::{Digest, Sha256};

use crate::Result;
use crate::error::corrupt;
use crate::ova::parse_structure;

/// The name of its member.
pub(super) const NAME: &str = "checksum.xml";

/// A digest of the checksums of some chunks, independent of their order.
///
/// Only a sum is stored, so the size is constant, however many chunks an archive contains. Equal sums mean equal chunks
/// and checksums, except with a probability of 2^-128.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checksums {
    count: u64,
    sum: u128,
}

impl Checksums {
    /// Adds the checksum of the chunk with this name.
    pub(super) fn add(&mut self, chunk: &str, checksum: &str) {
        let digest = Sha256::digest(format!("{chunk}\0{}", checksum.trim().to_ascii_lowercase()));
        let part = digest.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        self.count += 1;
        self.sum = self.sum.wrapping_add(part);
    }

    /// Compares the checksums read with those in the table.
    pub(super) fn compare(&self, xml: &[u8]) -> Result<()> {
        let mut listed = Self::default();
        parse_structure(NAME, xml, |name, value| {
            // The table may list ova.xml, which has no checksum in the archive.
            if name != "ova.xml" {
                listed.add(name.strip_suffix(".checksum").unwrap_or(&name), value.as_text());
            }
        })?;
        if listed == *self {
            return Ok(());
        }
        let why = match (listed.count, self.count) {
            (listed, passed) if listed == passed => "it lists other checksums than those of the chunks".to_owned(),
            (listed, passed) => format!("it lists the checksums of {listed} chunks, but the archive contains {passed}"),
        };
        Err(corrupt(NAME, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> String {
        let members =
            entries.iter().map(|(name, sum)| format!("<member><name>{name}</name><value>{sum}</value></member>"));
        format!("<value><struct>{}</struct></value>", members.collect::<String>())
    }

    #[test]
    fn a_table_lists_exactly_what_came_by() {
        let mut passed = Checksums::default();
        passed.add("Ref:1/00000000", "ab\n");
        passed.add("Ref:1/00000001", "cd");
        let compare = |entries: &[(&str, &str)]| passed.compare(table(entries).as_bytes());
        let (first, second) = (("Ref:1/00000000.checksum", "ab"), ("Ref:1/00000001", "CD"));
        compare(&[first, second]).unwrap();
        compare(&[("ova.xml", "ef"), second, first]).unwrap();
        for (entries, why) in [
            (&[first][..], "it lists the checksums of 1 chunks, but the archive contains 2"),
            (&[first, second, second], "it lists the checksums of 3 chunks, but the archive contains 2"),
            (&[first, ("Ref:1/00000001", "ce")], "it lists other checksums than those of the chunks"),
            (&[first, ("Ref:1/00000002", "cd")], "it lists other checksums than those of the chunks"),
            (&[second, ("Ref:1/00000000", "cd")], "it lists other checksums than those of the chunks"),
        ] {
            let error = compare(entries).unwrap_err().to_string();
            assert!(error.contains("checksum.xml is damaged") && error.contains(why), "{error}");
        }
        let error = passed.compare(b"<value>x</value>").unwrap_err().to_string();
        assert!(error.starts_with("archive member checksum.xml is damaged"), "{error}");
    }
}
