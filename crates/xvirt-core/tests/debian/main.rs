//! A stock Debian under xvirt: booted from its own disk, from a bzImage, and from a vmlinux by PVH.
//!
//! Needs a KVM that runs stock kernels, and a disk and kernels made by `scripts/debian-disk`, named in
//! `XVIRT_DEBIAN_DISK` and `XVIRT_DEBIAN_KERNELS`; the one that `--cloud-init` makes, in `XVIRT_DEBIAN_CLOUD_DISK`; and
//! an empty folder for a saved Debian, in `XVIRT_DEBIAN_SAVED`. `scripts/test` sets all that up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod busy;
mod crash;
#[path = "../demo/echo.rs"]
mod echo;
mod guest;
mod hot;
mod hotplug;
mod identity;
mod io;
mod limits;
mod local_hand_over;
mod memory;
mod passt;
mod saved;
mod stored;
mod suspend;
#[cfg(feature = "tls")]
mod two_hosts;
mod vsock;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use guest::{Guest, PATIENCE, Reboot};
use xvirt_core::boot::{BootMenu, EntryChoice};
use xvirt_core::config::{Boot, ByteSize, Disk, EntryProtocol, Nic, VmConfig};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::{MacAddress, Tap};
use xvirt_core::vm::PowerState;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const COMMAND_LINE: &str = "root=/dev/vda1 ro console=ttyS0 quiet mitigations=off";

/// The requirements of these tests.
struct Bench {
    host: Host,
    disk: PathBuf,
    kernels: PathBuf,
}

/// The host and the files that these variables name; `None` if the test is skipped, after printing the reason.
fn needs<const N: usize>(variables: [&str; N]) -> Option<(Host, [PathBuf; N])> {
    let skip = |why: String| {
        println!("SKIPPED {}: {why}", std::thread::current().name().unwrap_or("?"));
        None
    };
    if let Some(missing) = variables.iter().find(|name| std::env::var_os(name).is_none()) {
        return skip(format!("{missing} is not set; run scripts/test"));
    }
    let host = Host::probe().unwrap();
    match host.require_kvm() {
        Ok(()) => Some((host, variables.map(|name| std::env::var_os(name).unwrap().into()))),
        Err(error) => skip(error.to_string()),
    }
}

fn bench() -> Option<Bench> {
    let (host, [disk, kernels]) = needs(["XVIRT_DEBIAN_DISK", "XVIRT_DEBIAN_KERNELS"])?;
    Some(Bench { host, disk, kernels })
}

/// Boots Debian with a root disk, a data disk, a read-only disk and two NICs, checks them all, reboots it, and presses
/// the power button. Without a `reboot` it boots once.
fn debian_works(boot: impl Fn(&Bench) -> Boot, vcpus: u32, reboot: Option<Reboot>) {
    let Some(bench) = bench() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    disk::overlay(&bench.disk, Some(ImageFormat::Raw), path("root")).unwrap();
    disk::create(path("data"), ImageFormat::Raw, 64 << 20).unwrap();
    disk::create(path("fixed"), ImageFormat::Raw, 32 << 20).unwrap();
    let tap = tap(HOST);
    let mac: MacAddress = "02:00:00:00:77:02".parse().unwrap();
    let config = VmConfig::new("debian")
        .vcpus(vcpus)
        .memory(ByteSize::mib(512))
        .boot(boot(&bench))
        .disk(Disk::open(path("root")).unwrap().serial("root"))
        .disk(Disk::open(path("data")).unwrap().serial("data"))
        .disk(Disk::raw(path("fixed")).read_only())
        .nic(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap()).mac(mac))
        .nic(Nic::new_tap());

    let mut guest = Guest::start(config.build(&bench.host).unwrap());
    guest.log_in();
    assert_eq!(guest.run("nproc"), vcpus.to_string());
    assert_eq!(guest.run("cat /sys/block/vd*/size | tr '\\n' ' '").split_whitespace().count(), 3);
    assert_eq!(guest.run("cat /sys/block/vda/serial /sys/block/vdb/serial"), "rootdata");
    assert_eq!(guest.run("cat /sys/block/vdb/ro /sys/block/vdc/ro | xargs"), "0 1");
    assert_eq!(guest.run("cat /sys/class/net/e*/address | grep -c ."), "2");
    assert_eq!(guest.run("grep -l 02:00:00:00:77:02 /sys/class/net/*/address | wc -l"), "1");
    guest.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept > /mnt/file && umount /mnt");
    guest.run(&format!("ping -c 2 -W 20 {HOST}"));
    let ping = Command::new("ping").args(["-c", "2", "-W", "20", &GUEST.to_string()]).output().unwrap();
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));

    if let Some(reboot) = reboot {
        guest.reboot(reboot);
    }
    guest.run("mount /dev/vdb /mnt");
    assert_eq!(guest.run("cat /mnt/file"), "kept");

    guest.vm.clean_shutdown(PATIENCE).unwrap();
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
}

/// A tap that is up and has this address on the host.
fn tap(address: Ipv4Addr) -> Tap {
    let tap = Tap::create(None).unwrap();
    tap.set_address(address, 24).unwrap();
    tap.set_up().unwrap();
    tap
}

fn from_disk(_: &Bench) -> Boot {
    Boot::from_disk().command_line("quiet")
}

/// Boots the disk unchanged, except that the kernel does not mitigate CPU vulnerabilities, which saves a fifth of the
/// time on an emulated CPU.
fn without_mitigations() -> Boot {
    Boot::from_disk().command_line("quiet mitigations=off")
}

fn bzimage(bench: &Bench) -> Boot {
    Boot::kernel(bench.kernels.join("vmlinuz")).initrd(bench.kernels.join("initrd.img")).command_line(COMMAND_LINE)
}

fn pvh(bench: &Bench) -> Boot {
    Boot::kernel(bench.kernels.join("vmlinux"))
        .initrd(bench.kernels.join("initrd.img"))
        .command_line(COMMAND_LINE)
        .protocol(EntryProtocol::Pvh)
}

#[test]
fn from_its_own_disk_with_one_vcpu() {
    debian_works(from_disk, 1, Some(Reboot::Hard));
}

#[test]
fn from_its_own_disk_with_four_vcpus() {
    debian_works(|_| without_mitigations(), 4, Some(Reboot::Guest));
}

#[test]
fn from_a_bzimage_with_one_vcpu() {
    debian_works(bzimage, 1, Some(Reboot::Clean));
}

#[test]
fn from_a_bzimage_with_four_vcpus() {
    debian_works(bzimage, 4, None);
}

#[test]
fn from_a_vmlinux_by_pvh_with_one_vcpu() {
    debian_works(pvh, 1, None);
}

#[test]
fn from_a_vmlinux_by_pvh_with_four_vcpus() {
    debian_works(pvh, 4, None);
}

#[test]
fn its_boot_menu_is_listed() {
    let Some(bench) = bench() else { return };
    let disk = disk::open(&bench.disk, Some(ImageFormat::Raw), Access::ReadOnly).unwrap();
    let menu = BootMenu::read(&*disk).unwrap();
    let default = menu.entry(&EntryChoice::Default).unwrap();
    assert!(default.title.starts_with("Debian GNU/Linux"), "{default:?}");
    let files = menu.load(default).unwrap();
    assert!(files.command_line.contains("console=ttyS0"), "{files:?}");
    assert_eq!(files.kernel, std::fs::read(bench.kernels.join("vmlinuz")).unwrap());
    assert_eq!(files.initrd.unwrap(), std::fs::read(bench.kernels.join("initrd.img")).unwrap());
}
