//! The options of programs that boot a Debian disk.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use xvirt_core::config::{Boot, ByteSize};
use xvirt_core::host::{Host, KvmStatus};

use crate::Result;

/// The disk to boot, and how.
#[derive(Debug, Args)]
pub struct GuestOptions {
    /// The root disk, whose system runs qemu-guest-agent (scripts/debian-disk makes one)
    #[arg(long, value_name = "FILE")]
    pub disk: PathBuf,
    /// Memory of each VM
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: ByteSize,
    /// Added to the kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    append: String,
    /// How long each step in the guest may take, in seconds
    #[arg(long, value_name = "S", default_value_t = 180)]
    timeout: u32,
}

impl GuestOptions {
    /// The boot source of the VM: the kernel that its disk's boot menu names.
    pub fn boot(&self) -> Boot {
        Boot::from_disk().command_line(&self.append)
    }

    /// How long each step in the guest may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

/// This host, if stock kernels run on it.
///
/// # Errors
/// It has no KVM, or no hardware virtualization; the message states the remedy.
pub fn host_of_stock_kernels() -> Result<Host> {
    let host = Host::probe()?;
    host.require_kvm()?;
    if matches!(host.kvm(), KvmStatus::Emulated { .. }) {
        return Err("this host's KVM has no hardware virtualization, so it cannot run a stock kernel; \
                    run it on the test host: scripts/testhost -- PROGRAM"
            .into());
    }
    Ok(host)
}
