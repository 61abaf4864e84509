//! A Debian guest that panics, and one that neglects its watchdog; and the devices that it finds for this.

use xvirt_core::config::{CrashAction, Nic};
use xvirt_core::vm::{CrashReason, Event};

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;

#[test]
fn a_panic_and_a_forgotten_watchdog_restart_it() {
    let Some(debian) = SavedDebian::copy() else { return };
    let config = debian.config(Nic::new_tap()).on_crash(CrashAction::Restart);
    let mut guest = Guest::resume(debian.build(config));
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
