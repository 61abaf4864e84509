//! Tests with real taps, each in a network namespace of its own.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ioctl::{self, IfReq};
use super::tap::{not_created, not_opened, open_device};
use super::*;
use crate::memory::GuestSlice;
use crate::{ErrorKind, Result};

/// Runs `test` on a thread with its own network namespace and `/sys`; prints a message if that is impossible.
pub(crate) fn isolated(name: &str, test: impl FnOnce() + Send + 'static) {
    let name = name.to_owned();
    thread::spawn(move || {
        // SAFETY: affects only this thread, which ends with the test.
        let alone = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) } == 0;
        let tun = Path::new("/dev/net/tun").exists();
        if !alone || !tun {
            let reason = if tun { "needs root" } else { "needs /dev/net/tun" };
            println!("SKIPPED {name}: {reason}");
            return;
        }
        // SAFETY: all arguments are constant, NUL-terminated strings, or null where mount(2) allows it.
        let mounted = unsafe {
            libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
                && libc::mount(c"sysfs".as_ptr(), c"/sys".as_ptr(), c"sysfs".as_ptr(), 0, std::ptr::null()) == 0
        };
        assert!(mounted, "{}", io::Error::last_os_error());
        test();
    })
    .join()
    .unwrap();
}

fn run(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// Opens a tap that was just closed; a concurrent test that spawns a program may keep a copy of its descriptor briefly.
fn reopen(name: &str) -> Result<Tap> {
    loop {
        match Tap::open(name) {
            Err(error) if error.kind() == ErrorKind::Busy => thread::yield_now(),
            other => return other,
        }
    }
}

/// Waits for a frame with the given EtherType; returns it with its header.
fn frame(tap: &Tap, ether_type: [u8; 2]) -> Vec<u8> {
    loop {
        let mut buf = vec![0; 2000];
        match tap.read(&mut buf) {
            Ok(n) if buf[VNET_HEADER_LEN + 12..][..2] == ether_type => {
                buf.truncate(n);
                return buf;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(tap),
            Err(error) => panic!("{error}"),
        }
    }
}

fn wait(tap: &Tap) {
    let mut fds = [PollFd::new(tap, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap(), 1, "no frame came");
}

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[test]
fn frames_go_both_ways() {
    isolated("frames_go_both_ways", || {
        let tap = Tap::create(None).unwrap();
        assert!(tap.name().starts_with("xvtap"), "{}", tap.name());
        assert_eq!(tap.write(&[0; 60]).unwrap_err().raw_os_error(), Some(libc::EIO), "it is down");
        tap.set_address(HOST, 24).unwrap();
        tap.set_up().unwrap();
        tap.set_offloads(Offloads { checksum: true, tso4: true, tso6: true, ..Offloads::default() }).unwrap();
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket.send_to(b"to the guest", (GUEST, 7)).unwrap();

        // Answers the host's ARP request for the guest.
        let request = frame(&tap, [8, 6]);
        let guest_mac = MacAddress::random().octets();
        let mut reply = vec![0; VNET_HEADER_LEN];
        reply.extend_from_slice(&tap.mac().unwrap().octets());
        reply.extend_from_slice(&guest_mac);
        reply.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        reply.extend_from_slice(&guest_mac);
        reply.extend_from_slice(&GUEST.octets());
        reply.extend_from_slice(&request[VNET_HEADER_LEN + 22..][..10]);
        let (header, rest) = reply.split_at_mut(VNET_HEADER_LEN);
        let slices = [GuestSlice::from(header), GuestSlice::from(rest)];
        assert_eq!(tap.write_vectored(&slices).unwrap(), VNET_HEADER_LEN + 42);

        let packet = frame(&tap, [8, 0]);
        assert!(packet.ends_with(b"to the guest"));
        assert_eq!(packet[VNET_HEADER_LEN..][..6], guest_mac);
        // The reply: addresses and ports swapped, no checksum.
        let mut answer = packet.clone();
        answer[..VNET_HEADER_LEN].fill(0);
        let (ethernet, ip) = answer[VNET_HEADER_LEN..].split_at_mut(14);
        ethernet
            .copy_from_slice(&[&packet[VNET_HEADER_LEN + 6..][..6], &packet[VNET_HEADER_LEN..][..6], &[8, 0]].concat());
        ip[12..20].rotate_left(4);
        ip[20..24].rotate_left(2);
        ip[26..28].fill(0);
        tap.write(&answer).unwrap();
        let mut buf = [0; 64];
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let (n, from) = socket.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..n], from), (&b"to the guest"[..], (GUEST, 7).into()));
    });
}

#[test]
fn a_frame_is_scattered_over_slices() {
    isolated("a_frame_is_scattered_over_slices", || {
        let tap = Tap::create(None).unwrap();
        tap.set_address(HOST, 24).unwrap();
        tap.set_up().unwrap();
        UdpSocket::bind((HOST, 0)).unwrap().send_to(b"x", (GUEST, 7)).unwrap();
        let (mut header, mut ethernet, mut rest) = ([0xff; VNET_HEADER_LEN], [0; 14], [0; 1600]);
        loop {
            wait(&tap);
            let slices = [&mut header[..], &mut ethernet[..], &mut rest[..]].map(GuestSlice::from);
            let n = tap.read_vectored(&slices).unwrap();
            assert!(n >= VNET_HEADER_LEN + 14 + 28);
            if ethernet[12..] == [8, 6] {
                break;
            }
        }
        assert_eq!(header[..10], [0; 10]);
        assert_eq!(ethernet[..6], [0xff; 6]);
        assert_eq!(rest[24..28], GUEST.octets());
        let mut byte = [0];
        let many = [GuestSlice::from(&mut byte[..]); 1025];
        assert_eq!(tap.read_vectored(&many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(tap.write_vectored(&many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_tap_is_gone_when_dropped_and_its_name_is_exclusive() {
    isolated("a_tap_is_gone_when_dropped_and_its_name_is_exclusive", || {
        let tap = Tap::create(Some("mine")).unwrap();
        assert_eq!(tap.name(), "mine");
        let error = Tap::create(Some("mine")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().starts_with("cannot create tap mine: "), "{error}");
        assert_eq!(
            error.remedy(),
            Some("an interface already has this name: use another name, or open the interface if it is a suitable tap")
        );
        drop(tap);
        let error = reopen("mine").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "there is no persistent tap mine; \
             create it with: ip tuntap add mine mode tap user USER; or check the network namespace"
        );
    });
}

#[test]
fn a_persistent_tap_is_opened_by_one_at_a_time() {
    isolated("a_persistent_tap_is_opened_by_one_at_a_time", || {
        if !run("ip", &["tuntap", "add", "kept", "mode", "tap"]) {
            println!("SKIPPED a_persistent_tap_is_opened_by_one_at_a_time: needs ip of iproute2");
            return;
        }
        let tap = Tap::open("kept").unwrap();
        let error = Tap::open("kept").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(error.remedy(), Some("another program or VM is attached to it: use a separate tap for each NIC"));
        drop(tap);
        reopen("kept").unwrap();
        let error = Tap::open("lo").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(
            error.remedy(),
            Some("it is not a tap, or has several queues; create one with: ip tuntap add lo mode tap")
        );
    });
}

#[test]
fn a_descriptor_must_be_of_a_tap_for_frames() {
    isolated("a_descriptor_must_be_of_a_tap_for_frames", || {
        let tap = Tap::create(Some("given")).unwrap();
        let other = Tap::from_fd(tap.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.name(), "given");

        let error = Tap::from_fd(std::fs::File::open("/dev/null").unwrap().into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(" is not a tap: "), "{error}");
        assert_eq!(error.remedy(), Some("open /dev/net/tun and attach it with TUNSETIFF first"));

        let bare: OwnedFd = open_device(Path::new("/dev/net/tun")).unwrap().into();
        let mut req = IfReq::new("bare").with_flags((libc::IFF_TAP | libc::IFF_NO_PI) as u16);
        ioctl::interface(&bare, ioctl::TUNSETIFF, &mut req).unwrap();
        let error = Tap::from_fd(bare).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("of interface bare was attached with unsupported flags"), "{error}");
        assert_eq!(error.remedy(), Some("attach it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR"));
    });
}

#[test]
fn the_mtu_is_set_within_its_bounds() {
    isolated("the_mtu_is_set_within_its_bounds", || {
        let tap = Tap::create(Some("big")).unwrap();
        assert_eq!(tap.mtu().unwrap(), 1500);
        tap.set_mtu(9000).unwrap();
        assert_eq!(tap.mtu().unwrap(), 9000);
        for mtu in [10, 100_000, u32::MAX] {
            let error = tap.set_mtu(mtu).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(&format!("interface big cannot have an MTU of {mtu}: ")), "{error}");
            assert_eq!(error.remedy(), Some("use 68 to 65521 bytes; 1500 is usual"));
        }
        let error = tap.set_address(HOST, 33).unwrap_err();
        assert_eq!(error.to_string(), "192.0.2.1/33 is not a network address; use a prefix length of 0 to 32");
    });
}

#[test]
fn offloads_build_on_the_checksum() {
    isolated("offloads_build_on_the_checksum", || {
        let tap = Tap::create(Some("fast")).unwrap();
        tap.set_offloads(Offloads::default()).unwrap();
        tap.set_offloads(Offloads { checksum: true, tso4: true, tso_ecn: true, ..Offloads::default() }).unwrap();
        for wrong in [
            Offloads { tso4: true, ..Offloads::default() },
            Offloads { uso: true, ..Offloads::default() },
            Offloads { checksum: true, tso_ecn: true, ..Offloads::default() },
        ] {
            let error = tap.set_offloads(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.remedy(), Some("tso4, tso6 and uso need checksum, and tso_ecn needs tso4 or tso6"));
        }
    });
}

#[test]
fn a_bridge_takes_a_tap_once() {
    isolated("a_bridge_takes_a_tap_once", || {
        if !["br-a", "br-b"].iter().all(|bridge| run("ip", &["link", "add", bridge, "type", "bridge"])) {
            println!("SKIPPED a_bridge_takes_a_tap_once: needs ip of iproute2 and the module bridge");
            return;
        }
        let tap = Tap::create(Some("port")).unwrap();
        tap.attach_to_bridge("br-a").unwrap();
        assert!(Path::new("/sys/class/net/br-a/brif/port").exists());
        tap.attach_to_bridge("br-a").unwrap();
        let failed = |bridge: &str| -> (ErrorKind, String) {
            let result: Result<()> = tap.attach_to_bridge(bridge);
            let error = result.unwrap_err();
            (error.kind(), error.remedy().unwrap().to_owned())
        };
        assert_eq!(
            failed("br-b"),
            (ErrorKind::Busy, "it is a port of another bridge: ip link set port nomaster".to_owned())
        );
        let (kind, remedy) = failed("no-such");
        assert_eq!(kind, ErrorKind::NotFound);
        assert!(remedy.contains("ip link add no-such type bridge && ip link set no-such up"), "{remedy}");
        let (kind, remedy) = failed("lo");
        assert_eq!(kind, ErrorKind::InvalidConfig);
        assert!(remedy.contains("lo is not a Linux bridge"), "{remedy}");
    });
}

#[test]
fn what_the_system_refuses_comes_with_a_remedy() {
    let error = open_device(Path::new("/no/such/tun")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnsupported);
    assert_eq!(
        error.to_string(),
        "cannot open /no/such/tun: No such file or directory (os error 2); \
         load the module: modprobe tun; in a container pass --device /dev/net/tun"
    );
    let denied = || io::Error::from_raw_os_error(libc::EPERM);
    let error = not_created(None, denied());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        error.to_string(),
        "cannot create a tap: Operation not permitted (os error 1); run as root or give the program CAP_NET_ADMIN \
         (setcap cap_net_admin+ep PROGRAM), or pass a descriptor of an existing tap"
    );
    let error = not_opened("t", denied());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(
        error.to_string().contains("create it with: ip tuntap add t mode tap user USER; or run as root"),
        "{error}"
    );
    assert_eq!(Tap::create(Some("x".repeat(16).as_str())).unwrap_err().kind(), ErrorKind::InvalidConfig);
}
