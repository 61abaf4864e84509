//! Limits of a VM, measured from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xvirt_core::ErrorKind;
use xvirt_core::config::CpuLimit;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::vm::Vm;

use crate::host;
use crate::support::{Guest, config};

/// Long enough for a rate to be told to a few percent.
const MEASURED: Duration = Duration::from_secs(10);

/// The control group of a VM, wherever it is.
fn group_of(vm: &Vm) -> Option<PathBuf> {
    fn search(folder: &Path, name: &str, depth: u32) -> Option<PathBuf> {
        let below = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let mut below = below.filter(|path| !path.is_symlink());
        below.find_map(|path| match path.file_name() {
            Some(found) if found == name => Some(path),
            _ => (depth > 0).then(|| search(&path, name, depth - 1)).flatten(),
        })
    }
    search(Path::new("/sys/fs/cgroup"), &format!("xvirt-{}", vm.uuid()), 6)
}

/// The threads in a group, of either version.
fn threads(group: &Path) -> Vec<String> {
    let list = fs::read_to_string(group.join("cgroup.threads")).or_else(|_| fs::read_to_string(group.join("tasks")));
    list.unwrap().lines().map(str::to_owned).collect()
}

/// What threads of this process have had of the processors so far.
fn processor_time(threads: &[String]) -> Duration {
    let of = |thread: &String| {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    };
    threads.iter().map(of).sum()
}

/// What they get of one processor within `time`, in percent.
fn share(threads: &[String], time: Duration) -> f64 {
    let (before, began) = (processor_time(threads), Instant::now());
    // What is measured is how time passes.
    std::thread::sleep(time);
    (processor_time(threads) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

#[test]
fn vcpus_take_no_more_of_the_host_than_their_cap() {
    let host = host!();
    let line = CommandLine::new([Mode::Smp, Mode::Counter]);
    // Its weight lets it have its cap on a busy machine too.
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
    assert_eq!(vcpus.len(), 2);
    assert_eq!(vm.cpu_limit().unwrap(), CpuLimit::none().weight(10_000).cap(20));
    // A period may have begun just before, and one may be paid for just afterwards.
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
