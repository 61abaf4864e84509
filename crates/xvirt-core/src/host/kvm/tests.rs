//! Simulated hosts of each kind.

use kvm_bindings as bindings;

use super::*;

const INTEL: &str = "processor : 0\nflags : fpu vmx\n";
const AMD: &str = "processor : 0\nflags : fpu svm\n";
const NONE: &str = "processor : 0\nflags : fpu\n";
const NONE_IN_VM: &str = "processor : 0\nflags : fpu hypervisor\n";

fn host(cpuinfo: &str, modules: &[&str]) -> (tempfile::TempDir, HostRoot, Cpus) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["proc", "dev", "etc", "sys/module"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("proc/cpuinfo"), cpuinfo).unwrap();
    for module in modules {
        fs::create_dir(folder.path().join("sys/module").join(module)).unwrap();
    }
    let root = HostRoot::new(folder.path());
    let cpus = Cpus::probe(&root).unwrap();
    (folder, root, cpus)
}

fn everything(_: u32) -> i32 {
    1
}

fn judged(cpuinfo: &str, modules: &[&str], answers: &Answers<'_>) -> (KvmStatus, String) {
    let (_folder, root, cpus) = host(cpuinfo, modules);
    let status = judge(&root, &cpus, answers);
    let problem = status.problem(&root, &cpus).map(|problem| problem.to_string()).unwrap_or_default();
    (status, problem)
}

fn refused(cpuinfo: &str, modules: &[&str], errno: Errno) -> (KvmStatus, String) {
    let (_folder, root, cpus) = host(cpuinfo, modules);
    let status = not_opened(&root, &cpus, errno);
    let problem = status.problem(&root, &cpus).unwrap().to_string();
    (status, problem)
}

#[test]
fn hardware_with_its_module_is_ready() {
    let answers = Answers { api_version: 12, extension: &everything, vm: Ok(()) };
    for (cpuinfo, module) in [(INTEL, "kvm_intel"), (AMD, "kvm_amd")] {
        let (status, problem) = judged(cpuinfo, &["kvm", module], &answers);
        assert!(matches!(status, KvmStatus::Ready { .. }), "{status:?}");
        assert_eq!(problem, "");
    }
    // A container may hide /sys.
    assert!(matches!(judged(AMD, &[], &answers).0, KvmStatus::Ready { .. }));
}

#[test]
fn a_kvm_without_hardware_says_so() {
    let answers = Answers { api_version: 12, extension: &everything, vm: Ok(()) };
    let (status, problem) = judged(NONE_IN_VM, &["kvm", "kvm_pvm"], &answers);
    assert!(matches!(&status, KvmStatus::Emulated { module: Some(module), .. } if module == "kvm_pvm"));
    assert!(status.capabilities().is_some());
    assert_eq!(
        problem,
        "KVM works without hardware virtualization (kvm_pvm): guests run orders of magnitude slower, and those that \
         need SSE or x87 do not start; this host is itself a VM: enable nested virtualization for it where it runs \
         (on KVM: modprobe kvm_intel or kvm_amd with nested=1, and pass the host's CPU model)"
    );
    // The hardware exists, but another module is in use.
    assert!(matches!(judged(AMD, &["kvm", "kvm_pvm"], &answers).0, KvmStatus::Emulated { .. }));
    // A built-in module is listed even without the hardware.
    let (status, problem) = judged(NONE, &["kvm", "kvm_intel"], &answers);
    assert!(matches!(status, KvmStatus::Emulated { module: None, .. }), "{status:?}");
    assert!(problem.ends_with("enable VT-x or AMD-V (SVM) in the firmware's setup"), "{problem}");
}

#[test]
fn an_old_kvm_names_what_it_lacks() {
    let old = |cap| i32::from(![bindings::KVM_CAP_IMMEDIATE_EXIT, bindings::KVM_CAP_SIGNAL_MSI].contains(&cap));
    let (status, problem) = judged(INTEL, &["kvm_intel"], &Answers { api_version: 12, extension: &old, vm: Ok(()) });
    let missing = vec!["signal_msi".to_owned(), "immediate_exit".to_owned()];
    assert_eq!(status, KvmStatus::TooOld { api_version: 12, missing });
    assert_eq!(
        problem,
        "KVM is too old: it lacks signal_msi, immediate_exit: no VM can start; use Linux 5.10 or newer"
    );
    let answers = Answers { api_version: 10, extension: &everything, vm: Ok(()) };
    let (_, problem) = judged(INTEL, &["kvm_intel"], &answers);
    assert_eq!(problem, "KVM has API level 10, not 12: no VM can start; use Linux 5.10 or newer");
}

#[test]
fn a_kvm_that_does_not_work_says_why() {
    let answers = Answers { api_version: 12, extension: &everything, vm: Err(Errno::BUSY) };
    let (status, problem) = judged(INTEL, &["kvm_intel"], &answers);
    assert!(matches!(status, KvmStatus::Failed { .. }));
    assert!(problem.starts_with("KVM does not work: it cannot create a VM: "), "{problem}");
    assert!(problem.contains("stop other hypervisors (VirtualBox, VMware)"), "{problem}");
    let answers = Answers { api_version: -1, extension: &everything, vm: Err(Errno::NOTTY) };
    let (_, problem) = judged(INTEL, &["kvm_intel"], &answers);
    assert!(problem.starts_with("KVM does not work: /dev/kvm is not a KVM device"), "{problem}");
}

#[test]
fn each_way_to_have_no_kvm_has_its_remedy() {
    for (cpuinfo, modules, errno, cause, part) in [
        (INTEL, &[][..], Errno::NOENT, KvmAbsence::NotLoaded, "modprobe kvm_intel"),
        (AMD, &[], Errno::NODEV, KvmAbsence::NotLoaded, "modprobe kvm_amd"),
        (AMD, &["kvm", "kvm_amd"], Errno::NOENT, KvmAbsence::NoDevice, "in a container pass --device /dev/kvm"),
        (NONE, &[], Errno::NOENT, KvmAbsence::NoHardware, "enable VT-x or AMD-V (SVM) in the firmware's setup"),
        (NONE_IN_VM, &[], Errno::NXIO, KvmAbsence::NoHardware, "enable nested virtualization"),
    ] {
        let (status, problem) = refused(cpuinfo, modules, errno);
        assert_eq!(status, KvmStatus::Absent { cause });
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_denied_kvm_names_the_group_that_helps() {
    let (status, problem) = refused(AMD, &["kvm_amd"], Errno::PERM);
    assert_eq!(status, KvmStatus::Denied);
    assert_eq!(problem, "this process may not open /dev/kvm: no VM can start; in a container pass --device /dev/kvm");

    let (folder, root, cpus) = host(AMD, &["kvm_amd"]);
    let device = folder.path().join("dev/kvm");
    fs::write(&device, "").unwrap();
    let gid = fs::metadata(&device).unwrap().gid();
    fs::write(folder.path().join("etc/group"), format!("adm:x:98765:\nvirt:x:{gid}:\n")).unwrap();
    let text = || KvmStatus::Denied.problem(&root, &cpus).unwrap().to_string();
    let mode = |mode| fs::set_permissions(&device, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o660);
    assert!(text().contains("add the user to group virt: usermod -aG virt USER, then log in again"), "{}", text());
    mode(0o600);
    assert!(text().contains("chgrp kvm /dev/kvm && chmod 660 /dev/kvm"), "{}", text());
}

#[test]
fn a_vm_is_tried_only_beside_another_hypervisor_or_unknown_modules() {
    for (modules, tried) in [
        (&["kvm", "kvm_intel"][..], false),
        (&["kvm", "kvm_intel", "vboxdrv"], true),
        (&["kvm", "kvm_amd", "vmmon"], true),
        (&[], true),
    ] {
        let (_folder, root, _) = host(INTEL, modules);
        assert_eq!(may_be_held(&root), tried, "{modules:?}");
    }
}
