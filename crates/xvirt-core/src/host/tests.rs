//! Whole hosts, real and simulated.

use std::fs;
use std::path::Path;

use super::root::HostRoot;
use super::*;

/// A host with one AMD processor, two NUMA nodes, huge pages, and no KVM.
fn made_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        (
            "proc/cpuinfo",
            "processor : 0\nvendor_id : AuthenticAMD\nmodel name : AMD EPYC\nphysical id : 0\ncore id : 0\n\
             flags : fpu svm\n\nprocessor : 1\nphysical id : 0\ncore id : 0\nflags : fpu svm\n",
        ),
        ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   12582912 kB\n"),
        ("proc/sys/kernel/osrelease", "6.12.1\n"),
        ("sys/devices/system/node/node0/x", ""),
        ("sys/devices/system/node/node1/x", ""),
        ("sys/devices/system/node/online", "0-1\n"),
        ("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "2\n"),
        ("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n"),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n"),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ];
    for (path, content) in files {
        write(folder.path(), path, content);
    }
    folder
}

fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn this_host_is_probed() {
    let host = Host::probe().unwrap();
    assert!(host.cpus().logical >= host.cpus().cores && host.cpus().cores >= host.cpus().sockets);
    assert!(host.memory().total >= host.memory().available && host.memory().available > 0);
    assert!(!host.kernel().is_empty());
    // Each feature that is not ready has a problem.
    let wanting = [host.io_uring(), host.userfaultfd()].iter().filter(|found| **found != Availability::Ready).count()
        + usize::from(!matches!(host.kvm(), KvmStatus::Ready { .. }));
    assert_eq!(host.problems().len(), wanting);
    let usable = host.kvm().capabilities().is_some();
    assert_eq!(host.require_kvm().is_ok(), usable);
}

#[test]
fn a_host_is_read_and_told_to_both_people_and_programs() {
    let folder = made_up();
    let mut host = Host::probe_at(&HostRoot::new(folder.path())).unwrap();
    assert_eq!(host.cpus().numa_nodes, 2);
    assert_eq!((host.memory().total, host.memory().available), (16 << 30, 12 << 30));
    // These two depend on the kernel that runs the test.
    (host.io_uring, host.userfaultfd) = (Availability::Ready, Availability::Denied);
    host.problems.truncate(1);
    assert_eq!(
        host.to_string(),
        "Kernel        6.12.1\n\
         KVM           absent\n\
         Processors    AMD EPYC (AuthenticAMD): 2 logical, 1 core, 1 socket, 2 NUMA nodes; AMD-V\n\
         Memory        16 GiB total, 12 GiB available; transparent huge pages: madvise\n\
         Pages 2 MiB   500 of 512 free\n\
         Pages 1 GiB   1 of 2 free\n\
         io_uring      ready\n\
         userfaultfd   denied\n\
         \n\
         Problem:      there is no KVM: its kernel module is not loaded\n\
         Consequence:  no VM can start\n\
         Remedy:       load the module: modprobe kvm_amd (if it refuses, virtualization is off in the firmware; \
         dmesg says so); in a container load it on the host and pass --device /dev/kvm\n"
    );
    let json = serde_json::to_value(&host).unwrap();
    assert_eq!(json["kvm"], serde_json::json!({ "status": "absent", "cause": "not-loaded" }));
    assert_eq!(json["memory"]["huge_pages"][1]["page_size"], 1 << 30);
    assert_eq!(json["userfaultfd"], "denied");
    let read: Host = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
}

#[test]
fn requiring_kvm_gives_the_kind_and_the_remedy() {
    let folder = made_up();
    let host = Host::probe_at(&HostRoot::new(folder.path())).unwrap();
    let error = host.require_kvm().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KvmAbsent);
    assert!(
        error.to_string().starts_with("there is no KVM: its kernel module is not loaded; load the module"),
        "{error}"
    );

    // A regular file instead of the device.
    write(folder.path(), "dev/kvm", "");
    let host = Host::probe_at(&HostRoot::new(folder.path())).unwrap();
    let error = host.require_kvm().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnsupported);
    assert!(error.to_string().starts_with("KVM does not work: /dev/kvm is not a KVM device"), "{error}");

    let denied = Host { kvm: KvmStatus::Denied, ..host };
    assert_eq!(denied.require_kvm().unwrap_err().kind(), ErrorKind::KvmDenied);
}

#[test]
fn kvm_is_asked_once_for_the_cpuid_that_it_supports() {
    let folder = made_up();
    let host = Host::probe_at(&HostRoot::new(folder.path())).unwrap();
    let failed = host.supported_cpuid(|| Err(Error::new(ErrorKind::Io, "not now")));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    let first = host.supported_cpuid(|| Ok(CpuId::new(3).unwrap())).unwrap();
    let copy = host.clone();
    for host in [&host, &copy] {
        let known = host.supported_cpuid(|| panic!("KVM is asked again")).unwrap();
        assert_eq!(known, first);
    }
}
