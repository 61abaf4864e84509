//! The write-ahead log that a crash left behind: whether it is damaged such that committed transactions are lost.
//!
//! SQLite takes the log up to the first frame that is not whole, and drops the rest without a word: that is where a crash cut
//! off a write. But every commit is synced before the next one begins, so a crash cuts off one commit at most. If two
//! frames that commit come after the first that is not whole, the log was damaged in another way.
//!
//! The format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says whether checksums read words with the most significant byte first.
const MAGIC: u32 = 0x377f_0682;
/// As every store is made with.
const PAGE: usize = 4096;

/// Where a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Where the first frame begins that is not whole.
    pub(super) offset: u64,
    /// How many frames after this commit. The first may be of a transaction that was never acknowledged.
    pub(super) commits: u64,
}

/// Looks for damage that a crash does not explain.
pub(super) fn damage(path: &Path) -> io::Result<Option<Damage>> {
    match File::open(path) {
        Ok(file) => read(&mut BufReader::with_capacity(1 << 16, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(log: &mut impl Read) -> io::Result<Option<Damage>> {
    let mut header = [0; HEADER];
    if !fill(log, &mut header)? {
        return Ok(None);
    }
    let most_first = word(&header, 0) & 1 == 1;
    let mut sum = Sum { words: [0; 2], most_first };
    sum.add(&header[..24]);
    let mut whole = word(&header, 0) & !1 == MAGIC && sum.is(&header, 24) && word(&header, 8) as usize == PAGE;
    let mut salt = whole.then(|| salt(&header, 16));
    let (mut offset, mut commits, mut position) = (0, 0, HEADER as u64);
    let mut frame = [0; FRAME_HEADER + PAGE];
    while fill(log, &mut frame)? {
        // If the header is damaged, the first frame tells which frames are of this log.
        let same = salt_of(&frame) == *salt.get_or_insert(salt_of(&frame));
        if whole {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            whole = same && sum.is(&frame, 16);
            offset = position;
        }
        if !whole && same && word(&frame, 0) != 0 && word(&frame, 4) != 0 {
            commits += 1;
        }
        position += frame.len() as u64;
    }
    Ok((!whole && commits >= 2).then_some(Damage { offset, commits }))
}

/// Fills the buffer. Returns false if the log ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number in four bytes of a header.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn salt(bytes: &[u8], at: usize) -> [u32; 2] {
    [word(bytes, at), word(bytes, at + 4)]
}

fn salt_of(frame: &[u8]) -> [u32; 2] {
    salt(frame, 8)
}

/// The checksum of everything so far.
struct Sum {
    words: [u32; 2],
    most_first: bool,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let [mut a, mut b] = self.words;
        for eight in bytes.chunks_exact(8) {
            let number = |at| if self.most_first { word(eight, at) } else { word(eight, at).swap_bytes() };
            a = a.wrapping_add(number(0)).wrapping_add(b);
            b = b.wrapping_add(number(4)).wrapping_add(a);
        }
        self.words = [a, b];
    }

    fn is(&self, bytes: &[u8], at: usize) -> bool {
        self.words == salt(bytes, at)
    }
}
