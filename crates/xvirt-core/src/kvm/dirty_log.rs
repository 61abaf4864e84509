//! The log of guest memory that vCPUs and devices write.
//!
//! KVM logs what vCPUs write (Linux `Documentation/virt/kvm/api.rst`, `KVM_GET_DIRTY_LOG`, `KVM_CLEAR_DIRTY_LOG` and
//! `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2`), and the bitmap of guest memory what this process writes. Reading either clears
//! it, so a VM has one log at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kvm_bindings::{
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_INITIALLY_SET, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    KVM_MEM_LOG_DIRTY_PAGES, kvm_clear_dirty_log, kvm_clear_dirty_log__bindgen_ty_1, kvm_enable_cap,
};
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iowr_nr;

use super::vm::set_memory;
use super::{Vm, kvm_error};
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

/// `KVMIO` of Linux `include/uapi/linux/kvm.h`, which kvm-ioctls does not have with this call.
const KVMIO: u32 = 0xAE;
ioctl_iowr_nr!(KVM_CLEAR_DIRTY_LOG, KVMIO, 0xC0, kvm_clear_dirty_log);

const PAGE: u64 = 4096;

/// A running log, which stops when it is dropped.
#[derive(Debug)]
pub(crate) struct DirtyLog {
    vm: Arc<Vm>,
    ram: GuestRam,
    /// Pages that were read are protected again by a call of their own, so that most of them are never protected.
    manual: bool,
}

impl DirtyLog {
    /// Starts to log writes to `ram`, which is the memory of `vm`.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) if the VM has a log already.
    pub(crate) fn start(vm: Arc<Vm>, ram: GuestRam) -> Result<Self> {
        if vm.logged.swap(true, Ordering::AcqRel) {
            return Err(Error::new(ErrorKind::Busy, "the VM's memory is being tracked for another operation")
                .with_remedy("wait until the other migration or checkpoint has ended"));
        }
        let manual = enable_manual_protection(&vm.fd);
        let log = Self { vm, ram, manual };
        set_memory(&log.vm.fd, &log.ram, KVM_MEM_LOG_DIRTY_PAGES)?;
        // All pages count as written at first.
        log.take()?;
        Ok(log)
    }

    /// The pages that were written since the last call, or the start: for each region of memory a bitmap, with the lowest
    /// bit of the first word for its first page. A write after the call counts for the next call.
    pub(crate) fn take(&self) -> Result<Vec<Vec<u64>>> {
        self.ram
            .iter()
            .enumerate()
            .map(|(slot, region)| {
                let mut pages = self
                    .vm
                    .fd
                    .get_dirty_log(slot as u32, region.len() as usize)
                    .map_err(|e| kvm_error("cannot read which memory the guest has written", e))?;
                if self.manual {
                    self.protect(slot as u32, region.len() / PAGE, &mut pages)?;
                }
                let written_by_devices = region.get_mmap().bitmap().get_and_reset();
                pages.iter_mut().zip(written_by_devices).for_each(|(page, device)| *page |= device);
                Ok(pages)
            })
            .collect()
    }

    /// Logs the next write to each of these pages.
    fn protect(&self, slot: u32, count: u64, pages: &mut [u64]) -> Result<()> {
        let clear = kvm_clear_dirty_log {
            slot,
            num_pages: count as u32,
            first_page: 0,
            __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 { dirty_bitmap: pages.as_mut_ptr().cast() },
        };
        // SAFETY: the kernel reads a bit for each of the slot's pages, for which get_dirty_log has made this bitmap.
        if unsafe { ioctl_with_ref(&*self.vm.fd, KVM_CLEAR_DIRTY_LOG(), &clear) } != 0 {
            return Err(kvm_error("cannot track which memory the guest writes", kvm_ioctls::Error::last()));
        }
        Ok(())
    }
}

impl Drop for DirtyLog {
    fn drop(&mut self) {
        // Otherwise the guest only runs slower.
        if let Err(error) = set_memory(&self.vm.fd, &self.ram, 0) {
            tracing::warn!(%error, "the guest's memory is still tracked");
        }
        self.vm.logged.store(false, Ordering::Release);
    }
}

/// `false` if this kernel has it not (before Linux 5.2), or not with all pages set at first (before 5.8).
fn enable_manual_protection(fd: &VmFd) -> bool {
    let flags = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
    let cap =
        kvm_enable_cap { cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, args: [flags.into(), 0, 0, 0], ..Default::default() };
    fd.enable_cap(&cap).is_ok()
}
