//! The jobs of the Linux guest.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use xvirt_benches::Result;

use crate::shell::Shell;

/// The tap, named so that both contenders can attach to it, and the addresses that the guest's disk expects.
const TAP: &str = "xvio0";
const HOST: &str = "10.77.0.1";
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The name, fio options and unit of each job.
const DISK_JOBS: [(&str, &str, Unit); 6] = [
    ("randread 4k, 32 deep", "--rw=randread --bs=4k --iodepth=32", Unit::Operations),
    ("randwrite 4k, 32 deep", "--rw=randwrite --bs=4k --iodepth=32", Unit::Operations),
    ("randread 4k, 1 deep", "--rw=randread --bs=4k --iodepth=1", Unit::Operations),
    ("write 4k, each flushed", "--rw=write --bs=4k --iodepth=1 --fsync=1", Unit::Operations),
    ("read 128k, 8 deep", "--rw=read --bs=128k --iodepth=8", Unit::Bytes),
    ("write 128k, 8 deep", "--rw=write --bs=128k --iodepth=8", Unit::Bytes),
];
/// The device names of the data disks in the guest.
const DISKS: [(&str, &str); 3] = [("raw", "/dev/vdb"), ("qcow2", "/dev/vdc"), ("overlay", "/dev/vdd")];
/// The iperf3 options of the guest.
const NETWORK_JOBS: [(&str, &str); 2] = [("TCP out of the guest", ""), ("TCP into the guest", "-R")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations per second.
    Operations,
    /// MiB per second.
    Bytes,
    /// Mbit per second.
    Bits,
}

pub(crate) struct Job {
    name: String,
    command: String,
    pub(crate) unit: Unit,
}

pub(crate) fn all(network: bool) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (disk, device) in DISKS {
        for (name, options, unit) in DISK_JOBS {
            let command = format!(
                "fio --name=job --filename={device} --direct=1 --ioengine=libaio --time_based --output-format=terse \
                 --terse-version=3 {options} --runtime="
            );
            jobs.push(Job { name: format!("{disk}: {name}"), command, unit });
        }
    }
    if network {
        for (name, options) in NETWORK_JOBS {
            let command = format!("iperf3 -c {HOST} -f m {options} -t ");
            jobs.push(Job { name: name.to_owned(), command, unit: Unit::Bits });
        }
    }
    jobs
}

impl Job {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The result in its unit.
    pub(crate) fn run(&self, shell: &mut Shell, seconds: u32) -> Result<f64> {
        let output = shell.run(&format!("{}{seconds}", self.command))?;
        let value = match self.unit {
            Unit::Bits => bits(&output),
            unit => fio(&output, unit),
        };
        value.ok_or_else(|| format!("no result in {output:?}").into())
    }
}

/// Parses fio's terse format, version 3: bandwidth (KiB/s) and operations per second of reads and writes.
fn fio(output: &str, unit: Unit) -> Option<f64> {
    const READ: usize = 6;
    const WRITE: usize = 47;
    let line = output.lines().find(|line| line.starts_with("3;fio"))?;
    let fields: Vec<_> = line.split(';').collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    match unit {
        Unit::Operations => Some(number(READ + 1)? + number(WRITE + 1)?),
        _ => Some((number(READ)? + number(WRITE)?) / 1024.0),
    }
}

/// The received rate in iperf3's summary.
fn bits(output: &str) -> Option<f64> {
    let line = output.lines().find(|line| line.trim_end().ends_with("receiver"))?;
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let unit = words.iter().position(|word| *word == "Mbits/sec")?;
    words.get(unit.checked_sub(1)?)?.parse().ok()
}

/// The host side: a tap, and an iperf3 server for the guest.
pub(crate) struct Network {
    server: Option<Child>,
}

impl Network {
    /// Creates the tap, and the server if `serve`.
    pub(crate) fn new(serve: bool) -> Result<Self> {
        ip(&["tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])?;
        ip(&["address", "add", &format!("{HOST}/24"), "dev", TAP])?;
        ip(&["link", "set", TAP, "up"])?;
        let mut network = Self { server: None };
        if serve {
            let server = Command::new("iperf3").args(["-s", "-B", HOST]).stdout(Stdio::null()).spawn();
            let server = server.map_err(|e| format!("cannot run iperf3 ({e}); install it, or use --no-network"))?;
            network.server = Some(server);
        }
        Ok(network)
    }

    pub(crate) fn tap(&self) -> &str {
        TAP
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Each fails only if the object is gone already.
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = ip(&["tuntap", "del", TAP, "mode", "tap"]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status().map_err(|e| format!("cannot run ip: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {} failed", arguments.join(" ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_in_what_the_programs_print() {
        let mut fields = vec!["0"; 60];
        (fields[0], fields[1], fields[6], fields[7], fields[48]) = ("3", "fio-3.33", "2048", "512", "8");
        let line = format!("noise\n{}\n", fields.join(";"));
        assert_eq!(fio(&line, Unit::Operations), Some(520.0));
        assert_eq!(fio(&line, Unit::Bytes), Some(2.0));
        assert_eq!(fio("fio: failed", Unit::Bytes), None);
        let line = "[  5]   0.00-5.03   sec  1.96 MBytes  3.27 Mbits/sec                  receiver\r\n";
        assert_eq!(bits(line), Some(3.27));
        assert_eq!(bits("iperf3: error"), None);
    }
}
