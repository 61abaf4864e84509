//! Makes files of saved state whose checksums are right, so that fuzzers reach what is behind them.

use super::header::{Entry, Header, LENGTH, with_checksum};
use super::memory::OFFSET;
use super::section::Kind;

/// `bytes` with the right checksum in its header.
pub(crate) fn with_header(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(LENGTH), 0);
    let header = with_checksum(&file[..LENGTH]);
    file[..LENGTH].copy_from_slice(&header);
    file
}

/// A file with one section of this kind, and `memory` bytes of memory.
pub(crate) fn with_section(kind: u32, version: u32, body: &[u8], memory: u64) -> Vec<u8> {
    let entry = |kind, version, offset, length| Entry { kind, version, offset, length, checksum: 0 };
    let body_entry = Entry { checksum: crc32c::crc32c(body), ..entry(kind, version, LENGTH as u64, body.len() as u64) };
    let sections = vec![body_entry, entry(Kind::Memory as u32, 1, OFFSET, memory)];
    let header = Header { writer: "fuzzer".to_owned(), length: OFFSET + memory, sections };
    let mut file = [header.encode().as_slice(), body].concat();
    file.resize((OFFSET + memory) as usize, 0);
    file
}
