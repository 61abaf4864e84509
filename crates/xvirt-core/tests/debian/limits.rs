//! Limits of a VM that runs Debian, measured by its statistics.

use std::net::UdpSocket;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::config::{ByteSize, CpuLimit, Disk, NicLimit, RateLimit};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::{DiskStatistics, FrameStatistics, Vm};

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;
use crate::{GUEST, HOST};

/// Long enough to measure a rate to a few percent.
const MEASURED: Duration = Duration::from_secs(6);

/// Asserts that what is counted rises by the limit per second, within 5 %. It never rises by more than that and a burst,
/// which is what a guest may catch up if it was delayed before. On a host that is busy with something else for longer
/// than the burst, it rises by less, or catches up at a bad moment, so that is measured again.
fn keeps(what: &str, limit: u64, burst: u64, count: impl Fn() -> u64) {
    for _ in 0..5 {
        let (counted, elapsed) = counted(burst, &count);
        let ratio = counted as f64 / (limit as f64 * elapsed);
        println!("{what}: limit {limit}, measured {:.2}", limit as f64 * ratio);
        let most = limit as f64 * elapsed * 1.05 + burst as f64;
        assert!(counted as f64 <= most, "{what}: {counted} in {elapsed} s with a limit of {limit}");
        if (0.95..=1.05).contains(&ratio) {
            return;
        }
    }
    panic!("{what}: not within 5 % of the limit of {limit} five times");
}

/// How much `count` rises in so many seconds, after it has used up its burst.
fn counted(burst: u64, count: impl Fn() -> u64) -> (u64, f64) {
    let (first, deadline) = (count(), Instant::now() + PATIENCE);
    while count() <= first + 2 * burst {
        assert!(Instant::now() < deadline, "the guest does nothing");
        thread::sleep(Duration::from_millis(10));
    }
    let (before, began) = (count(), Instant::now());
    // The elapsed time is part of the measurement.
    thread::sleep(MEASURED);
    (count() - before, began.elapsed().as_secs_f64())
}

/// With a burst of half a second, so that a busy host may delay the guest that long without effect.
fn operations(rate: u64) -> RateLimit {
    RateLimit::none().operations_per_second(rate).operations_burst(rate / 2)
}

/// As above.
fn kibibytes(rate: u64) -> RateLimit {
    RateLimit::none().bytes_per_second(ByteSize::new(rate << 10)).bytes_burst(ByteSize::new(rate << 9))
}

/// Runs a command repeatedly in the guest during `measure`. It should replace the shell with `exec`, because the shell
/// is killed; it must run longer than the measurement.
fn while_guest_repeats(guest: &mut Guest, command: &str, measure: impl FnOnce(&Vm)) {
    guest.run(&format!("{{ (while :; do {command}; done) >/dev/null 2>&1 & }}"));
    measure(&guest.vm);
    guest.run("kill $! && ! wait $!");
}

#[test]
fn disks_nics_and_vcpus_keep_to_their_limits() {
    let Some(debian) = SavedDebian::copy() else { return };
    let mut guest = Guest::resume(debian.vm());
    let data = debian.path("data");
    disk::create(&data, ImageFormat::Raw, 64 << 20).unwrap();
    assert_eq!(guest.vm.plug_disk(Disk::raw(data)).unwrap(), 1);
    guest.run("until [ -b /dev/vdb ]; do sleep 0.05; done");
    a_disk(&mut guest);
    frames_sent(&mut guest);
    frames_received(&guest.vm);
    vcpus(&mut guest);
    guest.vm.clean_shutdown(PATIENCE).unwrap();
}

fn a_disk(guest: &mut Guest) {
    let count = |vm: &Vm, what: fn(&DiskStatistics) -> u64| what(&vm.statistics().disks[&1]);
    while_guest_repeats(guest, "exec dd if=/dev/vdb of=/dev/null bs=4k iflag=direct", |vm| {
        for limit in [40, 80] {
            vm.set_disk_limit(1, operations(limit)).unwrap();
            keeps("reads per second", limit, limit / 2, || count(vm, |disk| disk.reads.operations));
        }
    });
    while_guest_repeats(guest, "exec dd if=/dev/zero of=/dev/vdb bs=16k oflag=direct", |vm| {
        vm.set_disk_limit(1, kibibytes(512)).unwrap();
        keeps("bytes written per second", 512 << 10, 256 << 10, || count(vm, |disk| disk.writes.bytes));
        vm.set_disk_limit(1, RateLimit::none()).unwrap();
    });
}

fn frames_sent(guest: &mut Guest) {
    guest.run(&format!("ping -c 1 -W 20 {HOST}"));
    let _sink = UdpSocket::bind((HOST, 9)).unwrap();
    let count = |vm: &Vm, what: fn(&FrameStatistics) -> u64| what(&vm.statistics().nics[&0].sent);
    while_guest_repeats(guest, &format!("echo {} >/dev/udp/{HOST}/9", "x".repeat(999)), |vm| {
        for limit in [40, 80] {
            vm.set_nic_limit(0, NicLimit::none().transmit(operations(limit))).unwrap();
            keeps("frames sent per second", limit, limit / 2, || count(vm, |sent| sent.frames));
        }
        vm.set_nic_limit(0, NicLimit::none().transmit(kibibytes(64))).unwrap();
        keeps("bytes sent per second", 64 << 10, 32 << 10, || count(vm, |sent| sent.bytes));
        vm.set_nic_limit(0, NicLimit::none()).unwrap();
    });
}

fn frames_received(vm: &Vm) {
    let count = |what: fn(&FrameStatistics) -> u64| what(&vm.statistics().nics[&0].received);
    thread::scope(|scope| {
        // Dropped after the measurement, or on failure.
        let (_going_on, end) = mpsc::channel::<()>();
        scope.spawn(move || {
            let source = UdpSocket::bind((HOST, 0)).unwrap();
            // More than any limit, and little enough to leave the guest some time of a slow processor.
            while end.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                source.send_to(&[0; 1000], (GUEST, 9)).unwrap();
            }
        });
        for limit in [40, 80] {
            vm.set_nic_limit(0, NicLimit::none().receive(operations(limit))).unwrap();
            keeps("frames received per second", limit, limit / 2, || count(|received| received.frames));
        }
        vm.set_nic_limit(0, NicLimit::none().receive(kibibytes(64))).unwrap();
        keeps("bytes received per second", 64 << 10, 32 << 10, || count(|received| received.bytes));
    });
    vm.set_nic_limit(0, NicLimit::none()).unwrap();
}

fn vcpus(guest: &mut Guest) {
    while_guest_repeats(guest, ":", |vm| {
        for cap in [20, 40] {
            vm.set_cpu_limit(CpuLimit::none().cap(cap)).unwrap();
            assert_eq!(vm.cpu_limit().unwrap().cap, cap);
            let spent = || vm.statistics().vcpus.iter().map(|vcpu| vcpu.cpu_time.as_micros() as u64).sum();
            // In microseconds; the kernel gives a group its share of each tenth of a second at once.
            let limit = u64::from(cap) * 10_000;
            keeps("microseconds of a processor per second", limit, limit / 10, spent);
        }
        vm.set_cpu_limit(CpuLimit::none()).unwrap();
    });
}
