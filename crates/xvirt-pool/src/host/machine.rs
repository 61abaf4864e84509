//! What the machine is, for the records of the host, its processors and its pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::UdpSocket;

use uuid::Uuid;

use super::Inner;
use crate::model::{Host, HostCpu, HostMetrics, Pool, Ref};
use crate::objects::companion;
use crate::operation::{Failure, allowed};
use crate::sync::lock;

/// The version of XenAPI, which clients compare.
const API_VERSION: (i64, i64) = (2, 21);
/// The version of XenServer that has this XenAPI, and that of its service.
const PRODUCT_VERSION: &str = "8.3.0";
const SERVICE_VERSION: &str = "24.19";
/// How many processors are written at once.
const AT_ONCE: usize = 40;

impl Inner {
    /// Writes what the machine is. It is the same until the service begins again.
    pub(crate) fn describe_machine(&self) -> Result<(), Failure> {
        let processors = processors(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
        let records = self.cpu_records(&processors);
        for some in records.chunks(AT_ONCE) {
            self.objects.change(|change| some.iter().try_for_each(|(cpu, record)| change.put(*cpu, record)))?;
        }
        let now: BTreeSet<Ref<HostCpu>> = records.iter().map(|(cpu, _)| *cpu).collect();
        let gone: Vec<_> = self
            .objects
            .all::<HostCpu>()?
            .into_iter()
            .filter(|(cpu, record)| record.host == self.host && !now.contains(cpu))
            .collect();
        for some in gone.chunks(AT_ONCE) {
            self.objects.change(|change| {
                some.iter().for_each(|(cpu, _)| change.remove(*cpu));
                Ok(())
            })?;
        }
        let (address, bios) = (address(), bios_strings());
        let info = cpu_info(&processors);
        let free = i64::try_from(lock(&self.memory).available()).unwrap_or(i64::MAX);
        self.objects.change(|change| {
            let mut host: Host = change.get(self.host)?;
            self.describe(&mut host);
            host.host_cpus = records.iter().map(|(cpu, _)| *cpu).collect();
            host.cpu_info.clone_from(&info);
            host.cpu_configuration = [("nr_cpus".to_owned(), processors.len().to_string())].into();
            host.address.clone_from(&address);
            host.bios_strings.clone_from(&bios);
            let metrics = host.metrics;
            let mut measured: HostMetrics = change.get(metrics)?;
            measured.memory_free = free;
            change.put(metrics, &measured)?;
            let mut pool: Pool = change.get(self.pool)?;
            let shared = ["cpu_count", "socket_count", "vendor", "features"];
            pool.cpu_info =
                shared.iter().filter_map(|key| Some(((*key).to_owned(), info.get(*key)?.clone()))).collect();
            // What clients ask for; the other restrictions follow from the edition.
            pool.restrictions.insert("restrict_vtpm".to_owned(), "true".to_owned());
            change.put(self.pool, &pool)?;
            change.put(self.host, &host)
        })
    }

    /// What does not depend on the machine.
    fn describe(&self, host: &mut Host) {
        let text = |value: &str| value.to_owned();
        let ours = env!("CARGO_PKG_VERSION");
        (host.api_version_major, host.api_version_minor) = API_VERSION;
        host.api_version_vendor = text("xvirt");
        host.api_version_vendor_implementation = [(text("version"), text(ours))].into();
        let short = PRODUCT_VERSION.rsplit_once('.').map_or(PRODUCT_VERSION, |(short, _)| short);
        host.software_version = BTreeMap::from([
            (text("product_version"), text(PRODUCT_VERSION)),
            (text("product_version_text"), text(short)),
            (text("product_version_text_short"), text(short)),
            (text("product_brand"), text("xvirt")),
            (text("build_number"), text(ours)),
            (text("xapi"), text(SERVICE_VERSION)),
            (text("linux"), text(self.report.kernel())),
            (text("xvirt"), text(ours)),
        ]);
        host.capabilities = vec![text("hvm-3.0-x86_64")];
        host.allowed_operations = allowed::HOST.to_vec();
        host.memory_overhead = i64::try_from(self.options.memory_reserve).unwrap_or(i64::MAX);
        let now = self.now().unix();
        let since = i64::try_from(self.since_boot() / 1000).unwrap_or(0);
        host.other_config.insert(text("agent_start_time"), format!("{now}."));
        host.other_config.insert(text("boot_time"), format!("{}.", now.saturating_sub(since)));
    }

    fn cpu_records(&self, processors: &[Processor]) -> Vec<(Ref<HostCpu>, HostCpu)> {
        let host = self.host.uuid().unwrap_or_default();
        let record = |(number, processor): (i64, &Processor)| {
            let uuid: Uuid = companion(host, &format!("host_cpu {number}"));
            let get = |name: &str| processor.get(name).cloned().unwrap_or_default();
            let record = HostCpu {
                uuid: uuid.to_string(),
                host: self.host,
                number,
                vendor: get("vendor_id"),
                speed: mhz(&get("cpu MHz")),
                modelname: get("model name"),
                family: get("cpu family").parse().unwrap_or_default(),
                model: get("model").parse().unwrap_or_default(),
                stepping: get("stepping"),
                flags: get("flags"),
                ..HostCpu::default()
            };
            (Ref::new(uuid), record)
        };
        (0..).zip(processors).map(record).collect()
    }
}

/// A processor: the lines about it in `/proc/cpuinfo`.
type Processor = BTreeMap<String, String>;

fn processors(text: &str) -> Vec<Processor> {
    let lines = |block: &str| -> Processor {
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        block.lines().filter_map(pair).collect()
    };
    text.split("\n\n").map(lines).filter(|processor| processor.contains_key("processor")).collect()
}

/// The processors together.
fn cpu_info(processors: &[Processor]) -> BTreeMap<String, String> {
    let mut info = BTreeMap::new();
    let sockets: BTreeSet<_> = processors.iter().map(|processor| processor.get("physical id")).collect();
    info.insert("cpu_count".to_owned(), processors.len().to_string());
    info.insert("socket_count".to_owned(), sockets.len().to_string());
    for (key, name) in [
        ("vendor", "vendor_id"),
        ("modelname", "model name"),
        ("family", "cpu family"),
        ("model", "model"),
        ("stepping", "stepping"),
        ("flags", "flags"),
    ] {
        let value = processors.first().and_then(|processor| processor.get(name)).cloned();
        info.insert(key.to_owned(), value.unwrap_or_default());
    }
    let speed = processors.first().and_then(|processor| processor.get("cpu MHz"));
    info.insert("speed".to_owned(), speed.cloned().unwrap_or_default());
    info.insert("features".to_owned(), String::new());
    info
}

/// A speed as a whole number.
fn mhz(text: &str) -> i64 {
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or_default()
}

/// The address by which others reach this host: that from which it would send to the outside. Nothing is sent.
fn address() -> String {
    let chosen = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // An address that is nobody's (RFC 5737).
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    chosen.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// What the firmware says of the machine, as far as everybody may read it.
fn bios_strings() -> BTreeMap<String, String> {
    let files = [
        ("bios-vendor", "bios_vendor"),
        ("bios-version", "bios_version"),
        ("system-manufacturer", "sys_vendor"),
        ("system-product-name", "product_name"),
        ("system-version", "product_version"),
        ("baseboard-manufacturer", "board_vendor"),
        ("baseboard-product-name", "board_name"),
    ];
    let read = |(key, file): (&str, &str)| {
        let text = fs::read_to_string(format!("/sys/class/dmi/id/{file}")).ok()?;
        Some((key.to_owned(), text.trim().to_owned()))
    };
    files.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_as_the_kernel_lists_them() {
        let text = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu MHz\t\t: 2400.123\nphysical id\t: 0\nflags\t\t: fpu vme\n\n\
                    processor\t: 1\nvendor_id\t: GenuineIntel\nphysical id\t: 1\n\n";
        let found = processors(text);
        let info = cpu_info(&found);
        assert_eq!((info["cpu_count"].as_str(), info["socket_count"].as_str()), ("2", "2"));
        assert_eq!((info["vendor"].as_str(), info["flags"].as_str()), ("GenuineIntel", "fpu vme"));
        assert_eq!(mhz(&found[0]["cpu MHz"]), 2400);
        assert_eq!(cpu_info(&processors(""))["cpu_count"], "0");
    }
}
