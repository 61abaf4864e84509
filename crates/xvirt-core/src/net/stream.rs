//! Frames over a unix socket, the protocol of `passt` and QEMU's `-netdev stream`, which needs no privileges.
//!
//! Each frame is preceded by its length, four bytes in network order, without any other header. There are no offloads:
//! checksums are complete, and no frame is larger than the MTU.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::MacAddress;
use super::passt::{PasstCommand, Supervisor};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result, socket};

/// Size of the length before each frame in bytes.
const PREFIX: usize = 4;
/// The largest frame: an IP packet and its Ethernet header with a VLAN tag. A larger one violates the protocol.
pub(crate) const MAX_STREAM_FRAME: usize = 65_535 + 18;

/// One end of a connection that carries Ethernet frames. No method blocks, and all may be called from any thread.
///
/// Partly received and sent frames are kept here, so that a connection can outlive the NIC that uses it.
pub struct FrameStream {
    // Dropped before the peer, which ends with it.
    connection: Mutex<Option<Connection>>,
    peer: Peer,
}

/// The kind of peer, which decides how to reconnect.
#[derive(Debug)]
enum Peer {
    /// A listener at this path.
    At(PathBuf),
    /// The peer of a given socket, without reconnecting.
    Given,
    /// A `passt` process that is restarted.
    Passt(Supervisor),
}

impl fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A connection with its partial frames.
struct Connection {
    socket: OwnedFd,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// Received bytes that were not taken yet.
struct Incoming {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// A frame that was not sent completely.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl FrameStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// No program listens there, this user lacks the permission, or the listener's backlog is full
    /// ([`Busy`](crate::ErrorKind::Busy)).
    pub fn connect(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let socket = socket::connect_at_once(&path).map_err(|error| {
            Error::io(format!("cannot connect to the network socket {}", path.display()), error).with_remedy(
                "start the program that listens there first, for example: passt --socket PATH; and check the socket's permissions",
            )
        })?;
        Ok(Self::of(socket, Peer::At(path)))
    }

    /// Takes a connected socket, which another process may have opened.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if it is not a connected unix stream socket, which a
    /// [`UnixStream`] created from a descriptor need not be; or the socket cannot be made non-blocking.
    pub fn new(socket: UnixStream) -> Result<Self> {
        if !socket::is_unix_stream(&socket) || socket.peer_addr().is_err() {
            let what = format!("descriptor {} is not a connected unix stream socket", socket.as_raw_fd());
            return Err(
                Error::new(ErrorKind::InvalidConfig, what).with_remedy("connect it first, or make a socket pair")
            );
        }
        socket.set_nonblocking(true).map_err(|e| Error::io("cannot use a socket for frames", e))?;
        Ok(Self::of(socket.into(), Peer::Given))
    }

    /// Starts a `passt` for a guest with the MAC address `mac`; it ends with this value.
    pub(crate) fn passt(command: PasstCommand, mac: MacAddress) -> Result<Self> {
        let (supervisor, socket) = Supervisor::start(command, mac)?;
        Ok(Self::of(socket.into(), Peer::Passt(supervisor)))
    }

    fn of(socket: OwnedFd, peer: Peer) -> Self {
        Self { connection: Mutex::new(Some(Connection::new(socket))), peer }
    }

    /// The path of the socket, if it was connected by path.
    pub fn path(&self) -> Option<&Path> {
        match &self.peer {
            Peer::At(path) => Some(path),
            Peer::Given | Peer::Passt(_) => None,
        }
    }

    /// The descriptor of the connection; `None` while disconnected.
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        lock(&self.connection).as_ref().map(|connection| connection.socket.as_raw_fd())
    }

    /// Reconnects after the connection was lost; `false` if that fails for now.
    pub(crate) fn reconnect(&self) -> bool {
        let socket = match &self.peer {
            Peer::At(path) => socket::connect_at_once(path).ok(),
            Peer::Given => None,
            Peer::Passt(supervisor) => supervisor.reconnect(),
        };
        let Some(socket) = socket else { return false };
        *lock(&self.connection) = Some(Connection::new(socket));
        true
    }

    /// Receives one frame and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; `NotConnected` if the peer is gone or violated the protocol, which ends the
    /// connection.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.connected(|connection| connection.incoming.next(&connection.socket, frame))
    }

    /// Sends one frame, or keeps the part that the socket does not accept now.
    ///
    /// # Errors
    /// `WouldBlock` if an earlier frame is incomplete; this one was not taken. `NotConnected` as in
    /// [`receive`](Self::receive). `InvalidInput` if the frame is too large.
    pub fn send(&self, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.connected(|connection| {
            let Connection { socket, outgoing, .. } = connection;
            outgoing.flush(socket)?;
            outgoing.bytes.clear();
            outgoing.sent = 0;
            outgoing.bytes.extend([0; PREFIX]);
            fill(&mut outgoing.bytes);
            let length = outgoing.bytes.len() - PREFIX;
            if length > MAX_STREAM_FRAME {
                outgoing.bytes.clear();
                return Err(io::ErrorKind::InvalidInput.into());
            }
            outgoing.bytes[..PREFIX].copy_from_slice(&(length as u32).to_be_bytes());
            match outgoing.flush(socket) {
                // The rest is kept and sent first.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                other => other,
            }
        })
    }

    /// Continues an incomplete frame.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.connected(|connection| connection.outgoing.flush(&connection.socket))
    }

    /// Calls `use_it` with the connection, which ends if that fails.
    fn connected<T>(&self, use_it: impl FnOnce(&mut Connection) -> io::Result<T>) -> io::Result<T> {
        let mut slot = lock(&self.connection);
        let connection = slot.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        use_it(connection).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput => error,
            _ => {
                *slot = None;
                tracing::debug!(%error, "a network socket's connection has ended");
                io::ErrorKind::NotConnected.into()
            }
        })
    }
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        // Room for at least one frame, or for many small ones.
        let buffer = vec![0; 2 * (PREFIX + MAX_STREAM_FRAME)].into_boxed_slice();
        Self { socket, incoming: Incoming { buffer, start: 0, end: 0 }, outgoing: Outgoing::default() }
    }
}

impl Incoming {
    fn next(&mut self, socket: &OwnedFd, frame: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(found) = self.whole()? {
                // A frame that does not fit is truncated.
                let length = found.len().min(frame.len());
                frame[..length].copy_from_slice(&self.buffer[found.start..found.start + length]);
                self.start = found.end;
                return Ok(length);
            }
            self.fill(socket)?;
        }
    }

    /// The range of the next frame, if it is complete.
    fn whole(&self) -> io::Result<Option<std::ops::Range<usize>>> {
        let waiting = &self.buffer[self.start..self.end];
        let Some(prefix) = waiting.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length == 0 || length > MAX_STREAM_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let start = self.start + PREFIX;
        Ok((start + length <= self.end).then_some(start..start + length))
    }

    fn fill(&mut self, socket: &OwnedFd) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // There is room, because an incomplete frame is smaller than the buffer.
        match recv(socket.as_fd(), &mut self.buffer[self.end..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => {
                self.end += count;
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Outgoing {
    /// Sends the rest of the frame; `WouldBlock` if the socket does not accept all of it.
    fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            // Without SIGPIPE, whose handling belongs to the program.
            match send(socket.as_fd(), &self.bytes[self.sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (FrameStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (FrameStream::new(near).unwrap(), far)
    }

    fn prefixed(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
    }

    fn receive(stream: &FrameStream) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; MAX_STREAM_FRAME];
        stream.receive(&mut frame).map(|length| frame[..length].to_vec())
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (stream, mut far) = pair();
        let frames: Vec<Vec<u8>> =
            [14, 60, 1514, 65_553, 1].iter().enumerate().map(|(i, length)| vec![i as u8; *length]).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| prefixed(frame)).collect();
        for step in [1, 3, 1000, bytes.len()] {
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                far.write_all(piece).unwrap();
                while let Ok(frame) = receive(&stream) {
                    got.push(frame);
                }
            }
            assert!(got == frames, "in pieces of {step}");
        }
        assert_eq!(receive(&stream).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_slow_peer_gets_every_frame_that_was_taken() {
        let (stream, mut far) = pair();
        let mut taken = 0_u32;
        let send = |number: u32| stream.send(|bytes| bytes.extend([&number.to_be_bytes()[..], &[7; 9000]].concat()));
        while send(taken).is_ok() {
            taken += 1;
        }
        assert_eq!(send(taken).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for number in 0..taken {
            let mut frame = [0; PREFIX + 9004];
            far.read_exact(&mut frame).unwrap();
            assert_eq!((&frame[..4], &frame[4..8]), (&9004_u32.to_be_bytes()[..], &number.to_be_bytes()[..]));
            // The end of the last frame is pending until the next flush.
            let _ = stream.flush();
        }
        assert!(taken > 2 && send(0).is_ok());
    }

    #[test]
    fn a_peer_that_goes_or_lies_ends_the_connection() {
        for lie in [vec![], vec![0, 0, 0, 0], vec![0xff; 4], (MAX_STREAM_FRAME as u32 + 1).to_be_bytes().to_vec()] {
            let (stream, mut far) = pair();
            far.write_all(&prefixed(&[1; 20])).unwrap();
            far.write_all(&lie).unwrap();
            drop(far);
            assert_eq!(receive(&stream).unwrap(), [1; 20]);
            assert_eq!(receive(&stream).unwrap_err().kind(), io::ErrorKind::NotConnected, "{lie:?}");
            assert_eq!(stream.send(|bytes| bytes.push(1)).unwrap_err().kind(), io::ErrorKind::NotConnected);
            assert!(stream.descriptor().is_none() && !stream.reconnect());
        }
        let (stream, far) = pair();
        drop(far);
        assert_eq!(stream.send(|bytes| bytes.push(1)).unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn it_connects_by_path_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let error = FrameStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        assert!(error.to_string().contains("passt --socket"), "{error}");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let stream = FrameStream::connect(&path).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(receive(&stream).unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(stream.reconnect());
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(&prefixed(&[2; 30])).unwrap();
        assert_eq!(receive(&stream).unwrap(), [2; 30]);
    }
    #[test]
    fn what_is_no_connected_unix_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let (datagrams, _peer) = std::os::unix::net::UnixDatagram::pair().unwrap();
        for descriptor in [
            OwnedFd::from(listener),
            datagrams.into(),
            std::fs::File::open("/").unwrap().into(),
            io::pipe().unwrap().0.into(),
        ] {
            let error = FrameStream::new(UnixStream::from(descriptor)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains("is not a connected unix stream socket; connect it first"), "{error}");
        }
    }
}
