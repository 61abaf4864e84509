//! Reads and writes files in the guest.

use std::io::{self, Read, Write};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::channel::{Call, MAX_ANSWER, deadline};
use super::handle::{GuestAgent, TIDYING};
use super::message::{Decoded, Encoded, Nothing, not_understood};
use crate::{Error, ErrorKind, Result};

/// How much is read or written per request, in bytes.
const PIECE: usize = 512 << 10;

#[derive(Serialize)]
struct Open<'a> {
    path: &'a str,
    mode: &'a str,
}

#[derive(Serialize)]
struct Handle {
    handle: i64,
}

#[derive(Serialize)]
struct ReadPiece {
    handle: i64,
    count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PieceRead {
    count: u64,
    #[serde(default, rename = "buf-b64")]
    buf: Decoded,
    eof: bool,
}

#[derive(Serialize)]
struct WritePiece<'a> {
    handle: i64,
    #[serde(rename = "buf-b64")]
    buf: Encoded<'a>,
}

#[derive(Deserialize)]
pub(super) struct PieceWritten {
    count: usize,
}

/// A file that the agent has open. Dropping this closes it.
pub(super) struct OpenFile<'a> {
    agent: &'a GuestAgent,
    handle: i64,
    closed: bool,
}

/// A piece of a file.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Whether the file currently ends after it.
    pub(super) end: bool,
}

impl GuestAgent {
    /// Reads a file of the guest, of at most `limit` bytes. The agent's time limit applies to the whole file.
    ///
    /// # Errors
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) if it is longer, [`AgentRefused`](ErrorKind::AgentRefused) also if
    /// it does not exist, and those of [all calls](Self#errors).
    pub fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_pieces(path, |piece| {
            if piece.len() > limit.saturating_sub(bytes.len()) {
                let what = format!("{path} in VM '{}' has more than {limit} bytes", self.channel.name());
                return Err(Error::new(ErrorKind::LimitExceeded, what).with_remedy("allow more, or use read_file_to"));
            }
            bytes.extend(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads a file of the guest into `target` and returns its length. The agent's time limit applies to the whole
    /// file, which bounds how much a guest can send.
    ///
    /// # Errors
    /// Any error of writing to `target`, and those of [`read_file`](Self::read_file).
    pub fn read_file_to(&self, path: &str, target: &mut impl Write) -> Result<u64> {
        let mut count = 0;
        self.read_pieces(path, |piece| {
            count += piece.len() as u64;
            target.write_all(piece).map_err(|error| {
                Error::io(format!("cannot write the contents of {path} in the guest to the target"), error)
            })
        })?;
        Ok(count)
    }

    /// Writes a file of the guest, replacing the contents of an existing one. The agent's time limit applies to the
    /// whole file.
    ///
    /// The agent makes new files readable and writable for every user of the guest. Where that matters, create the file
    /// with a command first, such as `install -m 600 /dev/null PATH`: an existing file keeps its mode and owner.
    /// Afterwards the data is in the guest's page cache; it reaches the disk when the guest syncs.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors). Part of the file may have been written.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write_file_from(path, &mut &*bytes).map(drop)
    }

    /// Writes the data of `source` to a file of the guest, as [`write_file`](Self::write_file) does, and returns its
    /// length.
    ///
    /// # Errors
    /// Any error of reading from `source`, and those of [`write_file`](Self::write_file).
    pub fn write_file_from(&self, path: &str, source: &mut impl Read) -> Result<u64> {
        let deadline = self.deadline();
        let mut file = self.open(path, "w", deadline)?;
        let (mut piece, mut total) = (vec![0; PIECE], 0);
        loop {
            let count = fill(source, &mut piece)
                .map_err(|error| Error::io(format!("cannot read the data for {path} in the guest"), error))?;
            if count == 0 {
                break;
            }
            file.write_all(&piece[..count], deadline)?;
            total += count as u64;
        }
        // Closing writes the data that the agent still buffers.
        file.close(deadline)?;
        Ok(total)
    }

    fn read_pieces(&self, path: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let deadline = self.deadline();
        let mut file = self.open(path, "r", deadline)?;
        loop {
            let piece = file.read(deadline)?;
            take(&piece.bytes)?;
            if piece.end {
                return Ok(());
            }
        }
    }

    pub(super) fn open(&self, path: &str, mode: &str, deadline: Option<Instant>) -> Result<OpenFile<'_>> {
        if path.contains('\0') {
            let what = format!("{path:?} is not a valid path in a guest");
            return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("remove the zero byte"));
        }
        let handle = self.call_until("guest-file-open", Open { path, mode }, deadline)?;
        Ok(OpenFile { agent: self, handle, closed: false })
    }
}

impl OpenFile<'_> {
    pub(super) fn read(&mut self, deadline: Option<Instant>) -> Result<Piece> {
        let call = Call { command: "guest-file-read", limit: MAX_ANSWER, deadline };
        let read: PieceRead = self.agent.channel.call(call, ReadPiece { handle: self.handle, count: PIECE })?;
        let bytes = read.buf.0;
        let why = if bytes.len() as u64 != read.count {
            "its byte count does not match its data"
        } else if bytes.len() > PIECE {
            "it has more bytes than were requested"
        } else if bytes.is_empty() && !read.eof {
            "it has no bytes, but is not the end of the file"
        } else {
            return Ok(Piece { bytes, end: read.eof });
        };
        Err(self.agent.channel.failed(call.command, not_understood(why)))
    }

    fn write_all(&mut self, mut bytes: &[u8], deadline: Option<Instant>) -> Result<()> {
        while !bytes.is_empty() {
            let request = WritePiece { handle: self.handle, buf: Encoded(bytes) };
            let written: PieceWritten = self.agent.call_until("guest-file-write", request, deadline)?;
            bytes = bytes.get(written.count..).filter(|rest| rest.len() < bytes.len()).ok_or_else(|| {
                let error =
                    not_understood(format_args!("it reports {} of {} bytes written", written.count, bytes.len()));
                self.agent.channel.failed("guest-file-write", error)
            })?;
        }
        Ok(())
    }

    fn close(mut self, deadline: Option<Instant>) -> Result<()> {
        self.closed = true;
        self.agent.call_until::<_, Nothing>("guest-file-close", Handle { handle: self.handle }, deadline).map(drop)
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let handle = self.handle;
        self.agent.clean_up(move |agent| {
            let close = Handle { handle };
            if let Err(error) = agent.call_until::<_, Nothing>("guest-file-close", close, deadline(TIDYING)) {
                tracing::debug!(handle, %error, "the guest agent cannot close a file");
            }
        });
    }
}

/// Reads until `buf` is full or the source ends, and returns how much was read.
fn fill(source: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buf.len() {
        match source.read(&mut buf[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
