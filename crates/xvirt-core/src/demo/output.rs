//! The guest's output: one event per line, `subject: words key=value`.

/// The prefix of the first line, before `entry=`, `cpus=` and `memory=`.
pub const STARTED: &str = "xvirt demo: ";
/// The line printed when all tasks have succeeded.
pub const DONE: &str = "demo: done";
/// The prefix of the line printed instead of [`DONE`] after a failure.
pub const FAILED: &str = "demo: failed";
/// The line printed when the power button was pressed, before the guest powers off.
pub const POWER_BUTTON: &str = "power button";
/// The line printed when `Mode::Echo` listens.
pub const ECHO_READY: &str = "echo: ready";

/// The value of `key=` in a line.
///
/// ```
/// use xvirt_core::demo::value;
///
/// assert_eq!(value("net 0: frames=3 bytes=180", "bytes"), Some("180"));
/// ```
pub fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The CPU and the pass number in a line of `Mode::Counter`.
pub fn counter_pass(line: &str) -> Option<(u32, u64)> {
    let (cpu, pass) = line.trim_end().strip_prefix("counter: cpu ")?.split_once(" pass ")?;
    Some((cpu.parse().ok()?, pass.parse().ok()?))
}

/// The tick number in a line of `Mode::Timer`.
pub fn tick(line: &str) -> Option<u64> {
    line.trim_end().strip_prefix("timer: tick ")?.parse().ok()
}

/// The number of the started CPU in a line of `Mode::Smp`.
pub fn cpu_up(line: &str) -> Option<u32> {
    line.trim_end().strip_prefix("cpu ")?.strip_suffix(" up")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_the_guest_prints_them_are_understood() {
        let line = "xvirt demo: entry=pvh cpus=2 memory=128M\r\n";
        assert!(line.starts_with(STARTED));
        assert_eq!((value(line, "entry"), value(line, "memory")), (Some("pvh"), Some("128M")));
        assert_eq!(counter_pass("counter: cpu 1 pass 300\r\n"), Some((1, 300)));
        assert_eq!(tick("timer: tick 4\r\n"), Some(4));
        assert_eq!(cpu_up("cpu 3 up\r\n"), Some(3));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(value("blk 0: ok", "sectors"), None);
        assert_eq!(counter_pass("counter: page 0x1000000 expected 4 found 3"), None);
        assert_eq!(tick("timer: hz=10"), None);
        assert_eq!(cpu_up("cpu x up"), None);
    }
}
