//! Memory that a guest releases to its host, and the guest's memory statistics.

use std::fs;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::config::{ByteSize, VmConfig};
use xvirt_core::demo::{CommandLine, Mode};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// The number of pages that the balloon guest touches: 4096.
const TOUCHED: u64 = 16 << 20;
const MEMORY: ByteSize = ByteSize::mib(64);

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn balloon() -> VmConfig {
    config(&CommandLine::new([Mode::Balloon]))
}

/// Guest memory is released to the host and claimed again, as the target demands.
fn lends(config: VmConfig) {
    let host = host!();
    if std::env::var_os("NEXTEST").is_none() {
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        println!("SKIPPED {name}: it measures its process, which only cargo-nextest gives each test");
        return;
    }
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect("balloon: touched=4096");
    let before = guest.vm.memory_statistics().unwrap();
    assert_eq!((before.target, before.actual), (MEMORY, MEMORY));
    let full = resident();

    guest.vm.set_memory_target(ByteSize::mib(64 - 12)).unwrap();
    guest.expect("balloon: pages=3072");
    guest.vm.wait_memory_target(PATIENCE).unwrap();
    let lent = full.saturating_sub(resident());
    assert!(lent > TOUCHED / 2 && lent <= TOUCHED, "{lent} bytes went to the host");
    let now = guest.vm.refresh_memory_statistics(PATIENCE).unwrap();
    assert_eq!((now.target, now.actual), (ByteSize::mib(52), ByteSize::mib(52)));
    let report = now.guest.unwrap();
    assert_eq!((report.total, report.available), (Some(ByteSize::mib(16)), Some(ByteSize::mib(4))));
    assert_eq!((report.free, report.disk_caches), (Some(ByteSize::mib(2)), None));

    guest.vm.set_memory_target(MEMORY).unwrap();
    guest.expect("balloon: pages=0");
    assert!(full.abs_diff(resident()) < TOUCHED / 4, "all of it is the guest's again");
    guest.vm.hard_reboot().unwrap();
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn private_memory_is_lent_and_taken_back() {
    lends(balloon());
}

#[test]
fn shared_memory_is_lent_and_taken_back() {
    lends(balloon().shared_memory());
}

#[test]
fn the_target_is_there_at_the_start_and_stays_when_the_guest_reboots() {
    let host = host!();
    let mut guest = Guest::start(balloon().memory_target(ByteSize::mib(60)).memory_statistics_every(1), &host).unwrap();
    guest.expect("balloon: pages=1024");
    guest.vm.set_memory_target(ByteSize::mib(56)).unwrap();
    guest.expect("balloon: pages=2048");
    guest.vm.hard_reboot().unwrap();
    guest.expect("balloon: pages=2048");
    guest.vm.wait_memory_target(PATIENCE).unwrap();
    assert_eq!(guest.vm.memory_statistics().unwrap().target, ByteSize::mib(56));
}

#[test]
fn what_cannot_be_done_is_said() {
    let host = host!();
    let vm = balloon().build(&host).unwrap();
    assert_eq!(
        vm.set_memory_target(MEMORY).unwrap_err().to_string(),
        "cannot set the memory target of VM 'demo' while it is halted; it must be running or paused"
    );
    let error = vm.set_memory_target(ByteSize::mib(65)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_eq!(vm.memory_statistics().unwrap_err().kind(), ErrorKind::InvalidState);

    let guest = Guest::start(config(&CommandLine::new([Mode::Hello])), &host).unwrap();
    guest.vm.set_memory_target(ByteSize::mib(32)).unwrap();
    let error = guest.vm.refresh_memory_statistics(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().contains("has no balloon driver now"), "{error}");
    let error = guest.vm.wait_memory_target(Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("has 64 MiB of memory after 1ms, not 32 MiB"), "{error}");

    let guest = Guest::start(balloon().without_balloon(), &host);
    let mut guest = guest.unwrap();
    guest.expect("balloon: none");
    let error = guest.vm.memory_statistics().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert_eq!(error.to_string(), "VM 'demo' has no memory balloon; enable it in the configuration of the VM");
}
