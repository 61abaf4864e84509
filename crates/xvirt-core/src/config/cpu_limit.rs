//! How much of the host's processors a VM may take.

use serde::{Deserialize, Serialize};

use super::{MAX_VCPUS, invalid};
use crate::Result;

/// The weights that there are, as cgroups count them.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// The largest cap: all of the vCPUs that a VM can have.
const MAX_CAP: u32 = 100 * MAX_VCPUS;

/// What the vCPUs of a VM may take of the host's processors together. Devices are not counted.
///
/// These are XenServer's `VCPUs-params:weight` and `:cap`. A weight says what a VM gets when VMs want more than there is:
/// one of twice the weight gets twice as much. It is counted as Linux does, where 100 is usual; Xen's usual weight is
/// 256, so multiply one of Xen's by 100/256. A cap says what it gets at most, however idle the host is, in percent of
/// one physical processor, as Xen does: 50 is half of one, 200 is two.
///
/// Both need a control group for the VM: see [`Vm::set_cpu_limit`](crate::vm::Vm::set_cpu_limit) for what that takes.
/// Where nothing is asked for there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuLimit {
    /// 1 to 10000; 100 where this is absent.
    pub weight: Option<u32>,
    /// In percent of one processor; 0 is no cap.
    pub cap: u32,
}

impl CpuLimit {
    /// No cap, and the usual weight.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the weight.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets the cap, in percent of one processor.
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
