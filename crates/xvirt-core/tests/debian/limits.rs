//! Limits of a VM that Debian runs into, measured by its statistics.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, CpuLimit, Disk, Nic, NicLimit, RateLimit, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_core::vm::{DiskStatistics, FrameStatistics, NicStatistics, Vm};

use crate::guest::{Guest, PATIENCE};
use crate::{GUEST, HOST, needs};

/// Long enough for a rate to be told to a few percent.
const MEASURED: Duration = Duration::from_secs(10);

/// How much `count` rises in a second, once it has risen by `burst`.
fn rate(burst: u64, count: impl Fn() -> u64) -> f64 {
    let (first, deadline) = (count(), Instant::now() + PATIENCE);
    while count() <= first + burst {
        assert!(Instant::now() < deadline, "the guest does nothing");
        thread::sleep(Duration::from_millis(10));
    }
    let (before, began) = (count(), Instant::now());
    // What is measured is how time passes.
    thread::sleep(MEASURED);
    (count() - before) as f64 / began.elapsed().as_secs_f64()
}

/// Asserts that what is measured is the limit to within 5 %.
fn keeps(what: &str, limit: f64, measured: f64) {
    println!("{what}: limit {limit}, measured {measured:.2}");
    assert!((0.95..=1.05).contains(&(measured / limit)), "{what}: {measured} with a limit of {limit}");
}

fn operations(rate: u64) -> RateLimit {
    RateLimit::none().operations_per_second(rate)
}

fn kibibytes(rate: u64) -> RateLimit {
    RateLimit::none().bytes_per_second(ByteSize::new(rate << 10))
}

fn debian(name: &str) -> Option<(Guest, Tap, tempfile::TempDir)> {
    let (host, [root]) = needs(["XVIRT_DEBIAN_DISK"])?;
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    disk::overlay(&root, Some(ImageFormat::Raw), path("root")).unwrap();
    disk::create(path("data"), ImageFormat::Raw, 64 << 20).unwrap();
    let tap = Tap::create(None).unwrap();
    tap.set_address(HOST, 24).unwrap();
    tap.set_up().unwrap();
    let config = VmConfig::new(name)
        .memory(ByteSize::mib(512))
        .boot(Boot::from_disk().command_line("quiet"))
        .disk(Disk::open(path("root")).unwrap())
        .disk(Disk::open(path("data")).unwrap())
        .nic(Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap()));
    let mut guest = Guest::start(config.build(&host).unwrap());
    guest.log_in();
    Some((guest, tap, folder))
}

/// Runs a command over and over in the guest while `measure` does.
fn while_guest_repeats(guest: &mut Guest, command: &str, measure: impl FnOnce(&Vm)) {
    guest.run(&format!("{{ (while :; do {command}; done) >/dev/null 2>&1 & }}"));
    measure(&guest.vm);
    guest.run("kill $! && ! wait $!");
}

#[test]
fn disks_keep_to_their_limits() {
    let Some((mut guest, _tap, _folder)) = debian("debian") else { return };
    let count = |vm: &Vm, what: fn(&DiskStatistics) -> u64| what(&vm.statistics().disks[&1]);
    // Long enough not to end meanwhile; a limit lets a burst of a tenth of a second through at first.
    while_guest_repeats(&mut guest, "exec dd if=/dev/vdb of=/dev/null bs=4k iflag=direct", |vm| {
        for limit in [40, 80] {
            vm.set_disk_limit(1, operations(limit)).unwrap();
            let measured = rate(limit / 5, || count(vm, |disk| disk.reads.operations));
            keeps("reads per second", limit as f64, measured);
        }
    });
    while_guest_repeats(&mut guest, "dd if=/dev/zero of=/dev/vdb bs=16k oflag=direct", |vm| {
        for limit in [512, 1024] {
            vm.set_disk_limit(1, kibibytes(limit)).unwrap();
            let limit = (limit << 10) as f64;
            let measured = rate(limit as u64 / 5, || count(vm, |disk| disk.writes.bytes));
            keeps("bytes written per second", limit, measured);
        }
        vm.set_disk_limit(1, RateLimit::none()).unwrap();
    });
    guest.vm.clean_shutdown(PATIENCE).unwrap();
}

#[test]
fn nics_keep_to_their_limits() {
    let Some((mut guest, _tap, _folder)) = debian("debian") else { return };
    guest.run(&format!("ping -c 1 -W 20 {HOST}"));
    let count = |vm: &Vm, direction: fn(&NicStatistics) -> &FrameStatistics, what: fn(&FrameStatistics) -> u64| {
        what(direction(&vm.statistics().nics[&0]))
    };
    let sink = UdpSocket::bind((HOST, 9)).unwrap();
    let datagram = format!("echo {} >/dev/udp/{HOST}/9", "x".repeat(999));
    while_guest_repeats(&mut guest, &datagram, |vm| {
        for limit in [40, 80] {
            vm.set_nic_limit(0, NicLimit::none().transmit(operations(limit))).unwrap();
            let measured = rate(limit / 5, || count(vm, |nic| &nic.sent, |frames| frames.frames));
            keeps("frames sent per second", limit as f64, measured);
        }
        vm.set_nic_limit(0, NicLimit::none().transmit(kibibytes(64))).unwrap();
        let measured = rate(64 << 8, || count(vm, |nic| &nic.sent, |frames| frames.bytes));
        keeps("bytes sent per second", 65_536.0, measured);
        vm.set_nic_limit(0, NicLimit::none()).unwrap();
    });
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                // More than any limit, and no more than leaves the guest some of a slow processor.
                sink.send_to(&[0; 1000], (GUEST, 9)).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        let vm = &guest.vm;
        for limit in [40, 80] {
            vm.set_nic_limit(0, NicLimit::none().receive(operations(limit))).unwrap();
            let measured = rate(limit / 5, || count(vm, |nic| &nic.received, |frames| frames.frames));
            keeps("frames received per second", limit as f64, measured);
        }
        vm.set_nic_limit(0, NicLimit::none().receive(kibibytes(64))).unwrap();
        let measured = rate(64 << 8, || count(vm, |nic| &nic.received, |frames| frames.bytes));
        keeps("bytes received per second", 65_536.0, measured);
        enough.store(true, Ordering::Relaxed);
    });
    guest.vm.set_nic_limit(0, NicLimit::none()).unwrap();
    guest.vm.clean_shutdown(PATIENCE).unwrap();
}

#[test]
fn vcpus_keep_to_their_cap() {
    let Some((mut guest, _tap, _folder)) = debian("debian") else { return };
    while_guest_repeats(&mut guest, ":", |vm| {
        for cap in [20, 40] {
            vm.set_cpu_limit(CpuLimit::none().cap(cap)).unwrap();
            assert_eq!(vm.cpu_limit().unwrap().cap, cap);
            let spent = || vm.statistics().vcpus.iter().map(|vcpu| vcpu.cpu_time.as_micros() as u64).sum();
            let measured = rate(200_000, spent) / 10_000.0;
            keeps("percent of a processor", f64::from(cap), measured);
        }
        vm.set_cpu_limit(CpuLimit::none()).unwrap();
    });
    guest.vm.clean_shutdown(PATIENCE).unwrap();
}
