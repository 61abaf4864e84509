//! Limits of a VM, measured from outside.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xvirt_core::ErrorKind;
use xvirt_core::config::{CpuLimit, Disk, Nic, NicLimit, RateLimit};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::BlockBackend;
use xvirt_core::disk::GuestSlice;
use xvirt_core::host::Host;
use xvirt_core::net::FrameStream;
use xvirt_core::vm::Vm;
use xvirt_testing::process::another;

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// Long enough to measure a rate to a few percent.
const MEASURED: Duration = Duration::from_secs(5);

const ORDER: &str = "XVIRT_TEST_DEMO_LIMITS";
const STARTED: &str = "the VM has started";

/// The control group of a VM, wherever it is.
fn group_of(vm: &Vm) -> Option<PathBuf> {
    fn search(folder: &Path, name: &str, depth: u32) -> Option<PathBuf> {
        let below = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let mut below = below.filter(|path| !path.is_symlink());
        below.find_map(|path| match path.file_name() {
            Some(found) if found.to_string_lossy().starts_with(name) => Some(path),
            _ => (depth > 0).then(|| search(&path, name, depth - 1)).flatten(),
        })
    }
    search(Path::new("/sys/fs/cgroup"), &format!("xvirt-{}", vm.uuid()), 6)
}

/// The threads in a group, of either cgroup version.
fn threads(group: &Path) -> Vec<String> {
    let list = fs::read_to_string(group.join("cgroup.threads")).or_else(|_| fs::read_to_string(group.join("tasks")));
    list.unwrap().lines().map(str::to_owned).collect()
}

/// The CPU time of threads of this process so far.
fn processor_time(threads: &[String]) -> Duration {
    let of = |thread: &String| {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    };
    threads.iter().map(of).sum()
}

/// The share of one CPU that they get within `time`, in percent.
fn share(threads: &[String], time: Duration) -> f64 {
    let (before, began) = (processor_time(threads), Instant::now());
    // The elapsed time is part of the measurement.
    std::thread::sleep(time);
    (processor_time(threads) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

#[test]
fn vcpus_take_no_more_of_the_host_than_their_cap() {
    let host = host!();
    let line = CommandLine::new([Mode::Smp, Mode::Counter]);
    // Its weight ensures that it reaches its limit even on a busy machine.
    let mut guest = match Guest::start(config(&line).vcpus(2).cpu_cap(20).cpu_weight(10_000), &host) {
        Ok(guest) => guest,
        Err(error) if matches!(error.kind(), ErrorKind::HostUnsupported | ErrorKind::PermissionDenied) => {
            println!("SKIPPED vcpus_take_no_more_of_the_host_than_their_cap: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    guest.expect("counter");
    let vm = &guest.vm;
    let group = group_of(vm).unwrap();
    let vcpus = threads(&group);
    let name = |thread: &String| fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap();
    // Device threads, which vCPUs start, must not be in it; newer kernels add one of KVM's own threads.
    let names: Vec<_> = vcpus.iter().map(name).filter(|name| !name.starts_with("kvm-")).collect();
    assert_eq!(names, ["vcpu0\n", "vcpu1\n"]);
    assert_eq!(vm.cpu_limit().unwrap(), CpuLimit::none().weight(10_000).cap(20));
    // One period may have begun just before, and another may be accounted just afterwards.
    let capped = share(&vcpus, MEASURED);
    println!("cap 20: {capped:.2}");
    assert!((14.0..21.0).contains(&capped), "{capped}");

    vm.set_cpu_limit(CpuLimit::none().weight(10_000).cap(40)).unwrap();
    assert_eq!(vm.cpu_limit().unwrap().cap, 40);
    let raised = share(&vcpus, MEASURED);
    println!("cap 40: {raised:.2}");
    assert!((28.0..42.0).contains(&raised), "{raised}");

    vm.hard_reboot().unwrap();
    assert_eq!(threads(&group), vcpus, "a reboot changes nothing");
    vm.hard_shutdown().unwrap();
    assert!(!group.exists());
    assert_eq!(vm.cpu_limit().unwrap().cap, 40, "the next start takes it");
}

#[test]
fn without_a_limit_there_is_no_control_group() {
    let host = host!();
    let guest = Guest::start(config(&CommandLine::new([Mode::Hello])), &host).unwrap();
    assert_eq!(group_of(&guest.vm), None);
    guest.vm.set_cpu_limit(CpuLimit::none()).unwrap();
    assert_eq!(group_of(&guest.vm), None);
    let error = guest.vm.set_cpu_limit(CpuLimit::none().weight(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

/// The process that is killed.
#[test]
fn obeys() {
    let Ok(uuid) = std::env::var(ORDER) else { return };
    let config = config(&CommandLine::new([Mode::Hello])).uuid(uuid.parse().unwrap()).cpu_cap(50);
    let mut guest = Guest::start(config, &Host::probe().unwrap()).unwrap();
    guest.expect(demo::DONE);
    println!("{STARTED}");
    io::stdin().read_exact(&mut [0]).unwrap();
}

#[test]
fn the_group_of_a_process_that_was_killed_goes_with_the_next_start() {
    let host = host!();
    let vm = || config(&CommandLine::new([Mode::Hello])).cpu_cap(50).build(&host).unwrap();
    let first = vm();
    match first.start() {
        Err(error) if matches!(error.kind(), ErrorKind::HostUnsupported | ErrorKind::PermissionDenied) => {
            return println!("SKIPPED the_group_of_a_process_that_was_killed_goes_with_the_next_start: {error}");
        }
        started => started.unwrap(),
    }
    let gone = vm();
    let mut child = another("limits::obeys")
        .env(ORDER, gone.uuid().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == STARTED), "the child did not start its VM");
    assert!(group_of(&gone).is_some_and(|group| !threads(&group).is_empty()));
    // A group in use is not removed.
    vm().start().unwrap();
    assert!(group_of(&gone).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(group_of(&gone).is_some_and(|group| threads(&group).is_empty()), "there is nothing left to remove");
    vm().start().unwrap();
    assert_eq!(group_of(&gone), None);
    assert!(group_of(&first).is_some());
}

/// A disk that accepts all writes, reads as zeroes, and records the time of each request.
#[derive(Debug, Default)]
struct Counting(Mutex<Vec<Instant>>);

impl Counting {
    fn count(&self) -> io::Result<()> {
        self.0.lock().unwrap().push(Instant::now());
        Ok(())
    }

    /// Requests per second, measured from the first request after now and after the burst.
    fn rate(&self, burst: usize) -> f64 {
        self.0.lock().unwrap().clear();
        std::thread::sleep(MEASURED);
        let times = self.0.lock().unwrap();
        let times = &times[burst..];
        (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]).as_secs_f64()
    }
}

impl BlockBackend for Counting {
    fn capacity(&self) -> u64 {
        64 << 20
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        buffers.iter().for_each(|buffer| buffer.copy_from(&vec![0u8; buffer.len()]));
        self.count()
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        self.count()
    }

    fn flush(&self) -> io::Result<()> {
        self.count()
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        self.count()
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        self.count()
    }
}

#[test]
fn a_disk_keeps_to_its_limit_and_to_another_one_given_meanwhile() {
    let host = host!();
    let backend = Arc::new(Counting::default());
    let limit = |rate| RateLimit::none().operations_per_second(rate).operations_burst(20);
    let disk = Disk::backend(Arc::clone(&backend) as _).limit(limit(40));
    // The guest writes sequentially, and reads nothing back within the time: it writes all data first.
    let line = CommandLine::new([Mode::Blk]).blocks(4000);
    let guest = Guest::start(config(&line).disk(disk), &host).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while backend.0.lock().unwrap().len() < 10 {
        assert!(Instant::now() < deadline, "the guest does nothing");
        std::thread::yield_now();
    }
    for rate in [40, 80] {
        guest.vm.set_disk_limit(0, limit(rate)).unwrap();
        assert_eq!(guest.vm.disk_limit(0).unwrap(), limit(rate));
        let measured = backend.rate(20);
        println!("limit {rate}: {measured:.2}");
        assert!((0.95..1.05).contains(&(measured / rate as f64)), "{measured} of {rate}");
    }
}

/// Frames per second returned by a guest that echoes all, measured after the burst.
fn echoed(far: &mut UnixStream, burst: u32) -> f64 {
    let mut prefix = [0; 4];
    let mut next = || {
        far.read_exact(&mut prefix).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        far.read_exact(&mut frame).unwrap();
    };
    (0..burst).for_each(|_| next());
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < MEASURED {
        next();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

#[test]
fn a_nic_keeps_to_its_limit_each_way_and_to_another_one_given_meanwhile() {
    let host = host!();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let limit = |rate| RateLimit::none().operations_per_second(rate).operations_burst(5);
    let nic = Nic::connection(FrameStream::new(near).unwrap()).receive_limit(limit(40));
    let line = CommandLine::new([Mode::Net]).net_every(1_000_000);
    let mut guest = Guest::start(config(&line).nic(nic), &host).unwrap();
    guest.expect("net 0: mac=");
    // A peer that sends as much as the socket accepts: the rest waits with the peer.
    let mut sender = far.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let frame = [&100_u32.to_be_bytes()[..], &[0xff; 6], &[2, 0, 0, 0, 0, 9], &[7; 88]].concat();
        while sender.write_all(&frame).is_ok() {}
    });
    let (slow, fast) = (limit(40), limit(80));
    let limits = [(40, NicLimit::none().receive(slow)), (80, NicLimit::none().receive(fast))];
    for (rate, limit) in limits.into_iter().chain([(40, NicLimit::none().transmit(slow))]) {
        guest.vm.set_nic_limit(0, limit).unwrap();
        assert_eq!(guest.vm.nics()[0].limit, limit);
        // Requests in flight still follow the old limit.
        let measured = echoed(&mut far, 20);
        println!("{limit:?}: {measured:.2}");
        assert!((0.95..1.05).contains(&(measured / f64::from(rate))), "{measured} of {rate}");
    }
    drop(guest);
    far.shutdown(std::net::Shutdown::Both).unwrap();
    flood.join().unwrap();
}
