//! Takes the memory that arrives at the target.

use std::sync::atomic::{AtomicU64, Ordering};

use super::copy::{CHUNK, connection_of};
use super::frame::broken;
use super::link::{Arriving, Link, unexpected};
use super::message::{EndOfRound, Kind, decode};
use super::steering::Steering;
use crate::Result;
use crate::memory::GuestRam;
use crate::state::{MemoryRange, PAGE, guest_slices, ranges_of};

const ZEROES: [u8; PAGE] = [0; PAGE];

/// The memory of the guest at the target, which is all zeroes at the start.
pub(super) struct Pages<'a> {
    ram: GuestRam,
    ranges: Vec<MemoryRange>,
    count: u64,
    connections: usize,
    /// A bit for each page that was written. Others are still zero, so zero pages need not be touched.
    written: Vec<AtomicU64>,
    steering: &'a Steering<'a>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(ram: GuestRam, connections: usize, steering: &'a Steering<'a>) -> Self {
        let ranges = ranges_of(&ram);
        let count = ranges.iter().map(|range| range.length).sum::<u64>() / PAGE as u64;
        let written = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { ram, ranges, count, connections, written, steering }
    }

    /// Takes what arrives over connection `number`, until the end of its last round.
    pub(super) fn receive(&self, link: &Link<'_>, number: usize) -> Result<()> {
        let (mut body, mut round, mut count) = (Vec::new(), 0, 0);
        loop {
            let mut arriving = link.begin()?;
            if arriving.kind() != Kind::Pages {
                link.receive_body(&mut arriving, &mut body)?;
            }
            match arriving.kind() {
                Kind::Pages => count += self.take_pages(link, &mut arriving, number)?,
                Kind::ZeroPages => count += self.take_zero_pages(&body, number)?,
                Kind::EndOfRound => {
                    let end: EndOfRound = decode(Kind::EndOfRound, &body)?;
                    if (end.round, end.pages) != (round, count) {
                        let what = format!(
                            "the peer ended round {} with {} pages, but round {round} brought {count}",
                            end.round, end.pages
                        );
                        return Err(broken(what));
                    }
                    if end.last {
                        return Ok(());
                    }
                    (round, count) = (round.saturating_add(1), 0);
                    if number == 0 {
                        self.steering.report(|report| report.round = round);
                    }
                }
                other => return Err(unexpected(other, &body, Kind::Pages)),
            }
            if number == 0 {
                self.steering.tick();
            }
        }
    }

    /// Receives pages to where they belong, and returns how many.
    fn take_pages(&self, link: &Link<'_>, arriving: &mut Arriving<'_>, connection: usize) -> Result<u64> {
        let (first, bytes) = link.receive_pages_prefix(arriving)?;
        if !bytes.is_multiple_of(PAGE) {
            return Err(broken("the peer sent a part of a page"));
        }
        let count = (bytes / PAGE) as u64;
        self.check(first, count, connection)?;
        for page in first..first + count {
            self.written[(page / 64) as usize].fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
        for slice in guest_slices(&self.ram, &self.ranges, first * PAGE as u64, bytes)? {
            link.receive_memory(arriving, slice)?;
        }
        self.steering.count(bytes as u64, 0);
        Ok(count)
    }

    /// Takes zero pages and returns how many.
    fn take_zero_pages(&self, body: &[u8], connection: usize) -> Result<u64> {
        let mut all = 0;
        if !body.len().is_multiple_of(16) {
            return Err(broken("the peer sent a part of a run of zero pages"));
        }
        for run in body.chunks_exact(16) {
            let number = |at: usize| run[at..at + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            let (first, count) = (number(0), number(8));
            self.check(first, count, connection)?;
            for page in first..first + count {
                if self.written[(page / 64) as usize].load(Ordering::Relaxed) >> (page % 64) & 1 == 1 {
                    let slices = guest_slices(&self.ram, &self.ranges, page * PAGE as u64, PAGE)?;
                    slices.iter().for_each(|slice| slice.copy_from(&ZEROES));
                }
            }
            self.steering.count(0, count);
            all += count;
        }
        Ok(all)
    }

    /// Checks that the pages exist, are of one chunk, and belong to the connection.
    fn check(&self, first: u64, count: u64, connection: usize) -> Result<()> {
        let end = first.checked_add(count).filter(|end| *end <= self.count && count > 0);
        let Some(end) = end else {
            let what = format!("the peer sent {count} pages from page {first} on, and the VM has {}", self.count);
            return Err(broken(what));
        };
        if first / CHUNK != (end - 1) / CHUNK || connection_of(first, self.connections) != connection {
            return Err(broken(format!(
                "the peer sent page {first} over connection {connection}, where it may not be"
            )));
        }
        Ok(())
    }
}
