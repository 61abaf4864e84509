//! The virtio console of a Debian guest and the port beside it, by Linux's driver.

use xvirt_core::config::{ByteSize, Disk, VmConfig};
use xvirt_core::disk::{self, ImageFormat};

use crate::guest::{Guest, PATIENCE, Reboot};
use crate::{bench, without_mitigations};

#[test]
fn linux_finds_the_console_and_the_port_of_the_guest_agent() {
    let Some(bench) = bench() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    disk::overlay(&bench.disk, Some(ImageFormat::Raw), &root).unwrap();
    let config = VmConfig::new("debian")
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::open(&root).unwrap().serial("root"));
    let mut guest = Guest::start(config.build(&bench.host).unwrap());
    let mut console = guest.vm.virtio_console().reader();
    guest.log_in();
    for boot in 0..2 {
        assert_eq!(guest.run("cat /sys/class/virtio-ports/vport*/name"), "org.qemu.guest_agent.0");
        guest.run("test -c /dev/virtio-ports/org.qemu.guest_agent.0");
        // A shell runs there too.
        console.wait_for("root@", PATIENCE).unwrap();
        guest.vm.virtio_console().write_all(format!("echo 'this is'-{boot}; tty\n").as_bytes()).unwrap();
        console.wait_for(&format!("this is-{boot}"), PATIENCE).unwrap();
        console.wait_for("/dev/hvc0", PATIENCE).unwrap();
        // Its next prompt is not that of the next boot.
        console.wait_for("root@", PATIENCE).unwrap();
        if boot == 0 {
            guest.reboot(Reboot::Hard);
        }
    }
}
