//! The thread that decompresses an archive.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use zstd::bulk::Decompressor;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::ahead::Ahead;
use super::frame::{self, Header, Start};
use super::members::Members;
use super::{Compression, detect, detect_inside};
use crate::chunk::MEMBER;
use crate::parallel::threads;
use crate::pool::Pool;
use crate::stream::Stream;
use crate::tar::BLOCK;
use crate::thread::spawn_scoped;
use crate::{Error, ErrorKind, Result};

/// The size of a piece of the stream in bytes: several of them fit into a CPU's cache.
const PIECE: usize = 256 << 10;
/// The most pieces that may wait for the reader.
const WAITING: usize = 8;
/// Frames with larger contents are decompressed as a stream, by a single thread.
const MAX_FRAME: u64 = 4 << 20;
/// zstd's largest window is 2^31 bytes. The allowed size is checked beforehand.
const MAX_WINDOW: u32 = 31;

/// An input whose first bytes were read.
pub(crate) struct Opened<R> {
    pub(crate) compression: Compression,
    input: io::Chain<Cursor<Vec<u8>>, R>,
}

/// Reads the first bytes of an input.
pub(crate) fn open<R: Read>(mut input: R) -> Result<Opened<R>> {
    let mut start = Vec::with_capacity(512);
    (&mut input).take(512).read_to_end(&mut start).map_err(cannot_read)?;
    let compression = detect(&start)?;
    Ok(Opened { compression, input: Cursor::new(start).chain(input) })
}

/// An output of the decoder: a piece, or a channel for one.
enum Slot {
    Ready(Result<Bytes>),
    Pending(Receiver<Result<Bytes>>),
}

/// What is known about an input so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The bytes taken from it.
    pub(crate) read: AtomicU64,
    /// The largest window that it needed, in bytes.
    pub(crate) window: AtomicU64,
}

/// Decompresses an input on threads of `scope`, with a window of at most `max_window` bytes.
pub(crate) fn decode<'scope, R: Read + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    opened: Opened<R>,
    max_window: u64,
    counters: &'scope Counters,
) -> Stream<'scope> {
    let Opened { compression, input } = opened;
    let (sender, receiver) = bounded(WAITING);
    spawn_scoped(scope, move || {
        let mut input = Counted { input, read: &counters.read };
        let most_memory = max_window.min(1 << MAX_WINDOW);
        let mut output = Output { pool: Pool::new(PIECE), slots: sender, most_memory, window: &counters.window };
        let done = match compression {
            Compression::None => output.copy(&mut input),
            Compression::Gzip => output.copy(&mut Members::new(Ahead::spawn(scope, input))),
            Compression::Zstd => output.frames(scope, &mut Ahead::spawn(scope, input)),
        };
        if let Err(error) = done {
            // The receiver gets the error, unless it is gone.
            let _ = output.slots.send(Slot::Ready(Err(explain(error, compression))));
        }
    });
    let mut next = move || match receiver.recv() {
        Ok(Slot::Ready(piece)) => piece.map(Some),
        Ok(Slot::Pending(piece)) => piece.recv().unwrap_or_else(|_| Err(stopped())).map(Some),
        Err(_) => Ok(None),
    };
    let mut begun = false;
    Stream::new(move || match std::mem::replace(&mut begun, true) {
        true => next(),
        false => first(&mut next, compression),
    })
}

/// The first piece of a stream, long enough to tell what was compressed.
fn first(next: &mut impl FnMut() -> Result<Option<Bytes>>, compression: Compression) -> Result<Option<Bytes>> {
    let mut start = Vec::new();
    while let Some(piece) = next()? {
        if start.is_empty() && piece.len() >= BLOCK {
            detect_inside(compression, &piece[..BLOCK])?;
            return Ok(Some(piece));
        }
        start.extend_from_slice(&piece);
        if start.len() >= BLOCK {
            break;
        }
    }
    detect_inside(compression, &start[..start.len().min(BLOCK)])?;
    Ok(Some(start.into()))
}

struct Output<'a> {
    pool: Pool,
    slots: Sender<Slot>,
    /// The memory limit for a zstd frame that is decompressed as a stream, in bytes.
    most_memory: u64,
    window: &'a AtomicU64,
}

impl Output<'_> {
    /// Passes on `input` unchanged.
    fn copy(&mut self, input: &mut impl Read) -> io::Result<()> {
        loop {
            let mut buffer = self.pool.take();
            let length = fill(input, &mut buffer)?;
            if length == 0 || !self.send(buffer, length) {
                return Ok(());
            }
        }
    }

    /// Sends a piece; `false` if the receiver is gone.
    fn send(&self, buffer: Vec<u8>, length: usize) -> bool {
        self.slots.send(Slot::Ready(Ok(self.pool.share(buffer, length)))).is_ok()
    }

    fn frames<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, input: &mut impl BufRead) -> io::Result<()> {
        let mut workers: Option<Workers> = None;
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW))?;
        while let Some(start) = frame::start(input)? {
            let listening = match start {
                Start::Skippable(length) => skip(input, length).map(|()| true)?,
                Start::Data(header) if header.content.is_some_and(|content| content <= MAX_FRAME) => {
                    let workers = workers.get_or_insert_with(|| Workers::spawn(scope));
                    self.small_frame(workers, &header, input)?
                }
                Start::Data(header) => self.big_frame(&mut decoder, &header, input)?,
            };
            if !listening {
                break;
            }
        }
        Ok(())
    }

    /// Passes a frame to the workers; `false` if the receiver is gone.
    fn small_frame(&self, workers: &Workers, header: &Header, input: &mut impl Read) -> io::Result<bool> {
        let content = header.content.unwrap_or_default() as usize;
        let mut frame = workers.compressed.take();
        let length = frame::rest(input, header, &mut frame, 2 * content + MEMBER)?;
        let (sender, receiver) = bounded(1);
        // The slots are in the order of the frames, whichever is ready first.
        if self.slots.send(Slot::Pending(receiver)).is_err() {
            return Ok(false);
        }
        Ok(workers.jobs.send(Job { frame, length, content, done: sender }).is_ok())
    }

    /// Decompresses a frame as a stream; `false` if the receiver is gone.
    fn big_frame(&self, decoder: &mut Decoder<'_>, header: &Header, input: &mut impl BufRead) -> io::Result<bool> {
        if header.memory() > self.most_memory {
            let too_large = WindowTooLarge { window: header.memory(), most: self.most_memory };
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, too_large));
        }
        self.window.fetch_max(header.window, Ordering::Relaxed);
        decoder.reinit()?;
        let mut head = InBuffer::around(&header.bytes);
        let (mut ended, mut content) = (false, 0);
        while !ended {
            let mut buffer = self.pool.take();
            let mut out = OutBuffer::around(&mut buffer[..]);
            while !ended && out.pos() < PIECE {
                if head.pos < header.bytes.len() {
                    ended = decoder.run(&mut head, &mut out)? == 0;
                    continue;
                }
                let available = input.fill_buf()?;
                let nothing = available.is_empty();
                let mut part = InBuffer::around(available);
                let before = out.pos();
                ended = decoder.run(&mut part, &mut out)? == 0;
                let used = part.pos;
                input.consume(used);
                if nothing && !ended && out.pos() == before {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let length = out.pos();
            content += length as u64;
            if !self.send(buffer, length) {
                return Ok(false);
            }
        }
        // zstd itself does not check this if the last block is empty.
        if header.content.is_some_and(|told| told != content) {
            return Err(shorter());
        }
        Ok(true)
    }
}

/// A frame to decompress.
struct Job {
    frame: Vec<u8>,
    length: usize,
    content: usize,
    done: Sender<Result<Bytes>>,
}

/// Threads that decompress small frames until the input ends.
struct Workers {
    jobs: Sender<Job>,
    compressed: Pool,
}

impl Workers {
    fn spawn<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (jobs, receiver) = bounded::<Job>(1);
        let (compressed, pool) = (Pool::new(MEMBER), Pool::new(MEMBER));
        // More threads would be idle, because no more frames wait for the reader.
        for _ in 0..threads().min(WAITING) {
            let (receiver, compressed, pool) = (receiver.clone(), compressed.clone(), pool.clone());
            spawn_scoped(scope, move || {
                let mut decompressor = Decompressor::new();
                for job in receiver {
                    let piece =
                        decompress(&mut decompressor, &job, &pool).map_err(|error| explain(error, Compression::Zstd));
                    // The receiver may be gone.
                    let _ = job.done.send(piece);
                    compressed.give_back(job.frame);
                }
            });
        }
        Self { jobs, compressed }
    }
}

fn decompress(decompressor: &mut io::Result<Decompressor<'_>>, job: &Job, pool: &Pool) -> io::Result<Bytes> {
    let decompressor = decompressor.as_mut().map_err(|error| io::Error::from(error.kind()))?;
    let mut content = if job.content <= pool.size() { pool.take() } else { vec![0; job.content] };
    let length =
        decompressor.decompress_to_buffer(job.frame.get(..job.length).unwrap_or_default(), &mut content[..])?;
    if length != job.content {
        return Err(shorter());
    }
    Ok(pool.share(content, length))
}

fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame is shorter than its header says")
}

/// Counts bytes, and marks errors as input errors.
struct Counted<'a, R> {
    input: R,
    read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            Ok(count) => {
                self.read.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(io::Error::new(error.kind(), InputFailed(error))),
        }
    }
}

/// An error of the input, as opposed to its contents.
#[derive(Debug)]
struct InputFailed(io::Error);

impl fmt::Display for InputFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for InputFailed {}

/// A frame needs more memory than allowed.
#[derive(Debug, thiserror::Error)]
#[error("it needs a window of {window} bytes, but only {most} are allowed")]
struct WindowTooLarge {
    window: u64,
    most: u64,
}

impl WindowTooLarge {
    fn explain(&self) -> Error {
        let [window, most] = [self.window, self.most].map(size);
        let what = format!("decompressing the archive needs a window of {window}, but only {most} are allowed");
        Error::new(ErrorKind::LimitExceeded, what).with_remedy(format!(
            "if that much memory is acceptable, raise ReadOptions::max_window (to {} at the highest), or compress the \
             archive with a smaller window: zstd -dc --long=31 OLD | zstd -o NEW",
            size(1 << MAX_WINDOW)
        ))
    }
}

/// A size for messages.
fn size(bytes: u64) -> String {
    let whole = [(30, "GiB"), (20, "MiB")].into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// Reads until `into` is full or the input ends; returns the number of bytes.
pub(crate) fn fill(input: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn skip(input: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn explain(error: io::Error, compression: Compression) -> Error {
    let inner = error.get_ref();
    if let Some(too_large) = inner.and_then(|inner| inner.downcast_ref::<WindowTooLarge>()) {
        return too_large.explain();
    }
    if inner.is_some_and(|inner| inner.is::<InputFailed>()) {
        return cannot_read(error);
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the archive's {compression} stream ends too early"),
        _ => format!("the archive's {compression} stream is damaged"),
    };
    Error::new(ErrorKind::Corrupt, what)
        .because(error)
        .with_remedy("copy or export the archive again; verify tells which disks are whole")
}

fn cannot_read(error: io::Error) -> Error {
    Error::io("cannot read the archive", error)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Io, "a thread that decompresses the archive has stopped")
}

impl<R> fmt::Debug for Opened<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("compression", &self.compression).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(stream: &[u8]) -> Result<Vec<u8>> {
        let (opened, counters) = (open(stream)?, Counters::default());
        std::thread::scope(|scope| {
            let mut stream = decode(scope, opened, 128 << 20, &counters);
            let mut content = Vec::new();
            while let Some(piece) = stream.next_piece()? {
                content.extend_from_slice(&piece);
            }
            Ok(content)
        })
    }

    /// A frame whose header says `told` bytes, with `bytes` and an empty last block.
    fn frame(told: u32, bytes: &[u8]) -> Vec<u8> {
        let block = |last: u32, bytes: &[u8]| {
            let header = (last | (bytes.len() as u32) << 3).to_le_bytes();
            [&header[..3], bytes].concat()
        };
        let header = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0], &told.to_le_bytes()[..]].concat();
        [header, block(0, bytes), block(1, &[])].concat()
    }

    #[test]
    fn a_frame_holds_as_much_as_it_tells_whatever_its_size() {
        let header = crate::tar::file_header("ova.xml", 0);
        assert_eq!(content(&frame(512, &header)).unwrap(), header);
        for told in [513, 700, MAX_FRAME as u32 + 1] {
            let error = content(&frame(told, &header)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{told}");
        }
    }
}
