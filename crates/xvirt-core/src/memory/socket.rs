//! Moves guest memory over sockets without a copy in between.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::GuestSlice;

/// Sends a part of `before` and the `memory` that follows it, and returns its length. The guest may write the memory
/// meanwhile.
pub(crate) fn send_memory(socket: BorrowedFd<'_>, before: &[u8], memory: GuestSlice<'_>) -> io::Result<usize> {
    let mut pieces = [
        libc::iovec { iov_base: before.as_ptr().cast_mut().cast(), iov_len: before.len() },
        libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() },
    ];
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), pieces.len() as _);
    // SAFETY: the kernel only reads the pieces, which are mapped for longer than this call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives into the start of `memory` and returns how many bytes; 0 means that the peer sends no more.
pub(crate) fn receive_memory(socket: BorrowedFd<'_>, memory: GuestSlice<'_>) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the length of the slice, which is mapped for longer than this call.
    let received = unsafe { libc::recv(socket.as_raw_fd(), memory.as_mut_ptr().cast(), memory.len(), 0) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn memory_arrives_behind_what_precedes_it_and_in_parts() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut sent, mut received) = (*b"guest memory", [0; 8]);
        assert_eq!(send_memory(here.as_fd(), b"12", GuestSlice::from(&mut sent[..])).unwrap(), 14);
        let mut before = [0; 2];
        (&there).read_exact(&mut before).unwrap();
        assert_eq!(&before, b"12");
        assert_eq!(receive_memory(there.as_fd(), GuestSlice::from(&mut received[..])).unwrap(), 8);
        assert_eq!(&received, b"guest me");
        drop(here);
        assert_eq!(receive_memory(there.as_fd(), GuestSlice::from(&mut received[..])).unwrap(), 4);
        assert_eq!(&received, b"moryt me");
        assert_eq!(receive_memory(there.as_fd(), GuestSlice::from(&mut received[..])).unwrap(), 0);
        let closed = send_memory(there.as_fd(), b"", GuestSlice::from(&mut sent[..])).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::BrokenPipe);
    }
}
