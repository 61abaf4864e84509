//! The table of all checksums that ends an archive of export version 1.

use std::collections::BTreeMap;

use crate::Result;
use crate::xva::error::corrupt;
use crate::xva::ova::{Record, Value, parse_value};

/// The name of its member.
pub(super) const NAME: &str = "checksum.xml";

/// The checksums that came by, by the name of their chunk.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, String>);

impl Table {
    pub(super) fn note(&mut self, chunk: String, checksum: String) {
        self.0.insert(chunk, checksum);
    }

    /// Compares what came by with what the table says.
    pub(super) fn compare(&self, xml: &[u8]) -> Result<()> {
        let Value::Struct(Record(entries)) = parse_value(xml)? else {
            return Err(corrupt(NAME, "it is not a table"));
        };
        for (name, value) in entries {
            let chunk = name.trim_end_matches(".checksum");
            match self.0.get(chunk) {
                Some(checksum) if checksum.eq_ignore_ascii_case(value.as_text()) => {}
                Some(_) => return Err(corrupt(&name, "its checksum is not that of the table at the end")),
                // The table may list ova.xml, which has no checksum of its own.
                None if name == "ova.xml" => {}
                None => return Err(corrupt(&name, "the table at the end lists it, and it did not come by")),
            }
        }
        Ok(())
    }
}
