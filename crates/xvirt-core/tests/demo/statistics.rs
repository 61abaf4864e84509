//! Statistics of a VM, where the exact values are known.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use xvirt_core::config::{Disk, Nic};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::net::Tap;
use xvirt_core::vm::{OperationStatistics, Statistics};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const BLOCK: u64 = 4096;

fn blocks(operation: &OperationStatistics, operations: u64) {
    assert_eq!((operation.operations, operation.bytes, operation.errors), (operations, operations * BLOCK, 0));
    assert_eq!(operation.latency.total(), operations);
    let (median, longest) = (operation.latency.percentile(50.0).unwrap(), operation.latency.percentile(100.0).unwrap());
    assert!(median > Duration::ZERO && median <= longest && longest < PATIENCE, "{median:?} {longest:?}");
}

#[test]
fn requests_are_counted_one_by_one() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (path, fixed) = (folder.path().join("a.raw"), folder.path().join("b.raw"));
    disk::create(&path, ImageFormat::Raw, 64 << 20).unwrap();
    disk::create(&fixed, ImageFormat::Raw, 64 << 20).unwrap();
    // One block, so that there is none between the first two, which would be discarded and filled with zeroes.
    let line = CommandLine::new([Mode::Blk]).blocks(1);
    let config = config(&line).vcpus(2).disk(Disk::raw(&path)).disk(Disk::raw(&fixed).read_only());
    let built = config.clone().build(&host).unwrap();
    assert_eq!(built.statistics(), Statistics::default());
    drop(built);
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect(demo::DONE);
    let now = guest.vm.statistics();

    assert!(now.uptime > Duration::ZERO && now.uptime < PATIENCE);
    let [writable, read_only] = [0, 1].map(|position| &now.disks[&position]);
    blocks(&writable.writes, 1);
    blocks(&writable.reads, 1);
    assert_eq!((writable.flushes.operations, writable.flushes.bytes, writable.flushes.latency.total()), (1, 0, 1));
    assert_eq!((writable.discards.operations, writable.discards.latency.total()), (0, 0));
    blocks(&read_only.reads, 1);
    assert_eq!((read_only.writes.operations, read_only.writes.errors), (0, 0));
    assert!(writable.cpu_time > Duration::ZERO);

    assert_eq!(now.vcpus.len(), 2);
    // Every character on COM1 is a write, after a read of the line status.
    let printed = guest.vm.console().reader().wait_for(demo::DONE, PATIENCE).unwrap().len() as u64;
    let exits = &now.vcpus[0].exits;
    assert!(exits.port_writes >= printed && exits.port_reads > 0, "{exits:?} for {printed} bytes");
    assert!(exits.memory_reads > 0 && exits.memory_writes > 0, "{exits:?}");
    assert!(now.vcpus[0].cpu_time > now.vcpus[1].cpu_time);
    let names: Vec<_> = now.devices.iter().map(|device| device.name.as_str()).collect();
    assert!(names.contains(&"virtio-console") && names.contains(&"virtio-rng"), "{names:?}");

    let json = serde_json::to_string(&now).unwrap();
    assert_eq!(serde_json::from_str::<Statistics>(&json).unwrap(), now);
    guest.vm.pause().unwrap();
    let paused = guest.vm.statistics();
    guest.vm.unpause().unwrap();
    assert!(paused.vcpus[0].exits.interrupted > exits.interrupted);
    guest.vm.hard_shutdown().unwrap();
    assert_eq!(guest.vm.statistics(), Statistics::default());
    guest.vm.start().unwrap();
    assert!(guest.vm.statistics().uptime < paused.uptime);
}

#[test]
fn what_a_reboot_interrupts_is_not_forgotten() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, 64 << 20).unwrap();
    let line = CommandLine::new([Mode::Blk]).blocks(1);
    let mut guest = Guest::start(config(&line).disk(Disk::raw(&path)), &host).unwrap();
    guest.expect(demo::DONE);
    let before = guest.vm.statistics();
    guest.vm.hard_reboot().unwrap();
    guest.expect(demo::DONE);
    let after = guest.vm.statistics();
    blocks(&after.disks[&0].writes, 2);
    // The worker thread is a new one, and the CPU time of the first still counts.
    assert!(after.disks[&0].cpu_time > before.disks[&0].cpu_time);
    assert_eq!(after.disks[&0].writes.latency.since(&before.disks[&0].writes.latency).total(), 1);
}

/// The CPU time of the calling thread, which excludes other load on the machine.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a local variable.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn reading_them_costs_microseconds() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, 64 << 20).unwrap();
    let config = config(&CommandLine::new([Mode::Hello])).vcpus(2).disk(Disk::raw(&path));
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect(demo::DONE);
    let (rounds, began) = (5000, thread_time());
    (0..rounds).for_each(|_| drop(guest.vm.statistics()));
    let taken = (thread_time() - began) / rounds;
    println!("statistics of a VM with 2 vCPUs and 1 disk: {taken:.1?} of CPU time a call");
    // Reading a thousand VMs every second must not take more than a tenth of one CPU.
    assert!(taken < Duration::from_micros(100), "{taken:?}");
}

#[test]
fn lost_frames_are_counted_where_they_are_lost() {
    let host = host!();
    let skip = |why: &str| println!("SKIPPED lost_frames_are_counted_where_they_are_lost: {why}");
    let tap = match Tap::create(None) {
        Ok(tap) => tap,
        Err(error) => return skip(&error.to_string()),
    };
    let address = Ipv4Addr::new(10, 91, 8, 1);
    tap.set_address(address, 24).unwrap();
    tap.set_up().unwrap();
    let nic = Nic::tap_descriptor(tap.as_fd().try_clone_to_owned().unwrap());
    let line = CommandLine::new([Mode::Net, Mode::Echo]);
    let mut guest = Guest::start(config(&line).nic(nic), &host).unwrap();
    guest.expect(demo::ECHO_READY);
    // To the broadcast address, so that no ARP request is needed.
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_broadcast(true).unwrap();
    let send =
        |count: u64| (0..count).for_each(|_| assert_eq!(socket.send_to(&[7; 100], "10.91.8.255:9").unwrap(), 100));
    send(1);
    let until = |what: &str, done: &dyn Fn(&Statistics) -> bool| {
        let began = Instant::now();
        while !done(&guest.vm.statistics()) {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", guest.vm.statistics().nics);
            std::thread::yield_now();
        }
    };
    // The guest sends every frame back.
    until("a frame there and back", &|now| {
        let nic = &now.nics[&0];
        nic.received.frames > 0 && nic.received.bytes >= 100 && nic.sent.frames > 0 && nic.sent.bytes >= 100
    });
    let before = guest.vm.statistics().nics[&0].received.dropped;
    guest.vm.set_link(0, false).unwrap();
    send(3);
    until("frames lost while the link is down", &|now| now.nics[&0].received.dropped >= before + 3);
}

#[cfg(feature = "metrics")]
mod published {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use xvirt_core::vm::MetricsPublisher;

    use super::*;

    /// Keeps every metric under its name and labels.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn at(&self, key: &Key) -> Arc<AtomicU64> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{} {}", key.name(), labels.join(" "));
            Arc::clone(self.0.lock().unwrap().entry(name).or_default())
        }

        fn counter(&self, name: &str) -> u64 {
            self.0.lock().unwrap().get(name).unwrap_or_else(|| panic!("no {name}")).load(Ordering::Relaxed)
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.at(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.at(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn metrics_grow_by_what_happened_and_survive_a_new_start() {
        let host = host!();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.raw");
        disk::create(&path, ImageFormat::Raw, 64 << 20).unwrap();
        let line = CommandLine::new([Mode::Blk, Mode::Echo]).blocks(1);
        let mut guest = Guest::start(config(&line).disk(Disk::raw(&path)), &host).unwrap();
        let kept = Kept::default();
        let mut publisher = MetricsPublisher::new(&guest.vm);
        let vm = format!("vm=demo uuid={}", guest.vm.uuid());
        for start in 1..=2 {
            guest.expect(demo::ECHO_READY);
            let now = guest.vm.statistics();
            // Values that did not change are not counted again.
            metrics::with_local_recorder(&kept, || (0..2).for_each(|_| publisher.publish(&now)));
            let written = format!("{vm} disk=0 operation=writes");
            assert_eq!(kept.counter(&format!("xvirt_disk_operations_total {written}")), start);
            assert_eq!(kept.counter(&format!("xvirt_disk_bytes_total {written}")), start * BLOCK);
            assert!(kept.counter(&format!("xvirt_disk_latency_seconds {written} quantile=0.99")) > 0);
            assert!(kept.counter(&format!("xvirt_vcpu_exits_total {vm} vcpu=0 reason=port_writes")) > 0);
            let uptime = f64::from_bits(kept.counter(&format!("xvirt_uptime_seconds {vm}")));
            assert_eq!(uptime, now.uptime.as_secs_f64());
            guest.vm.hard_shutdown().unwrap();
            metrics::with_local_recorder(&kept, || publisher.publish(&guest.vm.statistics()));
            guest.vm.start().unwrap();
        }
    }
}
