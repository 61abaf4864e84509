//! The queues of a balloon.

use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::GuestReport;
use super::device::Shared;
use super::report::{ENTRY, MAX_ENTRIES};
use crate::arch::x86_64::layout::HIGH_MEMORY;
use crate::memory::{Contents, GuestRam, give_back};
use crate::virtio::{Chain, Handler, Queues, Served, VirtQueue};

const INFLATE: usize = 0;
const STATISTICS: usize = 2;
/// The queues for free page reports. The specification numbers queues of features that are not offered, so the queue is
/// 4; Linux before 6.11 skips them and uses 3. Both numbers work.
const REPORTING: [usize; 2] = [3, 4];

const PAGE: u64 = 4096;
/// The most pages processed per request (64 MiB). Drivers send 256; pages beyond the limit stay with the guest.
const MAX_PAGES: usize = 1 << 14;
/// The number of page numbers sorted at a time.
const CHUNK: usize = 1024;
/// The most bytes processed per report, for the same reason; Linux reports at most 128 MiB.
const MAX_REPORTED: u64 = 1 << 30;

/// Serves a balloon from the driver's activation to its reset.
pub(super) struct BalloonHandler {
    shared: Arc<Shared>,
    /// The interval of requests for statistics, and the time of the next one.
    interval: Option<Duration>,
    next: Option<Instant>,
    /// What the driver expects of the pages that it reports, if it reports any.
    reported: Option<Contents>,
    /// The number of the request that the driver has not answered; it sends its first statistics unasked.
    sent: Option<u64>,
    /// The number of the last request sent.
    last_sent: u64,
    chain: Chain,
    bytes: Vec<u8>,
    pages: Vec<u32>,
    /// The failure to release memory was logged already.
    failed: bool,
}

impl BalloonHandler {
    pub(super) fn new(shared: Arc<Shared>, interval: Option<Duration>, reported: Option<Contents>) -> Self {
        let last_sent = shared.lock().asked;
        Self {
            next: interval.and_then(|interval| Instant::now().checked_add(interval)),
            shared,
            interval,
            reported,
            sent: Some(0),
            last_sent,
            chain: Chain::default(),
            bytes: vec![0; 4 * CHUNK],
            pages: Vec::with_capacity(CHUNK),
            failed: false,
        }
    }

    fn inflate(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        let Self { chain, bytes, pages, failed, .. } = self;
        queue.drain(chain, |chain| {
            let mut left = usize::try_from(chain.readable.len() / 4).unwrap_or(MAX_PAGES).min(MAX_PAGES);
            while left > 0 {
                let count = left.min(CHUNK);
                let bytes = &mut bytes[..4 * count];
                chain.readable.take(&memory, bytes)?;
                pages.clear();
                pages.extend(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
                // One call releases adjacent pages, and pages of one request mostly are adjacent.
                pages.sort_unstable();
                pages.dedup();
                for run in pages.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
                    let Some(first) = run.first() else { continue };
                    let start = u64::from(*first) * PAGE;
                    let end = start + run.len() as u64 * PAGE;
                    lend(&memory, start..end, Contents::Undefined, failed);
                }
                left -= count;
            }
            Ok(0)
        })
    }

    /// Pages leave the balloon. The host need not act, because memory returns when the guest touches it.
    fn deflate(&mut self, queue: &mut VirtQueue) -> Served {
        queue.drain(&mut self.chain, |_| Ok(0))
    }

    fn free_pages(&mut self, queue: &mut VirtQueue) -> Served {
        let memory = queue.memory().clone();
        // The guest expects the poison pattern in its free pages (section 5.5.6.7), but released pages read as zero.
        let zeroes = self.shared.lock().poison == 0;
        let Some(contents) = self.reported else { return Ok(()) };
        let Self { chain, failed, .. } = self;
        queue.drain(chain, |chain| {
            let mut left = if zeroes { MAX_REPORTED } else { 0 };
            for range in chain.writable.ranges() {
                let end = range.end.min(range.start.saturating_add(left));
                left -= end - range.start;
                lend(&memory, range.start..end, contents, failed);
            }
            Ok(0)
        })
    }

    /// The driver leaves a buffer with statistics in its queue. Returning it requests fresh ones, which arrive in the
    /// next buffer.
    fn statistics(&mut self, queue: &mut VirtQueue) -> Served {
        loop {
            let asked = self.shared.lock().asked;
            if self.sent.is_none() && asked == self.last_sent {
                return Ok(());
            }
            if !queue.pop(&mut self.chain)? {
                if queue.enable_notification()? {
                    continue;
                }
                return Ok(());
            }
            if let Some(answered) = self.sent.take() {
                let report = self.read_report(queue.memory())?;
                self.shared.change(|inner| (inner.report, inner.answered) = (Some(report), answered));
                // Keeps the buffer for the next request.
                queue.unpop(1);
            } else {
                (self.sent, self.last_sent) = (Some(asked), asked);
                queue.push(self.chain.head(), 0)?;
                queue.signal()?;
            }
        }
    }

    fn read_report(&mut self, memory: &GuestRam) -> Served<GuestReport> {
        let most = MAX_ENTRIES * ENTRY;
        let length = usize::try_from(self.chain.readable.len()).unwrap_or(most).min(most);
        let bytes = &mut self.bytes[..length];
        self.chain.readable.take(memory, bytes)?;
        Ok(GuestReport::parse(bytes, SystemTime::now()))
    }
}

/// Releases `[start, end)` to the host, except below 1 MiB, where the firmware tables are.
fn lend(memory: &GuestRam, range: Range<u64>, contents: Contents, failed: &mut bool) {
    let result: io::Result<()> = give_back(memory, range.start.max(HIGH_MEMORY)..range.end, contents);
    if let Err(error) = result
        && !std::mem::replace(failed, true)
    {
        tracing::warn!(%error, "cannot release balloon memory to the host; further failures are not logged");
    }
}

impl Handler for BalloonHandler {
    fn queue(&mut self, index: usize, queues: &mut Queues) -> Served {
        let Some(queue) = queues.get(index) else { return Ok(()) };
        match index {
            INFLATE => self.inflate(queue),
            STATISTICS => self.statistics(queue),
            index if REPORTING.contains(&index) && self.reported.is_some() => self.free_pages(queue),
            _ => self.deflate(queue),
        }
    }

    fn input(&self) -> Option<RawFd> {
        Some(self.shared.question())
    }

    fn receive(&mut self, queues: &mut Queues) -> Served {
        self.shared.hear();
        queues.get(STATISTICS).map_or(Ok(()), |queue| self.statistics(queue))
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }

    fn due(&mut self, queues: &mut Queues) -> Served {
        self.next = self.interval.and_then(|interval| Instant::now().checked_add(interval));
        self.shared.ask();
        queues.get(STATISTICS).map_or(Ok(()), |queue| self.statistics(queue))
    }
}

impl Drop for BalloonHandler {
    fn drop(&mut self) {
        self.shared.forget_driver();
    }
}
