//! Probes the host for what VMs need. Each problem names its remedy.
//!
//! [`Host::probe`] takes a snapshot. Each part of the report has its own file here. All of them read `/proc`, `/sys`
//! and `/dev` below a configurable root, so that tests can simulate any host.

mod cpu;
mod device;
mod display;
mod feature;
mod kvm;
mod memory;
mod problem;
mod reflink;
mod root;
mod syscall;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kvm_bindings::CpuId;
use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;
use crate::{Error, ErrorKind, Result};
use root::HostRoot;

pub use cpu::Cpus;
pub(crate) use device::open_kvm;
pub use feature::Availability;
pub use kvm::{KvmAbsence, KvmCapabilities, KvmStatus};
pub use memory::{HugePages, Memory};
pub use problem::HostProblem;

/// What a host offers to VMs, at the time of the probe.
///
/// `Display` prints a table for people, `Serialize` and `Deserialize` exchange the report with programs and other
/// hosts. Sizes are in bytes.
///
/// ```
/// let host = xvirt_core::host::Host::probe()?;
/// println!("{host}");
/// for problem in host.problems() {
///     eprintln!("{problem}");
/// }
/// # Ok::<(), xvirt_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    kernel: String,
    kvm: KvmStatus,
    cpus: Cpus,
    memory: Memory,
    io_uring: Availability,
    userfaultfd: Availability,
    problems: Vec<HostProblem>,
    /// An open `/dev/kvm`, if one was given.
    #[serde(skip)]
    device: Option<Descriptor>,
    /// The CPUID that KVM supports, once it was asked.
    #[serde(skip)]
    supported_cpuid: Arc<OnceLock<CpuId>>,
}

impl Host {
    /// Probes this host. Missing features, including KVM, are reported and are not errors.
    ///
    /// # Errors
    /// `HostUnsupported` if `/proc` cannot be read.
    pub fn probe() -> Result<Self> {
        Self::probe_at(&HostRoot::new("/"))
    }

    fn probe_at(root: &HostRoot) -> Result<Self> {
        let mut problems = Vec::new();
        let cpus = Cpus::probe(root)?;
        Ok(Self {
            kernel: root.word("proc/sys/kernel/osrelease").unwrap_or_default(),
            kvm: KvmStatus::probe(root, &cpus, &mut problems),
            memory: Memory::probe(root)?,
            io_uring: feature::io_uring(root, &mut problems),
            userfaultfd: feature::userfaultfd(root, &mut problems),
            cpus,
            problems,
            device: None,
            supported_cpuid: Arc::default(),
        })
    }

    /// Sets an open `/dev/kvm`, which VMs that are [built](crate::config::VmConfig::build) on this host use instead of
    /// opening the device, and updates the report with what it offers.
    ///
    /// A process that cannot open anything receives the descriptor, and the report of a [`probe`](Self::probe) as JSON,
    /// from another process.
    ///
    /// ```
    /// use std::fs::File;
    /// use xvirt_core::host::Host;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let report = serde_json::to_string(&Host::probe()?)?;
    /// // In the other process:
    /// let host: Host = serde_json::from_str(&report)?;
    /// if let Ok(device) = File::options().read(true).write(true).open("/dev/kvm") {
    ///     let host = host.with_kvm(device)?;
    ///     host.require_kvm()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` if the descriptor is not of `/dev/kvm`.
    pub fn with_kvm(mut self, device: impl Into<Descriptor>) -> Result<Self> {
        let device = device.into();
        let kvm = open_kvm(&device)?;
        let root = HostRoot::new("/");
        // The problem of KVM, if any, is the first.
        if self.kvm.problem(&root, &self.cpus).is_some() && !self.problems.is_empty() {
            self.problems.remove(0);
        }
        self.kvm = KvmStatus::of(&kvm, &root, &self.cpus);
        if let Some(problem) = self.kvm.problem(&root, &self.cpus) {
            self.problems.insert(0, problem);
        }
        self.device = Some(device);
        self.supported_cpuid = Arc::default();
        Ok(self)
    }

    /// The open `/dev/kvm`, where one was given.
    pub(crate) fn kvm_device(&self) -> Option<&Descriptor> {
        self.device.as_ref()
    }

    /// The CPUID that KVM supports. Asks KVM the first time only, because its answer takes longer than other parts of a
    /// start.
    pub(crate) fn supported_cpuid(&self, ask: impl FnOnce() -> Result<CpuId>) -> Result<CpuId> {
        match self.supported_cpuid.get() {
            Some(known) => Ok(known.clone()),
            None => ask().map(|cpuid| self.supported_cpuid.get_or_init(|| cpuid).clone()),
        }
    }

    /// The release of the running kernel.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Whether and how well VMs can run here.
    pub fn kvm(&self) -> &KvmStatus {
        &self.kvm
    }

    /// The processors.
    pub fn cpus(&self) -> &Cpus {
        &self.cpus
    }

    /// The memory and its page sizes.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether disks can use io_uring, found by a test.
    pub fn io_uring(&self) -> Availability {
        self.io_uring
    }

    /// Whether guest memory can be filled while the guest runs (userfaultfd), found by a test.
    pub fn userfaultfd(&self) -> Availability {
        self.userfaultfd
    }

    /// What is missing or slow, its consequences, and the remedies.
    pub fn problems(&self) -> &[HostProblem] {
        &self.problems
    }

    /// Whether files in the folder `dir` can share blocks (reflinks), so that copies of a disk take no time and no
    /// space. Tests this with two temporary files.
    ///
    /// # Errors
    /// `NotFound` or `InvalidConfig` if `dir` does not exist or is not a folder, `PermissionDenied` if it is not
    /// writable, `NoSpace` if it is full.
    pub fn reflink_support(&self, dir: impl AsRef<Path>) -> Result<bool> {
        reflink::supported(dir.as_ref())
    }

    /// Fails if no VM can run; the error names the remedy. KVM without hardware virtualization passes.
    ///
    /// # Errors
    /// `KvmAbsent`, `KvmDenied`, or `HostUnsupported` if KVM is too old or does not work.
    pub fn require_kvm(&self) -> Result<()> {
        let kind = match self.kvm {
            KvmStatus::Ready { .. } | KvmStatus::Emulated { .. } => return Ok(()),
            KvmStatus::Absent { .. } => ErrorKind::KvmAbsent,
            KvmStatus::Denied => ErrorKind::KvmDenied,
            KvmStatus::TooOld { .. } | KvmStatus::Failed { .. } => ErrorKind::HostUnsupported,
        };
        // KVM is probed first, so the first problem is KVM's.
        Err(match self.problems.first() {
            Some(problem) => Error::new(kind, problem.what.clone()).with_remedy(problem.remedy.clone()),
            None => Error::new(kind, "KVM cannot be used"),
        })
    }
}
