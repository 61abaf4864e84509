//! Measures the resources of a test's process.

use std::process::Command;

/// Runs a test in a process of its own, so that the process's memory is that of the test.
///
/// `test` is its full name, including modules.
pub fn in_own_process(test: &str, work: impl FnOnce()) {
    const CHILD: &str = "XVIRT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{test} failed: {}\n{text}", output.status);
    print!("{text}");
}

/// Runs `work`, and returns the peak growth of the process's memory in bytes, and the result.
pub fn peak_memory<T>(work: impl FnOnce() -> T) -> (u64, T) {
    // Resets the peak (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    let done = work();
    (resident("VmHWM:").saturating_sub(before), done)
}

fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
