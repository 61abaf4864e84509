//! Queries and configures network interfaces by name.
//!
//! All functions work in the network namespace of the calling thread.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ioctl::{self, IfOp, IfReq};
use super::mac::MacAddress;
use crate::{Error, ErrorKind, Result};

/// The remedy for a missing privilege to configure interfaces.
pub(super) const NEEDS_NET_ADMIN: &str = "run as root or give the program CAP_NET_ADMIN \
     (setcap cap_net_admin+ep PROGRAM), or pass a descriptor of an existing tap";

/// Whether `name` can be the name of an interface, by the kernel's own rule.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let remedy = "use 1 to 15 letters, digits, '-', '_' or '.'";
    let wrong = |why: &str| {
        Err(Error::new(ErrorKind::InvalidConfig, format!("interface name {name:?} {why}")).with_remedy(remedy))
    };
    if name.is_empty() {
        return wrong("is empty");
    }
    if name.len() >= libc::IFNAMSIZ {
        return wrong(&format!("has {} bytes", name.len()));
    }
    if matches!(name, "." | "..") || !name.bytes().all(|c| c.is_ascii_graphic() && !b"/:%".contains(&c)) {
        return wrong("has characters an interface name cannot have");
    }
    Ok(())
}

/// A socket to ask about interfaces with.
fn control() -> Result<OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::io("cannot open a socket to configure network interfaces", errno.into()))
}

fn request(op: IfOp, req: &mut IfReq) -> Result<io::Result<()>> {
    Ok(ioctl::interface(control()?, op, req))
}

fn ask(name: &str, op: IfOp, doing: &str) -> Result<IfReq> {
    let mut req = IfReq::new(name);
    request(op, &mut req)?.map_err(|source| failed(name, doing, source))?;
    Ok(req)
}

fn tell(name: &str, op: IfOp, mut req: IfReq, doing: &str) -> Result<()> {
    request(op, &mut req)?.map_err(|source| failed(name, doing, source))
}

fn failed(name: &str, doing: &str, source: io::Error) -> Error {
    let what = format!("cannot {doing} of interface {name}");
    match source.raw_os_error() {
        Some(libc::ENODEV) => Error::new(ErrorKind::NotFound, what)
            .because(source)
            .with_remedy("the interface is gone, or in another network namespace"),
        Some(libc::EPERM) => Error::io(what, source).with_remedy(NEEDS_NET_ADMIN),
        _ => Error::io(what, source),
    }
}

pub(super) fn exists(name: &str) -> Result<bool> {
    Ok(request(ioctl::SIOCGIFINDEX, &mut IfReq::new(name))?.is_ok())
}

pub(super) fn mac(name: &str) -> Result<MacAddress> {
    Ok(MacAddress::new(ask(name, ioctl::SIOCGIFHWADDR, "read the MAC address")?.hardware_address()))
}

pub(super) fn mtu(name: &str) -> Result<u32> {
    Ok(ask(name, ioctl::SIOCGIFMTU, "read the MTU")?.number().unsigned_abs())
}

pub(super) fn set_mtu(name: &str, mtu: u32) -> Result<()> {
    let number = i32::try_from(mtu).unwrap_or(i32::MAX);
    request(ioctl::SIOCSIFMTU, &mut IfReq::new(name).with_number(number))?.map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EINVAL) => {
                Error::new(ErrorKind::InvalidConfig, format!("interface {name} cannot have an MTU of {mtu}"))
                    .because(source)
                    .with_remedy("use 68 to 65521 bytes; 1500 is usual")
            }
            _ => failed(name, "set the MTU", source),
        }
    })
}

pub(super) fn set_up(name: &str) -> Result<()> {
    let req = ask(name, ioctl::SIOCGIFFLAGS, "read the state")?;
    let flags = req.flags() | libc::IFF_UP as u16;
    tell(name, ioctl::SIOCSIFFLAGS, req.with_flags(flags), "set the state")
}

pub(super) fn set_address(name: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
    let Some(mask) = netmask(prefix) else {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{address}/{prefix} is not a network address"))
            .with_remedy("use a prefix length of 0 to 32"));
    };
    tell(name, ioctl::SIOCSIFADDR, IfReq::new(name).with_ipv4(address), "set the address")?;
    tell(name, ioctl::SIOCSIFNETMASK, IfReq::new(name).with_ipv4(mask), "set the netmask")
}

fn netmask(prefix: u8) -> Option<Ipv4Addr> {
    let hosts = 32u32.checked_sub(prefix.into())?;
    Some(Ipv4Addr::from(u32::MAX.checked_shl(hosts).unwrap_or(0)))
}

pub(super) fn attach_to_bridge(name: &str, bridge: &str) -> Result<()> {
    check_name(bridge)?;
    let index = ask(name, ioctl::SIOCGIFINDEX, "read the index")?.number();
    let Err(source) = request(ioctl::SIOCBRADDIF, &mut IfReq::new(bridge).with_number(index))? else { return Ok(()) };
    let what = format!("cannot attach interface {name} to bridge {bridge}");
    Err(match source.raw_os_error() {
        Some(libc::EBUSY) if Path::new("/sys/class/net").join(bridge).join("brif").join(name).exists() => return Ok(()),
        Some(libc::EBUSY) => Error::new(ErrorKind::Busy, what)
            .because(source)
            .with_remedy(format!("it is a port of another bridge: ip link set {name} nomaster")),
        Some(libc::ENODEV) => Error::new(ErrorKind::NotFound, what).because(source).with_remedy(format!(
            "create the bridge (ip link add {bridge} type bridge && ip link set {bridge} up), \
             or check its name and network namespace"
        )),
        Some(libc::EOPNOTSUPP | libc::ENOTTY) => {
            Error::new(ErrorKind::InvalidConfig, what).because(source).with_remedy(format!(
                "{bridge} is not a Linux bridge; for Open vSwitch: ovs-vsctl add-port {bridge} {name}"
            ))
        }
        Some(libc::EPERM) => Error::io(what, source).with_remedy(NEEDS_NET_ADMIN),
        _ => Error::io(what, source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_kernels_rule() {
        for name in ["eth0", "xvtap-1", "a.100", "exactly15bytes_"] {
            check_name(name).unwrap();
        }
        for (name, why) in [
            ("", "is empty"),
            ("sixteen_bytes_xx", "has 16 bytes"),
            ("a b", "has characters an interface name cannot have"),
            ("a/b", "has characters an interface name cannot have"),
            ("tap%d", "has characters an interface name cannot have"),
            ("..", "has characters an interface name cannot have"),
        ] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            let remedy = "use 1 to 15 letters, digits, '-', '_' or '.'";
            assert_eq!(error.to_string(), format!("interface name {name:?} {why}; {remedy}"));
        }
    }

    #[test]
    fn netmasks() {
        assert_eq!(netmask(24), Some(Ipv4Addr::new(255, 255, 255, 0)));
        assert_eq!(netmask(0), Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(netmask(32), Some(Ipv4Addr::BROADCAST));
        assert_eq!(netmask(33), None);
    }

    #[test]
    fn failures_of_the_system_name_the_remedy() {
        let error = failed("xvtap0", "set the state", io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.remedy(), Some(NEEDS_NET_ADMIN));
        let error = failed("xvtap0", "set the state", io::Error::from_raw_os_error(libc::ENODEV));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "cannot set the state of interface xvtap0: No such device (os error 19); \
             the interface is gone, or in another network namespace"
        );
    }
}
