//! Passes descriptors over unix sockets as ancillary data (`SCM_RIGHTS`, unix(7)).
//!
//! They travel with the first byte of one call that sends. The peer must receive that byte by a call that takes
//! descriptors: otherwise the kernel closes them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::sockopt::socket_domain;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors of one call.
pub(super) const MAX_DESCRIPTORS: usize = 16;

/// Whether descriptors can be passed over `socket`.
pub(super) fn is_possible(socket: impl AsFd) -> bool {
    socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}

/// Sends a part of `bytes`, at least one, with `descriptors`, and returns its length.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > MAX_DESCRIPTORS || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        let what = format!("cannot pass {} descriptors at once, only {MAX_DESCRIPTORS}", descriptors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and appends the descriptors that come with them, which child processes do not inherit.
///
/// # Errors
/// Some descriptors are lost: there were more than [`MAX_DESCRIPTORS`], or the process cannot have more.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    // Room for what a program may have asked the socket for besides (`SO_PASSCRED`).
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            descriptors.extend(arrived);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let what = "descriptors were lost: there were too many, or this process cannot open more (ulimit -n)";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(received.bytes)
}
