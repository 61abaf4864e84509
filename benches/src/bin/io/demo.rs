//! The jobs of the demo guest, which boots for each of them.

use std::process::Command;
use std::time::Instant;

use xvirt_benches::Result;
use xvirt_core::demo::{self, CommandLine, Mode};

use crate::jobs::{GUEST, Unit};
use xvirt_benches::monitor::Monitor;

/// Operation, size in bytes, queue depth, and the unit of the result.
const DISK_JOBS: [(&str, u32, u32, Unit); 7] = [
    ("randread", 4096, 16, Unit::Operations),
    ("randwrite", 4096, 16, Unit::Operations),
    ("randread", 4096, 1, Unit::Operations),
    ("flush", 4096, 1, Unit::Operations),
    ("read", 128 << 10, 8, Unit::Bytes),
    ("write", 128 << 10, 8, Unit::Bytes),
    ("read", 4096, 16, Unit::Operations),
];
const REQUESTS: u64 = 3000;
const FRAMES: u64 = 2000;

#[derive(Clone, Copy)]
pub(crate) enum Job {
    /// I/O on the data disk with this index.
    Disk { disk: usize, what: &'static str, bytes: u32, depth: u32, unit: Unit },
    /// Pings, as fast as they are answered.
    Ping,
}

pub(crate) fn all(disks: usize, network: bool) -> Vec<Job> {
    let of = |disk| DISK_JOBS.map(move |(what, bytes, depth, unit)| Job::Disk { disk, what, bytes, depth, unit });
    let ping = network.then_some(Job::Ping);
    (0..disks).flat_map(of).chain(ping).collect()
}

impl Job {
    pub(crate) fn name(self, disks: &[&str]) -> String {
        match self {
            Self::Disk { disk, what, bytes, depth, .. } => {
                let disk = disks.get(disk).unwrap_or(&"?");
                format!("{disk}: {what} {}k, {depth} deep", bytes >> 10)
            }
            Self::Ping => "pings of 1400 bytes".to_owned(),
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Disk { unit, .. } => unit,
            Self::Ping => Unit::Operations,
        }
    }

    /// The guest's command line.
    pub(crate) fn command_line(self) -> String {
        match self {
            Self::Disk { what, bytes, depth, .. } => {
                CommandLine::new([Mode::BlkBench]).requests(REQUESTS, what, bytes, depth).to_string()
            }
            Self::Ping => CommandLine::new([Mode::Net, Mode::Echo]).ip(GUEST).net_every(1 << 30).to_string(),
        }
    }

    /// The result in its unit.
    pub(crate) fn run(self, command: Command) -> Result<f64> {
        let mut monitor = Monitor::start(command)?;
        match self {
            Self::Disk { bytes, unit, .. } => {
                monitor.wait_for("bench: begin")?;
                let begun = Instant::now();
                monitor.wait_for("bench: end")?;
                let operations = REQUESTS as f64 / begun.elapsed().as_secs_f64();
                let mebibytes = operations * f64::from(bytes) / f64::from(1 << 20);
                Ok(if unit == Unit::Bytes { mebibytes } else { operations })
            }
            Self::Ping => {
                monitor.wait_for(demo::ECHO_READY)?;
                flood()
            }
        }
    }
}

/// Answers per second.
fn flood() -> Result<f64> {
    let begun = Instant::now();
    let mut ping = Command::new("ping");
    ping.args(["-q", "-n", "-f", "-s", "1400", "-c", &FRAMES.to_string(), &GUEST.to_string()]);
    let output = ping.output().map_err(|e| format!("cannot run ping: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("ping: {text}").into());
    }
    Ok(FRAMES as f64 / begun.elapsed().as_secs_f64())
}
