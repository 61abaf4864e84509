//! Sends memory: rounds of pages, divided between the connections.
//!
//! The number of a page decides over which connection it goes, so its versions arrive in order. Pages of zeroes are
//! sent as numbers.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::frame::before_pages;
use super::link::{Link, both, join_checked};
use super::message::{EndOfRound, Kind, MAX_PAGES, MAX_RUNS, encode, encode_bytes};
use super::steering::Steering;
use crate::config::{ByteSize, RateLimit};
use crate::limit::Limiter;
use crate::memory::{GuestRam, GuestSlice};
use crate::state::DirtyPages;
use crate::state::{MemoryRange, PAGE, guest_slices, ranges_of};
use crate::thread::with_signals_blocked;
use crate::{Error, ErrorKind, Result};

/// The pages that follow one another over one connection: 2 MiB.
pub(super) const CHUNK: u64 = 512;
/// A round of fewer pages is sent by one thread.
const SMALL: u64 = 64;

/// The connection, of `connections`, over which page `number` goes.
pub(super) fn connection_of(number: u64, connections: usize) -> usize {
    (number / CHUNK % connections as u64) as usize
}

/// Sends the memory of a guest.
pub(super) struct Copier<'a> {
    ram: GuestRam,
    ranges: Vec<MemoryRange>,
    steering: &'a Steering<'a>,
    lanes: Vec<Lane>,
    round: u32,
}

impl<'a> Copier<'a> {
    /// For `ram` over `connections` connections.
    pub(super) fn new(ram: GuestRam, connections: usize, steering: &'a Steering<'a>) -> Self {
        let lanes = (0..connections).map(|number| Lane::new(number, connections)).collect();
        Self { ranges: ranges_of(&ram), ram, steering, lanes, round: 0 }
    }

    /// How many pages the memory has.
    pub(super) fn pages(&self) -> u64 {
        self.ranges.iter().map(|range| range.length).sum::<u64>() / PAGE as u64
    }

    /// Sends the pages of `dirty` and the end of the round, and returns the number of the round.
    pub(super) fn round(&mut self, links: &[Link<'_>], dirty: &DirtyPages, last: bool) -> Result<u32> {
        let number = self.round;
        self.round += 1;
        self.steering.report(|report| (report.round, report.round_bytes) = (number, dirty.bytes()));
        let memory = Memory { ram: &self.ram, ranges: &self.ranges, dirty, steering: self.steering };
        let send = |lane: &mut Lane, link: &Link<'_>| {
            let sent = lane
                .send(&memory, link)
                .and_then(|pages| link.send(&encode(Kind::EndOfRound, &EndOfRound { round: number, pages, last })?));
            if sent.is_err() {
                link.fail_all();
            }
            sent
        };
        let mut pairs = self.lanes.iter_mut().zip(links);
        if dirty.count() < SMALL || links.len() == 1 {
            pairs.try_for_each(|(lane, link)| send(lane, link))?;
            return Ok(number);
        }
        let Some((first, first_link)) = pairs.next() else { return Ok(number) };
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut outcome = Ok(());
            for (lane, link) in pairs {
                let work = || send(lane, link);
                match with_signals_blocked(|| std::thread::Builder::new().spawn_scoped(scope, work)) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        first_link.fail_all();
                        outcome = Err(Error::io("cannot start a thread that sends memory", error));
                        break;
                    }
                }
            }
            outcome = outcome.and_then(|()| send(first, first_link));
            for thread in threads {
                let (ended, checked) = join_checked(thread, first_link);
                let panicked = |_| Err(Error::new(ErrorKind::Io, "a thread that sends memory panicked"));
                outcome = both(outcome.and(checked), ended.unwrap_or_else(panicked));
            }
            outcome.map(|()| number)
        })
    }
}

/// What one round sends.
struct Memory<'a> {
    ram: &'a GuestRam,
    ranges: &'a [MemoryRange],
    dirty: &'a DirtyPages,
    steering: &'a Steering<'a>,
}

impl Memory<'_> {
    /// Where these pages are.
    fn slices(&self, pages: &Range<u64>) -> Result<Vec<GuestSlice<'_>>> {
        let length = (pages.end - pages.start) as usize * PAGE;
        guest_slices(self.ram, self.ranges, pages.start * PAGE as u64, length)
    }
}

/// What is sent over one connection.
struct Lane {
    number: usize,
    connections: usize,
    limiter: Limiter,
    /// The runs of zero pages that are not sent yet.
    zeroes: Vec<u8>,
}

impl Lane {
    fn new(number: usize, connections: usize) -> Self {
        let limiter = Limiter::new(RateLimit::none(), Instant::now());
        Self { number, connections, limiter, zeroes: Vec::new() }
    }

    /// Sends the dirty pages of this connection, and returns how many there are.
    fn send(&mut self, memory: &Memory<'_>, link: &Link<'_>) -> Result<u64> {
        let mut sent = 0;
        let pages = memory.dirty.pages();
        let starts = (self.number as u64 * CHUNK..pages).step_by(CHUNK as usize * self.connections);
        for start in starts {
            for run in memory.dirty.runs(start..pages.min(start + CHUNK), MAX_PAGES as u64) {
                sent += run.end - run.start;
                self.send_run(memory, link, run)?;
            }
        }
        self.send_zeroes(link)?;
        Ok(sent)
    }

    fn send_run(&mut self, memory: &Memory<'_>, link: &Link<'_>, run: Range<u64>) -> Result<()> {
        link.check()?;
        if self.number == 0 {
            memory.steering.tick();
        }
        let slices = memory.slices(&run)?;
        let zero: Vec<bool> = slices.iter().flat_map(pages_of).map(|page| page.is_zero()).collect();
        let mut first = run.start;
        for part in zero.chunk_by(|one, other| one == other) {
            let pages = first..first + part.len() as u64;
            first = pages.end;
            if part[0] {
                self.add_zeroes(link, pages.start, part.len() as u64)?;
                memory.steering.count(0, part.len() as u64);
            } else {
                let bytes = part.len() * PAGE;
                self.limit(memory.steering, link, bytes as u64)?;
                send_pages(memory, link, &pages)?;
                memory.steering.count(bytes as u64, 0);
            }
        }
        Ok(())
    }

    fn add_zeroes(&mut self, link: &Link<'_>, number: u64, count: u64) -> Result<()> {
        self.zeroes.extend(number.to_le_bytes());
        self.zeroes.extend(count.to_le_bytes());
        if self.zeroes.len() >= MAX_RUNS * 16 { self.send_zeroes(link) } else { Ok(()) }
    }

    fn send_zeroes(&mut self, link: &Link<'_>) -> Result<()> {
        if self.zeroes.is_empty() {
            return Ok(());
        }
        let frame = encode_bytes(Kind::ZeroPages, &self.zeroes)?;
        self.zeroes.clear();
        link.send(&frame)
    }

    /// Waits until the bandwidth allows `bytes` more.
    fn limit(&mut self, steering: &Steering<'_>, link: &Link<'_>, bytes: u64) -> Result<()> {
        loop {
            let rate = steering.settings().bandwidth;
            if rate != self.limiter.limit().bytes_per_second {
                self.limiter.change(limit_of(rate), Instant::now());
            }
            let Err(later) = self.limiter.grant(bytes, Instant::now()) else { return Ok(()) };
            link.check()?;
            if self.number == 0 {
                steering.tick();
            }
            let wait = later.saturating_duration_since(Instant::now());
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
    }
}

/// Sends pages from where they are.
fn send_pages(memory: &Memory<'_>, link: &Link<'_>, pages: &Range<u64>) -> Result<()> {
    let mut first = pages.start;
    for slice in memory.slices(pages)? {
        link.send_memory(&before_pages(first, slice.len()), slice)?;
        first += (slice.len() / PAGE) as u64;
    }
    Ok(())
}

/// The pages of a slice. Ranges of memory begin and end with pages.
fn pages_of<'a>(slice: &GuestSlice<'a>) -> impl Iterator<Item = GuestSlice<'a>> {
    let slice = *slice;
    (0..slice.len() / PAGE).filter_map(move |number| slice.part(number * PAGE, PAGE))
}

fn limit_of(rate: Option<ByteSize>) -> RateLimit {
    rate.map_or_else(RateLimit::none, |rate| RateLimit::none().bytes_per_second(rate))
}
