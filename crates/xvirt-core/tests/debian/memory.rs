//! The memory of a Debian guest: its balloon, free page reporting, and its statistics.

use std::fs;
use std::time::{Duration, Instant};

use xvirt_core::config::ByteSize;

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;

/// What a running VM needs in addition to its guest's memory, and what the guest's kernel reuses immediately.
const MARGIN: u64 = 48 << 20;

/// The resident memory of this process, in bytes; these tests run one at a time.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Waits until at most so many bytes of this process are resident.
fn wait_resident(most: u64) {
    let began = Instant::now();
    while resident() > most {
        assert!(began.elapsed() < PATIENCE, "{} MiB are in memory, not {}", resident() >> 20, most >> 20);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A line of the guest's /proc/meminfo, in bytes.
fn meminfo(guest: &mut Guest, line: &str) -> u64 {
    guest.run(&format!("awk '/^{line}:/ {{ print $2 }}' /proc/meminfo")).parse::<u64>().unwrap() << 10
}

#[test]
fn memory_follows_its_target_and_what_is_free_goes_to_the_host() {
    let Some(debian) = SavedDebian::copy() else { return };
    let before = resident();
    let mut guest = Guest::resume(debian.vm());

    // Pages that become free when a file is removed. What the guest has read meanwhile is dropped as well: its timers may have
    // expired while it was suspended.
    guest.run("grep -q virtio_balloon /proc/modules && head -c 200M /dev/zero >/dev/shm/big");
    let full = resident();
    guest.run("rm /dev/shm/big; echo 3 >/proc/sys/vm/drop_caches");
    wait_resident(full - (150 << 20));

    // A cache is not free, so only the balloon can take it.
    guest.run("head -c 250M /dev/vda >/dev/null");
    assert!(resident() > before + (200 << 20) + MARGIN, "the cache is in {} MiB", resident() >> 20);
    // The guest's report matches what it sees, in both directions.
    for target in [200, 512, 240].map(ByteSize::mib) {
        guest.vm.set_memory_target(target).unwrap();
        guest.vm.wait_memory_target(PATIENCE).unwrap();
        wait_resident(before + target.bytes() + MARGIN);
        let statistics = guest.vm.refresh_memory_statistics(PATIENCE).unwrap();
        assert_eq!((statistics.target, statistics.actual), (target, target));
        let report = statistics.guest.unwrap();
        let available = meminfo(&mut guest, "MemAvailable");
        let difference = report.available.unwrap().bytes().abs_diff(available);
        assert!(difference < 16 << 20, "{report:?}, but MemAvailable is {available}");
        assert!(report.minor_faults.unwrap() > 1000 && report.free <= report.total, "{report:?}");
        assert!(available < target.bytes(), "{available} are available of {target}");
    }

    // A process that needs more than is left gets it from the balloon.
    guest.run("dd if=/dev/zero of=/dev/null bs=260M count=1");
    let actual = guest.vm.memory_statistics().unwrap().actual;
    assert!(actual > ByteSize::mib(260), "the balloon has left {actual}");
}
