//! The `ioctl`s of network interfaces and of `/dev/net/tun`. No other file of this folder calls them.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

/// `struct ifreq`: an interface name and an operand, both as bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    operand: [u8; 24],
}

const _: () = assert!(size_of::<IfReq>() == size_of::<libc::ifreq>());
const _: () = assert!(align_of::<IfReq>() >= align_of::<libc::ifreq>());

impl IfReq {
    /// A request for the interface `name`, which is truncated to fit before a final 0.
    pub(super) fn new(name: &str) -> Self {
        let mut req = Self { name: [0; libc::IFNAMSIZ], operand: [0; 24] };
        let n = name.len().min(libc::IFNAMSIZ - 1);
        req.name[..n].copy_from_slice(&name.as_bytes()[..n]);
        req
    }

    pub(super) fn name(&self) -> String {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(&self.name[..end]).into_owned()
    }

    pub(super) fn with_flags(mut self, flags: u16) -> Self {
        self.operand[..2].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    pub(super) fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.operand[0], self.operand[1]])
    }

    /// Sets the MTU or the interface index.
    pub(super) fn with_number(mut self, number: i32) -> Self {
        self.operand[..4].copy_from_slice(&number.to_ne_bytes());
        self
    }

    pub(super) fn number(&self) -> i32 {
        let [a, b, c, d, ..] = self.operand;
        i32::from_ne_bytes([a, b, c, d])
    }

    /// A `struct sockaddr_in`: family, port 0, address.
    pub(super) fn with_ipv4(mut self, address: Ipv4Addr) -> Self {
        self.operand[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        self.operand[4..8].copy_from_slice(&address.octets());
        self
    }

    /// The MAC address in a `struct sockaddr`.
    pub(super) fn hardware_address(&self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f, ..] = self.operand;
        [a, b, c, d, e, f]
    }
}

/// An operation with a `struct ifreq` as its argument.
#[derive(Clone, Copy)]
pub(super) struct IfOp(libc::Ioctl);

pub(super) const TUNSETIFF: IfOp = IfOp(libc::TUNSETIFF);
pub(super) const TUNGETIFF: IfOp = IfOp(libc::TUNGETIFF);
pub(super) const SIOCGIFFLAGS: IfOp = IfOp(libc::SIOCGIFFLAGS as libc::Ioctl);
pub(super) const SIOCSIFFLAGS: IfOp = IfOp(libc::SIOCSIFFLAGS as libc::Ioctl);
pub(super) const SIOCSIFADDR: IfOp = IfOp(libc::SIOCSIFADDR as libc::Ioctl);
pub(super) const SIOCSIFNETMASK: IfOp = IfOp(libc::SIOCSIFNETMASK as libc::Ioctl);
pub(super) const SIOCGIFMTU: IfOp = IfOp(libc::SIOCGIFMTU as libc::Ioctl);
pub(super) const SIOCSIFMTU: IfOp = IfOp(libc::SIOCSIFMTU as libc::Ioctl);
pub(super) const SIOCGIFHWADDR: IfOp = IfOp(libc::SIOCGIFHWADDR as libc::Ioctl);
pub(super) const SIOCGIFINDEX: IfOp = IfOp(libc::SIOCGIFINDEX as libc::Ioctl);
/// From `linux/sockios.h`.
pub(super) const SIOCBRADDIF: IfOp = IfOp(0x89a2);

/// Executes `op` with `req` on `fd`.
pub(super) fn interface(fd: impl AsFd, op: IfOp, req: &mut IfReq) -> io::Result<()> {
    // SAFETY: an `IfOp` is one of the constants above. They read and write one `struct ifreq`, which contains no
    // pointer for any of them; `req` has its size and alignment, and is borrowed for the call.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), op.0, std::ptr::from_mut(req)) })
}

/// Sets the size of the header before each frame of a tap.
pub(super) fn set_header_size(fd: impl AsFd, size: usize) -> io::Result<()> {
    let size = size as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one `int` through the pointer, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })
}

/// Sets the `TUN_F_*` offloads of a tap.
pub(super) fn set_offloads(fd: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value and uses no memory.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
