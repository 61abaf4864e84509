//! A Debian guest that panics, and one that neglects its watchdog; and the devices that it finds for this.

use xvirt_core::config::{CrashAction, Disk, Uuid, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::{CrashReason, Event};

use crate::guest::{Guest, PATIENCE};
use crate::{bench, without_mitigations};

#[test]
fn a_panic_and_a_forgotten_watchdog_restart_it() {
    let Some(bench) = bench() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    disk::overlay(&bench.disk, Some(ImageFormat::Raw), &root).unwrap();
    let mut config = VmConfig::new("debian")
        .boot(without_mitigations())
        .disk(Disk::open(&root).unwrap().serial("root"))
        .on_crash(CrashAction::Restart);
    config.generation_id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let mut guest = Guest::start(config.build(&bench.host).unwrap());
    guest.log_in();
    guest.run("udevadm settle");
    assert_eq!(guest.run("cat /sys/bus/acpi/devices/QEMU0001:00/physical_node/capability"), "3");
    assert_eq!(guest.run("cat /sys/class/watchdog/watchdog0/bootstatus"), "0");

    // This kernel has no driver for the generation ID, but the device and its memory exist.
    guest.run("grep -q VMGENCTR /sys/bus/acpi/devices/QEMUVGID:00/modalias");
    let id = guest.run("dd if=/dev/mem bs=16 skip=$((0xff000 / 16)) count=1 2>/dev/null | od -An -tx1 | tr -d ' '");
    assert_eq!(id, "33221100554477668899aabbccddeeff");

    guest.crash(
        "echo c >/proc/sysrq-trigger",
        &[Event::GuestPanicked { crash_kernel: false }, Event::Crashed(CrashReason::Panic), Event::Restarted],
    );

    guest.run("udevadm settle; rmmod wdat_wdt && modprobe wdat_wdt timeout=5");
    guest.crash("echo 1 >/dev/watchdog", &[Event::Crashed(CrashReason::Watchdog), Event::Restarted]);
    guest.run("udevadm settle");
    // WDIOF_CARDRESET: the watchdog caused the last reset.
    assert_eq!(guest.run("cat /sys/class/watchdog/watchdog0/bootstatus"), "32");

    guest.vm.clean_shutdown(PATIENCE).unwrap();
}
