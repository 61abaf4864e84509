//! The host's processors.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::root::HostRoot;
use crate::{Error, ErrorKind, Result};

/// The online CPUs of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpus {
    /// The vendor according to CPUID: `GenuineIntel`, `AuthenticAMD`.
    pub vendor: String,
    /// The model name.
    pub model: String,
    /// The number of logical CPUs: the most vCPUs that can run simultaneously.
    pub logical: usize,
    /// The number of cores.
    pub cores: usize,
    /// The number of sockets.
    pub sockets: usize,
    /// The number of NUMA nodes; 1 if all memory is equally close.
    pub numa_nodes: usize,
    /// The hardware virtualization that the kernel sees: `vmx`, `svm`, or none.
    pub virtualization: Option<String>,
    /// Whether this host is itself a VM.
    pub is_guest: bool,
}

impl Cpus {
    pub(super) fn probe(root: &HostRoot) -> Result<Self> {
        let text = root.read("proc/cpuinfo").map_err(|source| {
            Error::new(ErrorKind::HostUnsupported, "cannot read /proc/cpuinfo")
                .because(source)
                .with_remedy("mount the process file system: mount -t proc proc /proc")
        })?;
        let nodes = root.names("sys/devices/system/node");
        let is_node = |name: &&String| {
            name.strip_prefix("node").is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
        };
        Ok(Self { numa_nodes: nodes.iter().filter(is_node).count().max(1), ..Self::parse(&text) })
    }

    fn parse(text: &str) -> Self {
        let (mut logical, mut cores, mut sockets) = (0, HashSet::new(), HashSet::new());
        let mut first = BTreeMap::new();
        for block in text.split("\n\n") {
            let fields: BTreeMap<&str, &str> =
                block.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim())).collect();
            let Some(number) = fields.get("processor") else { continue };
            logical += 1;
            // Without topology information, each CPU is a core of one socket.
            let socket = fields.get("physical id").copied().unwrap_or_default();
            sockets.insert(socket);
            cores.insert((socket, fields.get("core id").copied().unwrap_or(number)));
            if logical == 1 {
                first = fields;
            }
        }
        let field = |name: &str| first.get(name).map_or_else(|| "unknown".into(), |value| (*value).to_owned());
        let flag = |flag: &str| first.get("flags").is_some_and(|flags| flags.split(' ').any(|has| has == flag));
        Self {
            vendor: field("vendor_id"),
            model: field("model name"),
            logical,
            cores: cores.len(),
            sockets: sockets.len(),
            numa_nodes: 1,
            virtualization: ["vmx", "svm"].into_iter().find(|name| flag(name)).map(Into::into),
            is_guest: flag("hypervisor"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_cores_and_sockets_are_counted() {
        let mut text = String::new();
        for (processor, (socket, core)) in
            [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)].iter().enumerate()
        {
            text += &format!(
                "processor\t: {processor}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon: fast\nphysical id\t: {socket}\n\
                 core id\t\t: {core}\nflags\t\t: fpu vmx ssse3\n\n"
            );
        }
        let cpus = Cpus::parse(&text);
        assert_eq!((cpus.logical, cpus.cores, cpus.sockets), (8, 4, 2));
        assert_eq!((cpus.vendor.as_str(), cpus.model.as_str()), ("GenuineIntel", "Xeon: fast"));
        assert_eq!((cpus.virtualization.as_deref(), cpus.is_guest), (Some("vmx"), false));
    }

    #[test]
    fn a_kernel_without_topology_has_single_cores() {
        let cpus = Cpus::parse("processor : 0\nflags : svm hypervisor\n\nprocessor : 1\nflags : svm hypervisor\n");
        assert_eq!((cpus.logical, cpus.cores, cpus.sockets), (2, 2, 1));
        assert_eq!((cpus.virtualization.as_deref(), cpus.is_guest), (Some("svm"), true));
        assert_eq!(cpus.model, "unknown");
        assert_eq!(Cpus::parse("").logical, 0);
    }

    #[test]
    fn a_host_without_proc_is_told_to_mount_it() {
        let error = Cpus::probe(&HostRoot::new("/no/such/root")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnsupported);
        assert_eq!(
            error.to_string(),
            "cannot read /proc/cpuinfo: No such file or directory (os error 2); \
             mount the process file system: mount -t proc proc /proc"
        );
    }
}
