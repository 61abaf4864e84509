//! The resource use of this process.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::Result;

/// Clock ticks per second in `/proc` (`USER_HZ`), the same on every x86 kernel.
const TICKS: u64 = 100;

/// Resources that a process must release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Memory in use, in KiB.
    pub resident: u64,
}

impl Taken {
    /// The resources of this process now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            threads: threads()?.len(),
            resident: resident.ok_or("/proc/self/status has no VmRSS")?,
        })
    }
}

/// The threads of this process.
///
/// # Errors
/// `/proc` cannot be read.
pub fn threads() -> Result<BTreeSet<u32>> {
    let names = fs::read_dir("/proc/self/task")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The total CPU time of this process, including ended threads.
///
/// # Errors
/// `/proc` cannot be read.
pub fn cpu_time() -> Result<Duration> {
    parse(&fs::read_to_string("/proc/self/stat")?)
}

/// The total CPU time of these threads; ended ones count as zero.
///
/// # Errors
/// The contents of `/proc` are not as documented.
pub fn cpu_time_of(threads: &BTreeSet<u32>) -> Result<Duration> {
    let stats = threads.iter().filter_map(|thread| fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok());
    stats.map(|stat| parse(&stat)).sum()
}

/// Parses user and system time: the twelfth and thirteenth field after the name, which may contain any character.
fn parse(stat: &str) -> Result<Duration> {
    let wrong = || format!("a stat of /proc is '{stat}'");
    let (_, fields) = stat.rsplit_once(')').ok_or_else(wrong)?;
    let times = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = times.sum::<std::result::Result<_, _>>().map_err(|_| wrong())?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "17 (a) 1 2) S 1 17 17 0 -1 4194304 99 0 0 0 250 50 7 8 20 0 3 0 100 1 1";
        assert_eq!(parse(stat).unwrap(), Duration::from_secs(3));
        assert!(parse("17 a S").is_err());
    }

    #[test]
    fn this_process_has_this_thread_and_a_little_of_everything() {
        let taken = Taken::now().unwrap();
        assert!(taken.threads >= 1 && taken.descriptors >= 3 && taken.resident > 0, "{taken:?}");
    }
}
