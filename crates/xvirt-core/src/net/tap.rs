//! Tap interfaces, the host ends of guests' network cables.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::{Deserialize, Serialize};

use super::interface::{self, NEEDS_NET_ADMIN, check_name};
use super::ioctl::{self, IfReq};
use super::mac::MacAddress;
use crate::memory::GuestSlice;
use crate::{Error, ErrorKind, Result};

/// The size of the header before each frame of a tap: `struct virtio_net_hdr_v1`, little-endian.
pub const VNET_HEADER_LEN: usize = 12;

/// The device that provides taps.
const DEVICE: &str = "/dev/net/tun";

/// The most slices per `readv` or `writev` (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

/// The mode of a tap: Ethernet frames, no protocol prefix, and a virtio header.
const KIND: u16 = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as u16;

/// The offloads that the guest's driver supports, so that the host may leave that work undone in frames.
///
/// By default none: every frame is complete and no larger than the MTU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offloads {
    /// Partial checksums. All other offloads need it.
    pub checksum: bool,
    /// TCP over IPv4 larger than the MTU.
    pub tso4: bool,
    /// TCP over IPv6 larger than the MTU.
    pub tso6: bool,
    /// TCP with ECN larger than the MTU; needs `tso4` or `tso6`.
    pub tso_ecn: bool,
    /// UDP over IPv4 and IPv6 larger than the MTU (Linux 6.2).
    pub uso: bool,
}

impl Offloads {
    fn flags(self) -> u32 {
        [
            (self.checksum, libc::TUN_F_CSUM),
            (self.tso4, libc::TUN_F_TSO4),
            (self.tso6, libc::TUN_F_TSO6),
            (self.tso_ecn, libc::TUN_F_TSO_ECN),
            (self.uso, libc::TUN_F_USO4 | libc::TUN_F_USO6),
        ]
        .into_iter()
        .filter_map(|(on, flag)| on.then_some(flag))
        .sum()
    }
}

/// A tap interface of the host: frames written to it are received by the host, and frames that the host sends are read
/// from it.
///
/// Each read and write is one Ethernet frame after a header of [`VNET_HEADER_LEN`] bytes. The descriptor is
/// non-blocking and can be polled. All methods may be called from any thread.
///
/// Methods that concern the interface rather than frames (MTU, state, address, bridge) work in the network namespace of
/// the calling thread.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
}

impl Tap {
    /// Creates a tap that disappears when dropped, named `name` or `xvtap0`, `xvtap1`, … It is down at first.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`, `HostUnsupported` if the host does not support taps, `InvalidConfig`
    /// if the name is invalid, `AlreadyExists` if it is taken.
    pub fn create(name: Option<&str>) -> Result<Self> {
        name.map_or(Ok(()), check_name)?;
        let exclusive = libc::IFF_TUN_EXCL as u16;
        Self::attach(open_device(Path::new(DEVICE))?.into(), name.unwrap_or("xvtap%d"), KIND | exclusive)
            .map_err(|source| not_created(name, source))?
            .ready()
    }

    /// Attaches to the persistent tap `name`, such as one created by `ip tuntap add NAME mode tap`.
    ///
    /// # Errors
    /// `NotFound` when there is no such interface, `InvalidConfig` when it is not a tap, `Busy` when another program is
    /// attached to it, `PermissionDenied` when it belongs to another user, `HostUnsupported` when the host has no taps.
    pub fn open(name: &str) -> Result<Self> {
        check_name(name)?;
        // Checked first, because attaching would create it, or report missing privileges.
        if !interface::exists(name)? {
            return Err(not_there(name));
        }
        let tap = Self::attach(open_device(Path::new(DEVICE))?.into(), name, KIND)
            .map_err(|source| not_opened(name, source))?;
        let mut req = IfReq::new("");
        ioctl::interface(&tap.fd, ioctl::TUNGETIFF, &mut req).map_err(|source| not_opened(name, source))?;
        // The interface was removed in between, and attaching has created a new, unconfigured one.
        if req.flags() & libc::IFF_PERSIST as u16 == 0 {
            return Err(not_there(name));
        }
        tap.ready()
    }

    /// Uses a descriptor of a tap that a more privileged process has attached.
    ///
    /// # Errors
    /// `InvalidConfig` if it is not a tap, or was attached without `IFF_NO_PI` or `IFF_VNET_HDR`.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let mut req = IfReq::new("");
        ioctl::interface(&fd, ioctl::TUNGETIFF, &mut req).map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, format!("descriptor {} is not a tap", fd.as_raw_fd()))
                .because(source)
                .with_remedy("open /dev/net/tun and attach it with TUNSETIFF first")
        })?;
        let name = req.name();
        if req.flags() & KIND != KIND {
            let what = format!("descriptor {} of interface {name} was attached with unsupported flags", fd.as_raw_fd());
            return Err(Error::new(ErrorKind::InvalidConfig, what)
                .with_remedy("attach it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR"));
        }
        Self { fd, name }.ready()
    }

    fn attach(fd: OwnedFd, name: &str, flags: u16) -> io::Result<Self> {
        let mut req = IfReq::new(name).with_flags(flags);
        ioctl::interface(&fd, ioctl::TUNSETIFF, &mut req)?;
        Ok(Self { fd, name: req.name() })
    }

    fn ready(self) -> Result<Self> {
        let failed = |source| Error::io(format!("cannot set up tap {}", self.name), source);
        ioctl::set_header_size(&self.fd, VNET_HEADER_LEN).map_err(failed)?;
        let flags = fcntl_getfl(&self.fd).map_err(|errno| failed(errno.into()))?;
        fcntl_setfl(&self.fd, flags | OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        Ok(self)
    }

    /// The name of the interface on the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The MAC address of the host's end; the guest's NIC has its own.
    ///
    /// # Errors
    /// `NotFound` when the interface is gone.
    pub fn mac(&self) -> Result<MacAddress> {
        interface::mac(&self.name)
    }

    /// The MTU in bytes, without the Ethernet header.
    ///
    /// # Errors
    /// `NotFound` when the interface is gone.
    pub fn mtu(&self) -> Result<u32> {
        interface::mtu(&self.name)
    }

    /// Sets the MTU in bytes, without the Ethernet header.
    ///
    /// # Errors
    /// `InvalidConfig` outside 68 to 65521, `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        interface::set_mtu(&self.name, mtu)
    }

    /// Brings the interface up; before that the host neither sends nor accepts frames.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_up(&self) -> Result<()> {
        interface::set_up(&self.name)
    }

    /// Sets an IPv4 address of the host's end, for a network of only the host and the guest.
    ///
    /// # Errors
    /// `InvalidConfig` when `prefix` is over 32, `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_address(&self, address: Ipv4Addr, prefix: u8) -> Result<()> {
        interface::set_address(&self.name, address, prefix)
    }

    /// Adds the tap to the Linux bridge `bridge`; succeeds if it is a port of it already.
    ///
    /// # Errors
    /// `NotFound` when there is no such bridge, `InvalidConfig` when it is not a Linux bridge, `Busy` when the tap is
    /// in another one, `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn attach_to_bridge(&self, bridge: &str) -> Result<()> {
        interface::attach_to_bridge(&self.name, bridge)
    }

    /// Sets the offloads that the host may leave to the guest.
    ///
    /// # Errors
    /// `InvalidConfig` if an offload lacks one that it needs, `HostUnsupported` if the host's kernel does not support
    /// it.
    pub fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        let Offloads { checksum, tso4, tso6, tso_ecn, uso } = offloads;
        let what = || format!("cannot set offloads {offloads:?} of tap {}", self.name);
        if (tso4 || tso6 || uso) && !checksum || tso_ecn && !(tso4 || tso6) {
            return Err(Error::new(ErrorKind::InvalidConfig, what())
                .with_remedy("tso4, tso6 and uso need checksum, and tso_ecn needs tso4 or tso6"));
        }
        ioctl::set_offloads(&self.fd, offloads.flags()).map_err(|source| match source.raw_os_error() {
            Some(libc::EINVAL) => Error::new(ErrorKind::HostUnsupported, what())
                .because(source)
                .with_remedy("leave out uso, which needs Linux 6.2 or newer"),
            _ => Error::io(what(), source),
        })
    }

    /// Reads one frame after its header; bytes that do not fit into `buf` are dropped. For guest memory, use
    /// [`read_vectored`](Self::read_vectored).
    ///
    /// # Errors
    /// `WouldBlock` if there is none, or any other error of the operating system.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buf)?)
    }

    /// Writes one frame after its header.
    ///
    /// # Errors
    /// `WouldBlock` if the host's queue is full; `EIO` while the interface is down; `EINVAL` when the header or
    /// the frame is malformed.
    pub fn write(&self, frame: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.fd, frame)?)
    }

    /// Reads one frame after its header into guest memory.
    ///
    /// # Errors
    /// As [`read`](Self::read); `InvalidInput` for more than 1024 slices.
    pub fn read_vectored(&self, slices: &[GuestSlice<'_>]) -> io::Result<usize> {
        let iovecs = iovecs(slices)?;
        // SAFETY: each iovec is the memory of a slice, which is mapped and writable as long as the slice exists, and
        // which others only access as volatile. There are at most `MAX_SLICES`.
        let n = unsafe { libc::readv(self.fd.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Writes one frame after its header from guest memory.
    ///
    /// # Errors
    /// As [`write`](Self::write); `InvalidInput` for more than 1024 slices.
    pub fn write_vectored(&self, slices: &[GuestSlice<'_>]) -> io::Result<usize> {
        let iovecs = iovecs(slices)?;
        // SAFETY: each iovec is the memory of a slice, which is mapped as long as the slice exists; the kernel copies
        // it once, so a guest that changes it meanwhile only corrupts its own frame. There are at most `MAX_SLICES`.
        let n = unsafe { libc::writev(self.fd.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn iovecs(slices: &[GuestSlice<'_>]) -> io::Result<Vec<libc::iovec>> {
    if slices.len() > MAX_SLICES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a frame in more than 1024 pieces"));
    }
    let iovec = |slice: &GuestSlice<'_>| libc::iovec { iov_base: slice.as_mut_ptr().cast(), iov_len: slice.len() };
    Ok(slices.iter().map(iovec).collect())
}

pub(super) fn open_device(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|source| {
        let what = format!("cannot open {}", path.display());
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::new(ErrorKind::HostUnsupported, what)
                .because(source)
                .with_remedy("load the module: modprobe tun; in a container pass --device /dev/net/tun"),
            Some(libc::EACCES | libc::EPERM) => Error::io(what, source).with_remedy(NEEDS_NET_ADMIN),
            _ => Error::io(what, source),
        }
    })
}

fn not_there(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no persistent tap {name}"))
        .with_remedy(format!("create it with: ip tuntap add {name} mode tap user USER; or check the network namespace"))
}

pub(super) fn not_created(name: Option<&str>, source: io::Error) -> Error {
    let what = match name {
        Some(name) => format!("cannot create tap {name}"),
        None => "cannot create a tap".into(),
    };
    match source.raw_os_error() {
        Some(libc::EBUSY) => Error::new(ErrorKind::AlreadyExists, what).because(source).with_remedy(
            "an interface already has this name: use another name, or open the interface if it is a suitable tap",
        ),
        Some(libc::EPERM) => Error::io(what, source).with_remedy(NEEDS_NET_ADMIN),
        _ => Error::io(what, source),
    }
}

pub(super) fn not_opened(name: &str, source: io::Error) -> Error {
    let what = format!("cannot attach to interface {name}");
    match source.raw_os_error() {
        Some(libc::EBUSY) => Error::new(ErrorKind::Busy, what)
            .because(source)
            .with_remedy("another program or VM is attached to it: use a separate tap for each NIC"),
        Some(libc::EINVAL) => Error::new(ErrorKind::InvalidConfig, what).because(source).with_remedy(format!(
            "it is not a tap, or has several queues; create one with: ip tuntap add {name} mode tap"
        )),
        Some(libc::EPERM) => Error::io(what, source)
            .with_remedy(format!("create it with: ip tuntap add {name} mode tap user USER; or {NEEDS_NET_ADMIN}")),
        _ => Error::io(what, source),
    }
}
