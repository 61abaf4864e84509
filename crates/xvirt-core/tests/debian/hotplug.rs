//! Disks and network interfaces that are plugged and unplugged under a stock kernel, without any command in the guest.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use xvirt_core::config::{Disk, Nic};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_core::vm::{Event, EventReceiver};

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;
use crate::{HOST, tap};

/// How often a disk and a network interface are plugged and unplugged.
const CYCLES: usize = 2;

const MAC: &str = "02:00:00:00:77:03";
const SIZE: u64 = 32 << 20;

/// Writes and compares files on the data disk until `/run/stop` exists; reports errors in `/run/broken`.
const LOAD: &str = "(n=0; while [ ! -e /run/stop ]; do \
    n=$((n+1)); dd if=/dev/urandom of=/run/new bs=64k count=4 2>/dev/null; cp /run/new /data/file && sync /data/file && \
    dd if=/data/file iflag=direct bs=64k 2>/dev/null | cmp - /run/new || echo $n >>/run/broken; \
    echo $n >/run/rounds; done; touch /run/stopped) >/dev/null 2>&1 & true";

struct Bench {
    guest: Guest,
    events: EventReceiver,
    hot: PathBuf,
    tap: Tap,
}

impl Bench {
    fn plug(&self) -> (usize, usize) {
        let disk = self.guest.vm.plug_disk(Disk::raw(&self.hot).serial("hot")).unwrap();
        let nic = Nic::tap_descriptor(self.tap.as_fd().try_clone_to_owned().unwrap()).mac(MAC.parse().unwrap());
        (disk, self.guest.vm.plug_nic(nic).unwrap())
    }

    fn unplug(&self, (disk, nic): (usize, usize)) {
        self.guest.vm.unplug_disk(disk, PATIENCE).unwrap();
        self.guest.vm.unplug_nic(nic, PATIENCE).unwrap();
        disk::open(&self.hot, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    }

    /// Waits until the guest has detected both.
    fn found(&mut self) {
        self.guest.run("until [ -b /dev/vdc ]; do sleep 0.05; done");
        self.guest.run(&format!("until grep -q {MAC} /sys/class/net/*/address; do sleep 0.05; done"));
    }

    /// Checks that both work.
    fn used(&mut self) {
        self.guest.run("mount /dev/vdc /mnt && date >>/mnt/kept && umount /mnt");
        // Its network manager configures an address.
        self.guest.run(&format!("until ping -c 1 -W 2 {HOST}; do sleep 0.05; done"));
    }

    fn next_event(&self) -> Event {
        self.events.next_timeout(PATIENCE).unwrap().event
    }
}

fn image(debian: &SavedDebian, name: &str) -> PathBuf {
    let path = debian.path(name);
    disk::create(&path, ImageFormat::Raw, SIZE).unwrap();
    path
}

#[test]
fn disks_and_nics_come_and_go_and_disks_grow() {
    let Some(debian) = SavedDebian::copy() else { return };
    let (data, hot) = (image(&debian, "data"), image(&debian, "hot"));
    let guest = Guest::resume(debian.vm());
    // The address of the guest is that of the interface which comes and goes.
    guest.vm.unplug_nic(0, PATIENCE).unwrap();
    assert_eq!(guest.vm.plug_disk(Disk::raw(data)).unwrap(), 1);
    let mut bench = Bench { events: guest.vm.events().unwrap(), guest, hot, tap: tap(HOST) };
    bench.guest.run("until [ -b /dev/vdb ]; do sleep 0.05; done");
    bench.guest.run("mkfs.ext4 -q /dev/vdb && mkdir -p /data && mount /dev/vdb /data");
    bench.guest.run(LOAD);

    grows(&mut bench);
    cycles(&mut bench);
    leaves_by_itself(&mut bench);
    while_it_reboots(&mut bench);
    bench.guest.vm.clean_shutdown(PATIENCE).unwrap();
}

fn grows(bench: &mut Bench) {
    bench.guest.vm.resize_disk(1, 2 * SIZE).unwrap();
    assert_eq!(bench.next_event(), Event::DiskResized { disk: 1, size: 2 * SIZE });
    bench.guest.run(&format!("until [ $(cat /sys/block/vdb/size) = {} ]; do sleep 0.05; done", 2 * SIZE / 512));
    bench.guest.run("resize2fs /dev/vdb");
    let blocks: u64 = bench.guest.run("stat -f -c %b /data").parse().unwrap();
    let size: u64 = bench.guest.run("stat -f -c %S /data").parse().unwrap();
    assert!(blocks * size > SIZE, "{blocks} blocks of {size} bytes");
}

/// With other I/O running all the time, and every second time with I/O to the disk that is unplugged.
fn cycles(bench: &mut Bench) {
    let began = Instant::now();
    for cycle in 0..CYCLES {
        let positions = bench.plug();
        assert_eq!(positions, (2, 0));
        bench.found();
        if cycle == 0 {
            bench.guest.run("mkfs.ext4 -q /dev/vdc");
        }
        bench.used();
        let reading = cycle % 2 == 1;
        if reading {
            bench.guest.run("(while dd if=/dev/vdc of=/dev/null bs=64k; do :; done) >/dev/null 2>&1 & true");
        }
        bench.unplug(positions);
        // While a process has the old disk open, the new one gets another name.
        bench.guest.run(if reading { "wait $!; ! [ -e /dev/vdc ]" } else { "! [ -e /dev/vdc ]" });
        let events =
            std::iter::from_fn(|| bench.events.try_next().unwrap()).map(|record| record.event).collect::<Vec<_>>();
        let expected = [
            Event::DiskPlugged { disk: 2 },
            Event::NicPlugged { nic: 0 },
            Event::DiskUnplugged { disk: 2 },
            Event::NicUnplugged { nic: 0 },
        ];
        assert_eq!(events, expected);
    }
    println!("{CYCLES} cycles: {:.1?}", began.elapsed());
    let positions = bench.plug();
    bench.found();
    bench.guest.run("mount /dev/vdc /mnt");
    assert_eq!(bench.guest.run("wc -l </mnt/kept"), CYCLES.to_string());
    bench.guest.run("umount /mnt; fsck.ext4 -fn /dev/vdc");
    bench.unplug(positions);
    bench.guest.run("touch /run/stop; until [ -e /run/stopped ]; do sleep 0.05; done");
    bench.guest.run("! cat /run/broken");
    let rounds: u64 = bench.guest.run("cat /run/rounds").parse().unwrap();
    assert!(rounds > 1, "{rounds} rounds of other I/O");
    while bench.events.try_next().unwrap().is_some() {}
}

/// Ejects a disk as an administrator of the guest does.
fn leaves_by_itself(bench: &mut Bench) {
    let (disk, nic) = bench.plug();
    bench.found();
    bench.guest.run("echo 0 >/sys/bus/pci/slots/3/power");
    let events = [(); 3].map(|()| bench.next_event());
    assert_eq!(events[2], Event::DiskUnplugged { disk });
    disk::open(&bench.hot, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    bench.guest.vm.unplug_nic(nic, PATIENCE).unwrap();
}

/// A disk plugged in before the guest handles events is found by its scan; a reset completes the removals that were
/// requested before it or soon after.
fn while_it_reboots(bench: &mut Bench) {
    bench.guest.vm.console().write_all(b"systemctl reboot\n").unwrap();
    let positions = bench.plug();
    bench.guest.wait_for("reboot: Restarting system");
    bench.guest.log_in();
    bench.found();
    bench.used();

    bench.guest.vm.console().write_all(b"systemctl reboot\n").unwrap();
    bench.guest.vm.unplug_disk(positions.0, PATIENCE).unwrap();
    bench.guest.wait_for("reboot: Restarting system");
    // Nothing in the guest handles events yet.
    bench.guest.vm.unplug_nic(positions.1, PATIENCE).unwrap();
    bench.guest.log_in();
    bench.guest.run(&format!("! [ -e /dev/vdc ] && ! grep {MAC} /sys/class/net/*/address"));
}
