//! Probes whether KVM works, and its capabilities.

mod capabilities;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use kvm_ioctls::Kvm;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::cpu::Cpus;
use super::problem::HostProblem;
use super::root::HostRoot;
use capabilities::REQUIRED;

pub use capabilities::KvmCapabilities;

/// The API version of every KVM since Linux 2.6.22; there is no other.
const API_VERSION: i32 = 12;

/// Whether and how well VMs can run on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KvmStatus {
    /// KVM works with hardware virtualization.
    Ready {
        /// The capabilities of KVM.
        capabilities: KvmCapabilities,
    },
    /// KVM works without hardware virtualization: orders of magnitude slower, and not every guest starts.
    Emulated {
        /// The kernel module that replaces the hardware, if it was detected.
        module: Option<String>,
        /// The capabilities of KVM.
        capabilities: KvmCapabilities,
    },
    /// KVM exists, but this process lacks the permission to use it.
    Denied,
    /// There is no KVM.
    Absent {
        /// The reason.
        cause: KvmAbsence,
    },
    /// KVM lacks required capabilities.
    TooOld {
        /// The API version; xvirt requires 12.
        api_version: i32,
        /// The missing capabilities, by name in [`KvmCapabilities`].
        missing: Vec<String>,
    },
    /// KVM exists and this process may use it, but it does not work.
    Failed {
        /// The error of KVM.
        reason: String,
    },
}

/// Why a host has no KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KvmAbsence {
    /// The CPU does not report support for virtualization.
    NoHardware,
    /// The kernel module is not loaded.
    NotLoaded,
    /// The module is loaded, but there is no `/dev/kvm`, as in many containers.
    NoDevice,
}

/// The answers of an open KVM, or of a fake one in tests.
struct Answers<'a> {
    api_version: i32,
    extension: &'a dyn Fn(u32) -> i32,
    /// The result of creating a VM, if that was tried.
    vm: Result<(), Errno>,
}

impl KvmStatus {
    /// The capabilities of KVM, if it can be used.
    pub fn capabilities(&self) -> Option<&KvmCapabilities> {
        match self {
            Self::Ready { capabilities } | Self::Emulated { capabilities, .. } => Some(capabilities),
            _ => None,
        }
    }

    pub(super) fn probe(root: &HostRoot, cpus: &Cpus, problems: &mut Vec<HostProblem>) -> Self {
        let path = CString::new(root.path("dev/kvm").as_os_str().as_bytes()).unwrap_or_default();
        let status = match Kvm::new_with_path(path) {
            Err(error) => not_opened(root, cpus, Errno::from_raw_os_error(error.errno())),
            Ok(kvm) => Self::of(&kvm, root, cpus),
        };
        problems.extend(status.problem(root, cpus));
        status
    }

    /// What an open KVM can do.
    pub(super) fn of(kvm: &Kvm, root: &HostRoot, cpus: &Cpus) -> Self {
        let answers = Answers {
            api_version: kvm.get_api_version(),
            extension: &|cap| kvm.check_extension_raw(cap.into()),
            vm: match may_be_held(root) {
                true => kvm.create_vm().map(drop).map_err(|error| Errno::from_raw_os_error(error.errno())),
                false => Ok(()),
            },
        };
        judge(root, cpus, &answers)
    }

    pub(super) fn problem(&self, root: &HostRoot, cpus: &Cpus) -> Option<HostProblem> {
        let no_vm = "no VM can start";
        Some(match self {
            Self::Ready { .. } => return None,
            Self::Emulated { module, .. } => {
                let by = module.as_ref().map(|module| format!(" ({module})")).unwrap_or_default();
                HostProblem::new(
                    format!("KVM works without hardware virtualization{by}"),
                    "guests run orders of magnitude slower, and those that need SSE or x87 do not start",
                    no_hardware(cpus),
                )
            }
            Self::Denied => HostProblem::new("this process may not open /dev/kvm", no_vm, denied(root)),
            Self::Absent { cause: KvmAbsence::NoHardware } => HostProblem::new(
                "there is no KVM: the processor shows neither VT-x nor AMD-V",
                no_vm,
                no_hardware(cpus),
            ),
            Self::Absent { cause: KvmAbsence::NotLoaded } => {
                let module = if cpus.virtualization.as_deref() == Some("svm") { "kvm_amd" } else { "kvm_intel" };
                HostProblem::new(
                    "there is no KVM: its kernel module is not loaded",
                    no_vm,
                    format!(
                        "load the module: modprobe {module} (if it refuses, virtualization is off in the firmware; \
                         dmesg says so); in a container load it on the host and pass --device /dev/kvm"
                    ),
                )
            }
            Self::Absent { cause: KvmAbsence::NoDevice } => HostProblem::new(
                "KVM is loaded, but there is no /dev/kvm",
                no_vm,
                "in a container pass --device /dev/kvm; elsewhere mknod /dev/kvm c 10 232",
            ),
            Self::TooOld { api_version, missing } if missing.is_empty() => HostProblem::new(
                format!("KVM has API level {api_version}, not {API_VERSION}"),
                no_vm,
                "use Linux 5.10 or newer",
            ),
            Self::TooOld { missing, .. } => HostProblem::new(
                format!("KVM is too old: it lacks {}", missing.join(", ")),
                no_vm,
                "use Linux 5.10 or newer",
            ),
            Self::Failed { reason } => HostProblem::new(
                format!("KVM does not work: {reason}"),
                no_vm,
                "stop other hypervisors (VirtualBox, VMware) that use hardware virtualization, and check the kernel log: dmesg",
            ),
        })
    }
}

fn not_opened(root: &HostRoot, cpus: &Cpus, errno: Errno) -> KvmStatus {
    match errno {
        Errno::ACCESS | Errno::PERM => KvmStatus::Denied,
        // A device node without a driver yields NODEV or NXIO.
        Errno::NOENT | Errno::NODEV | Errno::NXIO => KvmStatus::Absent {
            cause: if errno == Errno::NOENT && stand_in(root).or(hardware_module(root)).is_some() {
                KvmAbsence::NoDevice
            } else if cpus.virtualization.is_some() {
                KvmAbsence::NotLoaded
            } else {
                KvmAbsence::NoHardware
            },
        },
        other => KvmStatus::Failed { reason: format!("cannot open /dev/kvm: {other}") },
    }
}

fn judge(root: &HostRoot, cpus: &Cpus, answers: &Answers<'_>) -> KvmStatus {
    let api_version = answers.api_version;
    if api_version < 0 {
        return KvmStatus::Failed { reason: "/dev/kvm is not a KVM device".into() };
    }
    let missing: Vec<String> =
        REQUIRED.iter().filter(|(_, cap)| (answers.extension)(*cap) <= 0).map(|(name, _)| (*name).to_owned()).collect();
    if api_version != API_VERSION || !missing.is_empty() {
        return KvmStatus::TooOld { api_version, missing };
    }
    if let Err(errno) = answers.vm {
        return KvmStatus::Failed { reason: format!("it cannot create a VM: {errno}") };
    }
    let capabilities = KvmCapabilities::ask(api_version, answers.extension);
    let module = stand_in(root);
    // Without the CPU flag there is no hardware virtualization; with it, KVM may still use another back end. Modules
    // alone prove nothing: built-in modules are listed even if they found no hardware.
    if cpus.virtualization.is_none() || module.is_some() && hardware_module(root).is_none() {
        KvmStatus::Emulated { module, capabilities }
    } else {
        KvmStatus::Ready { capabilities }
    }
}

/// The module for the hardware, if it is loaded or built in.
fn hardware_module(root: &HostRoot) -> Option<String> {
    ["kvm_intel", "kvm_amd"].into_iter().find(|name| root.exists(&format!("sys/module/{name}"))).map(Into::into)
}

/// Whether another hypervisor may hold the hardware, so that KVM is there but cannot create a VM. Only trying shows that,
/// and takes as long as the rest of the probe.
fn may_be_held(root: &HostRoot) -> bool {
    let modules = root.names("sys/module");
    // A container may hide the modules.
    modules.is_empty() || ["vboxdrv", "vmmon"].into_iter().any(|other| modules.iter().any(|module| module == other))
}

/// A module that replaces the hardware.
fn stand_in(root: &HostRoot) -> Option<String> {
    let known = ["kvm_intel", "kvm_amd"];
    root.names("sys/module").into_iter().find(|name| name.starts_with("kvm_") && !known.contains(&name.as_str()))
}

fn no_hardware(cpus: &Cpus) -> &'static str {
    if cpus.is_guest {
        "this host is itself a VM: enable nested virtualization for it where it runs \
         (on KVM: modprobe kvm_intel or kvm_amd with nested=1, and pass the host's CPU model)"
    } else {
        "enable VT-x or AMD-V (SVM) in the firmware's setup"
    }
}

/// The remedy depends on the group and mode of the device.
fn denied(root: &HostRoot) -> String {
    let Ok(found) = fs::metadata(root.path("dev/kvm")) else {
        return "in a container pass --device /dev/kvm".into();
    };
    let group = group_name(root, found.gid());
    match group {
        Some(group) if found.mode() & 0o060 == 0o060 && group != "root" => format!(
            "add the user to group {group}: usermod -aG {group} USER, then log in again; \
             in a container pass --device /dev/kvm and --group-add {}",
            found.gid()
        ),
        _ => "give the device to a group and add the user to it: chgrp kvm /dev/kvm && chmod 660 /dev/kvm && \
              usermod -aG kvm USER, then log in again; in a container pass --device /dev/kvm"
            .into(),
    }
}

fn group_name(root: &HostRoot, gid: u32) -> Option<String> {
    let groups = root.read("etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}
