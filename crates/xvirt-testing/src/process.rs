//! Measures the resources of a test's process.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Runs a test in a process of its own, so that the process's memory is that of the test.
///
/// `test` is its full name, including modules.
pub fn in_own_process(test: &str, work: impl FnOnce()) {
    const CHILD: &str = "XVIRT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let output = another(test).env(CHILD, "1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{test} failed: {}\n{text}", output.status);
    print!("{text}");
}

/// The command that runs `test` of this program, by its full name, in another process.
pub fn another(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// The resources of the process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// How many descriptors are open.
    pub descriptors: usize,
    /// How many threads there are.
    pub threads: usize,
}

impl Taken {
    /// What the process has at the moment.
    pub fn now() -> Self {
        let count = |folder| fs::read_dir(folder).unwrap().count();
        // The folder that is being read is open, too.
        Self { descriptors: count("/proc/self/fd") - 1, threads: count("/proc/self/task") }
    }
}

/// The names of all threads.
pub fn threads() -> Vec<String> {
    // A thread may end while this reads its name.
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    tasks.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

/// Waits up to `limit` until `now` returns what is expected, because the kernel may still list a thread that has ended.
///
/// # Errors
/// What it returned at last.
pub fn comes_to<T: PartialEq>(expected: &T, limit: Duration, now: impl Fn() -> T) -> Result<(), T> {
    let began = Instant::now();
    loop {
        let found = now();
        if found == *expected {
            return Ok(());
        }
        if began.elapsed() > limit {
            return Err(found);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `work`, and returns the peak growth of the process's memory in bytes, and the result.
pub fn peak_memory<T>(work: impl FnOnce() -> T) -> (u64, T) {
    // Resets the peak (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    let done = work();
    (resident("VmHWM:").saturating_sub(before), done)
}

fn resident(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
