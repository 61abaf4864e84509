//! Limits on a VM's host CPU time.

use serde::{Deserialize, Serialize};

use super::{MAX_VCPUS, invalid};
use crate::Result;

/// The valid weights of a control group.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// The largest cap, for the most vCPUs of a VM.
const MAX_CAP: u32 = 100 * MAX_VCPUS;

/// A limit on the host CPU time of all vCPUs of a VM together. Device threads are not included.
///
/// These are XenServer's `VCPUs-params:weight` and `:cap`. The weight is relative: when VMs compete for CPU time, a VM
/// with twice the weight gets twice as much. It uses Linux's scale, with a default of 100; Xen's default is 256, so
/// multiply a weight from Xen by 100/256. The cap is absolute, in percent of one physical CPU as in Xen: 50 is half a
/// CPU, 200 is two.
///
/// Both need a control group for the VM; [`Vm::set_cpu_limit`](crate::vm::Vm::set_cpu_limit) lists the requirements.
/// Without limits, the VM gets no control group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuLimit {
    /// 1 to 10000; 100 if absent.
    pub weight: Option<u32>,
    /// In percent of one CPU; 0 means no cap.
    pub cap: u32,
}

impl CpuLimit {
    /// No cap, and the default weight.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets the cap, in percent of one CPU.
    #[must_use]
    pub fn cap(mut self, percent: u32) -> Self {
        self.cap = percent;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(weight) = self.weight.filter(|weight| !WEIGHTS.contains(weight)) {
            let what = format!("a VM cannot have a CPU weight of {weight}");
            return Err(invalid(what, "use 1 to 10000; 100 is usual"));
        }
        if self.cap > MAX_CAP {
            let what = format!("a VM cannot have a CPU cap of {} percent", self.cap);
            return Err(invalid(what, &format!("use 1 to {MAX_CAP}, where 100 is one processor, or 0 for no cap")));
        }
        Ok(())
    }
}
