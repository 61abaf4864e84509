//! Tests how waits end, and that there are no others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::progress::interruptible;

/// Long enough for a busy machine; never waited for in full unless a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files with other waits, and why their waits cannot or need not be interrupted.
const OTHER_WAITS: [(&str, &str); 23] = [
    ("cgroup/cpu.rs", "the kernel, which removes the last thread from a group"),
    ("console/pump.rs", "a thread of its own"),
    ("console/shared.rs", "threads of attachments, which read their input"),
    ("disk/blocks.rs", "storage"),
    ("disk/engine/dispatch.rs", "storage"),
    ("disk/engine/pool.rs", "a thread of its own"),
    ("disk/engine/ring.rs", "storage"),
    ("disk/place.rs", "storage"),
    ("machine/throttle.rs", "a thread of its own"),
    ("machine/vcpus.rs", "vCPUs that leave KVM; and threads of its own"),
    ("memory/missing.rs", "a thread of its own"),
    ("memory/write_protect.rs", "a thread of its own"),
    ("migrate/copy.rs", "bandwidth, and asks the caller before each wait of at most 50 ms"),
    ("migrate/source.rs", "a disk whose guest must run again"),
    ("net/passt/process.rs", "passt, and asks the caller before each wait of 2 ms; and a thread of its own"),
    ("socket.rs", "the lock of a folder, which this crate holds only briefly"),
    ("state/background.rs", "storage, and asks the caller every 20 ms"),
    ("state/parallel.rs", "storage"),
    ("sync.rs", "what its callers wait for"),
    ("virtio/vsock/table.rs", "nothing: its time limit is zero"),
    ("virtio/worker.rs", "a thread of its own"),
    ("vm/supervisor.rs", "a thread of its own"),
    ("wait.rs", "what its callers wait for"),
];

/// What waits look like.
const WAITS: [&str; 8] = [
    "thread::sleep(",
    ".wait_timeout",
    ".wait_while(",
    "sync::wait(",
    "poll(&mut",
    "epoll.wait(",
    ".recv()",
    "in receiver",
];

fn after(count: u32) -> (impl Fn() -> bool + 'static, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let check = Arc::clone(&asked);
    (move || check.fetch_add(1, Ordering::Relaxed) + 1 >= count, asked)
}

#[test]
fn each_kind_of_wait_ends_when_its_caller_says_so() {
    let (mutex, never) = (Mutex::new(0), Condvar::new());
    let (socket, _other) = UnixStream::pair().unwrap();
    let long = Wait::at_most(PATIENCE);
    let waits: [&dyn Fn() -> bool; 6] = [
        &|| long.until_done(&never, &mutex, sync::lock(&mutex), |value| *value > 0).1 == Err(Ended::Cancelled),
        &|| {
            let error = long.ready(&socket, PollFlags::IN, "a byte").unwrap_err();
            let error = Error::inside(&error).unwrap();
            (error.kind(), error.to_string().as_str()) == (ErrorKind::Cancelled, "the wait for a byte was cancelled")
        },
        &|| long.pause(PATIENCE) == Err(Ended::Cancelled),
        &|| until_some(|| None::<()>).is_none(),
        &|| {
            let _held = sync::lock(&mutex);
            lock(&mutex).is_none()
        },
        &|| {
            let stop = AtomicBool::new(false);
            let run = || {
                while !stop.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            };
            thread::scope(|scope| join(scope.spawn(run), || stop.store(true, Ordering::Relaxed)).is_ok())
        },
    ];
    for (number, wait) in waits.iter().enumerate() {
        let (check, asked) = after(3);
        assert!(interruptible(check, wait), "{number}");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "{number}");
    }
}

#[test]
fn a_deadline_counts_with_and_without_a_check() {
    let (mutex, never) = (Mutex::new(0), Condvar::new());
    let (socket, _other) = UnixStream::pair().unwrap();
    let waits = || {
        for timeout in [Duration::ZERO, Duration::from_millis(30)] {
            let begin = Instant::now();
            let wait = || Wait::at_most(timeout);
            let waited = wait().until_done(&never, &mutex, sync::lock(&mutex), |value| *value > 0).1;
            assert_eq!(waited, Err(Ended::TooLate));
            assert!(!wait().ready(&socket, PollFlags::IN, "a byte").unwrap());
            assert_eq!(wait().pause(PATIENCE), Err(Ended::TooLate));
            assert_eq!(Wait::at_most(PATIENCE).pause(timeout), Ok(()));
            assert!(begin.elapsed() >= 4 * timeout && begin.elapsed() < PATIENCE);
        }
    };
    waits();
    interruptible(|| false, waits);
}

#[test]
fn a_check_may_use_what_the_waiting_call_has_locked() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let (mutex, changed) = &*shared;
    let of_check = Arc::clone(&shared);
    // It makes the change that the call waits for.
    let check = move || {
        *of_check.0.try_lock().unwrap() += 1;
        false
    };
    let waited = interruptible(check, || {
        Wait::at_most(PATIENCE).until_done(changed, mutex, sync::lock(mutex), |value| *value == 2).1
    });
    assert_eq!(waited, Ok(()));
}

/// A new wait must be interruptible, or be listed above with a reason.
#[test]
fn there_are_no_other_waits() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    collect(&source, &source, &mut found);
    let listed: Vec<_> = OTHER_WAITS.iter().map(|(file, _)| (*file).to_owned()).collect();
    let files: Vec<_> = found.keys().cloned().collect();
    assert_eq!(files, listed, "the waits: {found:#?}");
}

/// Collects the lines that wait, by file, without those of tests.
fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["tests", "demo", "fuzzing"].contains(&name) {
                collect(root, &path, found);
            }
            continue;
        }
        if name.contains("test") || name == "fuzzing.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let of_condvar = |line: &str| line.contains(".wait(") && line.contains("PoisonError");
        let is_wait = |line: &&str| of_condvar(line) || WAITS.iter().any(|wait| line.contains(wait));
        let lines: Vec<_> = code.lines().filter(is_wait).map(|line| line.trim().to_owned()).collect();
        if !lines.is_empty() {
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), lines);
        }
    }
}
