//! Frames: a length of four bytes (little endian), and that many bytes, with open descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::error::kind;
use crate::{Error, Result};

/// The most bytes of a message.
pub const MAX_FRAME: usize = 1 << 20;
/// The most descriptors of a message; Linux sends at most 253 at once (unix(7)).
pub const MAX_DESCRIPTORS: usize = 250;
const PREFIX: usize = 4;
/// Memory for the bytes of a frame is taken in steps, as they arrive.
const STEP: usize = 64 << 10;

/// A frame that was received.
#[derive(Debug, Default)]
pub struct Frame {
    /// The message.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends a message with descriptors, which stay open here.
///
/// # Errors
/// [`kind::LIMIT_EXCEEDED`] if it is too large; [`kind::GONE`] if the peer has hung up; [`kind::TIMEOUT`] if it does not
/// read, and the socket has a time limit: then the connection is of no more use.
pub fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    if bytes.len() > MAX_FRAME || descriptors.len() > MAX_DESCRIPTORS {
        let what = format!("a message of {} bytes and {} descriptors is too large", bytes.len(), descriptors.len());
        return Err(Error::new(kind::LIMIT_EXCEEDED, what)
            .with_remedy(format!("send at most {MAX_FRAME} bytes and {MAX_DESCRIPTORS} descriptors")));
    }
    let length = (bytes.len() as u32).to_le_bytes();
    let whole = PREFIX + bytes.len();
    let mut sent = 0;
    while sent < whole {
        let (prefix, body) =
            (length.get(sent..).unwrap_or(&[]), bytes.get(sent.saturating_sub(PREFIX)..).unwrap_or(&[]));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // They travel with the first byte.
        if sent == 0 && !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Error::new(kind::LIMIT_EXCEEDED, "too many descriptors for one message"));
        }
        match sendmsg(socket, &[IoSlice::new(prefix), IoSlice::new(body)], &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("cannot send a message", &errno.into())),
        }
    }
    Ok(())
}

/// Receives a message, which is not trusted; `None` if the peer has hung up between two. The first byte may take any
/// time, or as long as the socket's time limit says; the rest must arrive within `patience`.
///
/// # Errors
/// [`kind::PROTOCOL`] if it is too large, or its descriptors did not all arrive; [`kind::TIMEOUT`] if it takes too long;
/// [`kind::GONE`] if the peer hangs up within a message. Then the connection is of no more use.
pub fn receive(socket: &UnixStream, patience: Duration) -> Result<Option<Frame>> {
    let cannot = |error: io::Error| Error::io("cannot receive a message", &error);
    let idle = socket.read_timeout().map_err(cannot)?;
    let mut frame = Frame::default();
    let mut prefix = [0; PREFIX];
    let first = receive_some(socket, &mut prefix, &mut frame.descriptors)?;
    if first == 0 {
        return Ok(None);
    }
    let deadline = Instant::now() + patience;
    let mut rest = || {
        fill(socket, prefix.get_mut(first..).unwrap_or(&mut []), &mut frame.descriptors, deadline)?;
        let length = u32::from_le_bytes(prefix) as usize;
        if length > MAX_FRAME {
            return Err(Error::new(kind::PROTOCOL, format!("the peer announced a message of {length} bytes")));
        }
        while frame.bytes.len() < length {
            let begin = frame.bytes.len();
            frame.bytes.resize(length.min(begin + STEP), 0);
            let part = frame.bytes.get_mut(begin..).unwrap_or(&mut []);
            fill(socket, part, &mut frame.descriptors, deadline)?;
        }
        Ok(())
    };
    let received = rest();
    socket.set_read_timeout(idle).map_err(cannot)?;
    received.map(|()| Some(frame))
}

/// Receives all of `bytes`.
fn fill(socket: &UnixStream, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>, deadline: Instant) -> Result<()> {
    let mut filled = 0;
    while let Some(part) = bytes.get_mut(filled..).filter(|part| !part.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(kind::TIMEOUT, "the peer takes too long to send a message"));
        }
        socket.set_read_timeout(Some(left)).map_err(|e| Error::io("cannot receive a message", &e))?;
        match receive_some(socket, part, descriptors)? {
            0 => return Err(Error::new(kind::GONE, "the peer hung up within a message")),
            count => filled += count,
        }
    }
    Ok(())
}

fn receive_some(socket: &UnixStream, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
                    let what = "the descriptors of a message did not all arrive";
                    return Err(Error::new(kind::PROTOCOL, what).with_remedy(format!(
                        "send at most {MAX_DESCRIPTORS}, and raise the limit of open files of the receiver"
                    )));
                }
                return Ok(received.bytes);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("cannot receive a message", &errno.into())),
        }
    }
}
