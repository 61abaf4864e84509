//! Counts the reasons for which vCPUs leave the guest.

use std::sync::atomic::{AtomicU64, Ordering};

use kvm_ioctls::VcpuExit;

/// The counters of one vCPU, in a cache line of their own: counting on one vCPU must not slow down others.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Exits {
    port_reads: AtomicU64,
    port_writes: AtomicU64,
    memory_reads: AtomicU64,
    memory_writes: AtomicU64,
    halts: AtomicU64,
    interrupted: AtomicU64,
    others: AtomicU64,
}

/// The values of one vCPU's counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitCounts {
    pub(crate) port_reads: u64,
    pub(crate) port_writes: u64,
    pub(crate) memory_reads: u64,
    pub(crate) memory_writes: u64,
    pub(crate) halts: u64,
    pub(crate) interrupted: u64,
    pub(crate) others: u64,
}

impl Exits {
    pub(super) fn count(&self, exit: &Result<VcpuExit<'_>, kvm_ioctls::Error>) {
        let counter = match exit {
            Ok(VcpuExit::IoIn(..)) => &self.port_reads,
            Ok(VcpuExit::IoOut(..)) => &self.port_writes,
            Ok(VcpuExit::MmioRead(..)) => &self.memory_reads,
            Ok(VcpuExit::MmioWrite(..)) => &self.memory_writes,
            Ok(VcpuExit::Hlt) => &self.halts,
            Ok(VcpuExit::Intr) => &self.interrupted,
            Err(error) if error.errno() == libc::EINTR => &self.interrupted,
            _ => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> ExitCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExitCounts {
            port_reads: read(&self.port_reads),
            port_writes: read(&self.port_writes),
            memory_reads: read(&self.memory_reads),
            memory_writes: read(&self.memory_writes),
            halts: read(&self.halts),
            interrupted: read(&self.interrupted),
            others: read(&self.others),
        }
    }
}
