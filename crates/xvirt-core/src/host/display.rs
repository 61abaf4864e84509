//! Prints the report as a table.

use std::fmt;

use super::kvm::{KvmCapabilities, KvmStatus};
use super::memory::Memory;
use super::{Cpus, Host};

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<14}{value}");
        row("Kernel", &self.kernel)?;
        row("KVM", &self.kvm)?;
        if let Some(capabilities) = self.kvm.capabilities() {
            row("", capabilities)?;
        }
        row("Processors", &self.cpus)?;
        row("Memory", &self.memory)?;
        for pool in &self.memory.huge_pages {
            let value = format!("{} of {} free", pool.free, pool.total);
            row(&format!("Pages {}", Bytes(pool.page_size)), &value)?;
        }
        row("io_uring", &self.io_uring)?;
        row("userfaultfd", &self.userfaultfd)?;
        for problem in &self.problems {
            writeln!(f, "\nProblem:      {}", problem.what)?;
            writeln!(f, "Consequence:  {}", problem.consequence)?;
            writeln!(f, "Remedy:       {}", problem.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Display for KvmStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { .. } => f.write_str("ready"),
            Self::Emulated { module: Some(module), .. } => write!(f, "ready, but emulated by {module}"),
            Self::Emulated { module: None, .. } => f.write_str("ready, but emulated"),
            Self::Denied => f.write_str("denied"),
            Self::Absent { .. } => f.write_str("absent"),
            Self::TooOld { .. } => f.write_str("too old"),
            Self::Failed { .. } => f.write_str("does not work"),
        }
    }
}

impl fmt::Display for KvmCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API {}, up to {} vCPUs ({} recommended)", self.api_version, self.max_vcpus, self.recommended_vcpus)?;
        let optional = [
            ("x2apic", self.x2apic_api),
            ("dirty log", self.dirty_log),
            ("dirty ring", self.dirty_ring > 0),
            ("MSR filter", self.msr_filter),
            ("xsave2", self.xsave2 > 0),
            ("TSC control", self.tsc_control),
            ("nested state", self.nested_state),
            ("guest_memfd", self.guest_memfd),
        ];
        let named =
            |wanted| optional.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect::<Vec<_>>();
        let (with, without) = (named(true), named(false));
        if !with.is_empty() {
            write!(f, "; with {}", with.join(", "))?;
        }
        if !without.is_empty() {
            write!(f, "; without {}", without.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {} logical, {}, {}, {}; {}",
            self.model,
            self.vendor,
            self.logical,
            Count(self.cores, "core"),
            Count(self.sockets, "socket"),
            Count(self.numa_nodes, "NUMA node"),
            match self.virtualization.as_deref() {
                Some("vmx") => "VT-x",
                Some("svm") => "AMD-V",
                _ => "no virtualization",
            }
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thp = self.transparent_huge_pages.as_deref().unwrap_or("absent");
        write!(f, "{} total, {} available; transparent huge pages: {thp}", Bytes(self.total), Bytes(self.available))
    }
}

struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A size in the largest unit in which it is at least 1.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB"];
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while size >= 1024.0 && unit + 1 < units.len() {
            size /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(size.fract() >= 0.05);
        write!(f, "{size:.digits$} {}", units[unit])
    }
}
