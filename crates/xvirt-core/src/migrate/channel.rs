//! The connections between the two sides of a migration.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{SendFlags, send, shutdown};

use super::ancillary;
use crate::memory::{self, GuestSlice};
use crate::sync::lock;
use crate::wait::Wait;

/// The longest time that one call of a [`Connection`] waits.
pub const CONNECTION_WAIT: Duration = Duration::from_millis(50);

/// How much is received at once for connections that cannot receive to where it belongs.
const PIECE: usize = 64 << 10;

/// Makes the connections of one migration: the source opens them and the target accepts them.
///
/// The first one carries the control messages. Memory is divided between all of them.
pub trait Channel: Send + Sync {
    /// The next connection to the other side. A target calls this with a short `limit`, again and again, so that its wait
    /// for a source can be cancelled.
    ///
    /// # Errors
    /// `TimedOut` or `WouldBlock` if the connection was not made in time; any other error of the operating system, or that
    /// no more connections are available.
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>>;
}

/// A reliable, ordered stream of bytes in both directions.
///
/// One thread at a time sends, and one receives, but any thread may [`close`](Self::close) it, which ends the waits of
/// the others. No call waits longer than [`CONNECTION_WAIT`], so that the caller can check its time limit and whether
/// it was cancelled.
pub trait Connection: Send + Sync {
    /// Sends a part of `bytes` and returns its length.
    ///
    /// After an error the peer has not got, and never will get, all of `bytes`, unless the caller sends again.
    ///
    /// # Errors
    /// `TimedOut` or `WouldBlock` if nothing could be sent within [`CONNECTION_WAIT`]; others for a broken connection.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Receives up to `buffer.len()` bytes and returns how many; 0 means that the peer sends no more.
    ///
    /// # Errors
    /// `TimedOut` or `WouldBlock` if nothing arrived within [`CONNECTION_WAIT`]; others for a broken connection.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether it passes open descriptors to the peer, as unix sockets do.
    fn passes_descriptors(&self) -> bool {
        false
    }

    /// Like [`send`](Self::send), and passes duplicates of `descriptors` with the first of the sent bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send), and nothing is passed then; `Unsupported` if it passes no descriptors.
    fn send_descriptors(&self, _bytes: &[u8], _descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        Err(no_descriptors())
    }

    /// Like [`receive`](Self::receive), and appends the descriptors that were passed with these bytes. They are
    /// close-on-exec.
    ///
    /// # Errors
    /// As [`receive`](Self::receive); or descriptors are lost; `Unsupported` if it passes no descriptors.
    fn receive_descriptors(&self, _buffer: &mut [u8], _descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        Err(no_descriptors())
    }

    /// As [`send`](Self::send) of `before`, which may be empty, and the `memory` that follows it. The guest may write the
    /// memory meanwhile, also between this call and the one that sends it again after an error.
    ///
    /// # Errors
    /// As those of [`send`](Self::send).
    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
        self.send(&joined(before, memory))
    }

    /// As [`receive`](Self::receive) into `memory`.
    ///
    /// # Errors
    /// As those of [`receive`](Self::receive).
    fn receive_memory(&self, memory: GuestSlice<'_>) -> io::Result<usize> {
        let mut bytes = [0; PIECE];
        let length = self.receive(&mut bytes[..memory.len().min(PIECE)])?.min(PIECE);
        memory.copy_from(&bytes[..length]);
        Ok(length)
    }

    /// Tells the peer that nothing more is sent. Messages of the peer can still be received.
    fn finish(&self);

    /// Closes both directions.
    fn close(&self);
}

fn no_descriptors() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this connection passes no descriptors")
}

/// A copy of `before` and of the `memory` that follows it.
fn joined(before: &[u8], memory: GuestSlice<'_>) -> Vec<u8> {
    let mut bytes = vec![0; before.len() + memory.len()];
    let (start, rest) = bytes.split_at_mut(before.len());
    start.copy_from_slice(before);
    memory.copy_to(rest);
    bytes
}

/// Connected sockets, each used as one connection, in the given order.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use xvirt_core::migrate::Sockets;
///
/// let (here, there) = UnixStream::pair()?;
/// let (source, target) = (Sockets::new([here])?, Sockets::new([there])?);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Sockets<S>(Mutex<VecDeque<S>>);

impl<S: Socket> Sockets<S> {
    /// A channel over `sockets`, whose modes and time limits it changes.
    ///
    /// # Errors
    /// The modes cannot be changed.
    pub fn new(sockets: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let sockets: VecDeque<S> = sockets.into_iter().collect();
        sockets.iter().try_for_each(|socket| socket.prepare(CONNECTION_WAIT))?;
        Ok(Self(Mutex::new(sockets)))
    }
}

impl<S: Socket + 'static> Channel for Sockets<S> {
    fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
        match lock(&self.0).pop_front() {
            Some(socket) => Ok(Box::new(Stream(socket))),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "the channel has no more sockets")),
        }
    }
}

/// A function that makes connected sockets within the given time, for the source:
///
/// ```
/// use std::net::{SocketAddr, TcpStream};
/// use xvirt_core::migrate::Channel;
///
/// let address: SocketAddr = ([192, 0, 2, 7], 7400).into();
/// let channel = move |limit| TcpStream::connect_timeout(&address, limit);
/// let channel: &dyn Channel = &channel;
/// ```
impl<S: Socket + 'static, F: Fn(Duration) -> io::Result<S> + Send + Sync> Channel for F {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        connection(self(limit)?)
    }
}

/// Accepts whoever connects. A target drops those who are not its source.
impl Channel for TcpListener {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        wait_readable(self, limit)?;
        connection(self.accept()?.0)
    }
}

/// Accepts whoever connects. A target drops those who are not its source.
impl Channel for UnixListener {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        wait_readable(self, limit)?;
        connection(self.accept()?.0)
    }
}

fn connection<S: Socket + 'static>(socket: S) -> io::Result<Box<dyn Connection>> {
    socket.prepare(CONNECTION_WAIT)?;
    Ok(Box::new(Stream(socket)))
}

/// Waits until a connection can be accepted.
fn wait_readable(listener: &impl AsFd, limit: Duration) -> io::Result<()> {
    let ready = Wait::at_most(limit).ready(listener, PollFlags::IN, "the source of a migration to connect")?;
    if ready { Ok(()) } else { Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has connected")) }
}

/// A connected stream socket of the operating system.
pub trait Socket: Send + Sync {
    /// Makes calls block for at most `wait`.
    ///
    /// # Errors
    /// The operating system refuses it.
    fn prepare(&self, wait: Duration) -> io::Result<()>;

    /// [`Read::read`].
    ///
    /// # Errors
    /// Those of the socket.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// [`Write::write`], without the signal SIGPIPE if the peer is gone.
    ///
    /// # Errors
    /// Those of the socket.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// [`Connection::passes_descriptors`].
    fn passes_descriptors(&self) -> bool {
        false
    }

    /// [`Connection::send_descriptors`].
    ///
    /// # Errors
    /// Those of the socket.
    fn send_descriptors(&self, _bytes: &[u8], _descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        Err(no_descriptors())
    }

    /// [`Connection::receive_descriptors`].
    ///
    /// # Errors
    /// Those of the socket.
    fn receive_descriptors(&self, _buffer: &mut [u8], _descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        Err(no_descriptors())
    }

    /// As [`Connection::send_memory`].
    ///
    /// # Errors
    /// Those of the socket.
    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize>;

    /// As [`Connection::receive_memory`].
    ///
    /// # Errors
    /// Those of the socket.
    fn receive_memory(&self, memory: GuestSlice<'_>) -> io::Result<usize>;

    /// Closes one direction or both.
    fn shut_down(&self, how: Shutdown);
}

struct Stream<S>(S);

impl<S: Socket> Connection for Stream<S> {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn passes_descriptors(&self) -> bool {
        self.0.passes_descriptors()
    }

    fn send_descriptors(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.send_descriptors(bytes, descriptors)
    }

    fn receive_descriptors(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        self.0.receive_descriptors(buffer, descriptors)
    }

    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
        self.0.send_memory(before, memory)
    }

    fn receive_memory(&self, memory: GuestSlice<'_>) -> io::Result<usize> {
        self.0.receive_memory(memory)
    }

    fn finish(&self) {
        self.0.shut_down(Shutdown::Write);
    }

    fn close(&self) {
        self.0.shut_down(Shutdown::Both);
    }
}

impl<S: AsFd + Send + Sync> Socket for S
where
    for<'a> &'a S: Read + Write,
{
    fn prepare(&self, wait: Duration) -> io::Result<()> {
        ioctl_fionbio(self, false)?;
        set_socket_timeout(self, Timeout::Recv, Some(wait))?;
        set_socket_timeout(self, Timeout::Send, Some(wait))?;
        // Control messages are small, and the other side waits for each. Fails for sockets that do not delay them.
        let _ = set_tcp_nodelay(self, true);
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // The program that uses this library may not ignore SIGPIPE.
        Ok(send(self, bytes, SendFlags::NOSIGNAL)?)
    }

    fn passes_descriptors(&self) -> bool {
        ancillary::is_possible(self)
    }

    fn send_descriptors(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        ancillary::send(self, bytes, descriptors)
    }

    fn receive_descriptors(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        ancillary::receive(self, buffer, descriptors)
    }

    fn send_memory(&self, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
        memory::send_memory(self.as_fd(), before, memory)
    }

    fn receive_memory(&self, memory: GuestSlice<'_>) -> io::Result<usize> {
        memory::receive_memory(self.as_fd(), memory)
    }

    fn shut_down(&self, how: Shutdown) {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        // Fails if the peer has closed the connection already.
        let _ = shutdown(self, how);
    }
}
