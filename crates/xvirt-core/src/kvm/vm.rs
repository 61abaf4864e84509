//! A KVM virtual machine: memory slots, in-kernel interrupt controllers, ioeventfds and vCPUs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip, kvm_msi,
    kvm_userspace_memory_region, kvm_xsave,
};
use kvm_ioctls::{Cap, IoEventAddress, NoDatamatch, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use super::{InterruptLine, Vcpu, kvm_error};
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

/// The three pages for real mode on Intel CPUs, below the firmware area at the top of 32-bit space.
const TSS_ADDRESS: usize = 0xFFFB_D000;
/// The page for the identity map on Intel CPUs.
const IDENTITY_MAP_ADDRESS: u64 = 0xFFFB_C000;

/// The legacy controllers and the I/O APIC.
const CONTROLLERS: [u32; 3] = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];

/// A KVM virtual machine.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(super) fd: Arc<VmFd>,
    /// Whether writes to memory are logged.
    pub(super) logged: AtomicBool,
}

impl Vm {
    pub(super) fn new(fd: VmFd, ram: &GuestRam) -> Result<Self> {
        // Before creating the interrupt controllers, because that starts a lazy RCU grace period in the kernel, and
        // setting the memory would wait several milliseconds for its end.
        set_memory(&fd, ram, 0)?;
        fd.set_tss_address(TSS_ADDRESS).map_err(|e| kvm_error("cannot place the task state segment", e))?;
        fd.set_identity_map_address(IDENTITY_MAP_ADDRESS).map_err(|e| kvm_error("cannot place the identity map", e))?;
        fd.create_irq_chip().map_err(|e| kvm_error("cannot create the interrupt controllers", e))?;
        Ok(Self { fd: Arc::new(fd), logged: AtomicBool::new(false) })
    }

    /// Creates the vCPU with this APIC id.
    pub(crate) fn create_vcpu(&self, id: u32) -> Result<Vcpu> {
        let fd =
            self.fd.create_vcpu(u64::from(id)).map_err(|e| kvm_error(format!("KVM cannot create vCPU {id}"), e))?;
        Ok(Vcpu::new(id, fd, self.xsave_length()))
    }

    /// The number of elements of an [`Xsave`](kvm_bindings::Xsave) after its fixed part.
    fn xsave_length(&self) -> Option<usize> {
        let bytes = usize::try_from(self.fd.check_extension_int(Cap::Xsave2)).unwrap_or(0);
        let more = bytes.checked_sub(size_of::<kvm_xsave>())?;
        Some(more.div_ceil(size_of::<u32>()))
    }

    /// The state of the in-kernel interrupt controllers.
    pub(crate) fn interrupt_controllers(&self) -> Result<Vec<kvm_irqchip>> {
        CONTROLLERS
            .map(|chip_id| {
                let mut chip = kvm_irqchip { chip_id, ..Default::default() };
                let read = self.fd.get_irqchip(&mut chip);
                read.map(|()| chip).map_err(|e| kvm_error("cannot read the interrupt controllers", e))
            })
            .into_iter()
            .collect()
    }

    /// Sets a state that [`interrupt_controllers`](Self::interrupt_controllers) returned.
    pub(crate) fn set_interrupt_controllers(&self, chips: &[kvm_irqchip]) -> Result<()> {
        let set = |chip| self.fd.set_irqchip(chip).map_err(|e| kvm_error("cannot reset the interrupt controllers", e));
        chips.iter().try_for_each(set)
    }

    /// The interrupt line `gsi`.
    pub(crate) fn interrupt_line(&self, gsi: u32) -> InterruptLine {
        InterruptLine::new(Arc::clone(&self.fd), gsi)
    }

    /// Sends a message-signalled interrupt. Unlike an irqfd, this needs neither a descriptor nor a route, whose table
    /// KVM takes milliseconds to replace. Both take one system call.
    pub(crate) fn send_message(&self, address: u64, data: u32) -> Result<()> {
        let (address_lo, address_hi) = (address as u32, (address >> 32) as u32);
        let message = kvm_msi { address_lo, address_hi, data, ..Default::default() };
        let sent = self.fd.signal_msi(message);
        // A guest that blocks the message yields 0, which is no error.
        sent.map(drop).map_err(|e| kvm_error(format!("KVM cannot send {data:#x} to {address:#x}"), e))
    }

    /// Makes KVM signal `event` when the guest writes to `address`, without an exit to this process.
    pub(crate) fn attach_doorbell(&self, address: u64, event: &EventFd) -> Result<()> {
        self.fd
            .register_ioevent(event, &IoEventAddress::Mmio(address), NoDatamatch)
            .map_err(|e| kvm_error(format!("cannot attach a doorbell at {address:#x}"), e))
    }

    /// Reverts [`attach_doorbell`](Self::attach_doorbell).
    pub(crate) fn detach_doorbell(&self, address: u64, event: &EventFd) -> Result<()> {
        self.fd
            .unregister_ioevent(event, &IoEventAddress::Mmio(address), NoDatamatch)
            .map_err(|e| kvm_error(format!("cannot detach the doorbell at {address:#x}"), e))
    }
}

/// Sets the VM's memory, with one slot per region, or the flags of the slots.
pub(super) fn set_memory(fd: &VmFd, ram: &GuestRam, flags: u32) -> Result<()> {
    for (slot, region) in ram.iter().enumerate() {
        let address = region
            .get_host_address(MemoryRegionAddress(0))
            .map_err(|e| Error::new(ErrorKind::OutOfMemory, "guest memory is not mapped").because(e))?;
        let slot = kvm_userspace_memory_region {
            slot: slot as u32,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: address as u64,
            flags,
        };
        // SAFETY: no vCPU runs once the mapping is gone: the machine owns both and joins the vCPU threads first.
        unsafe { fd.set_user_memory_region(slot) }.map_err(|e| kvm_error("KVM refuses the guest's memory", e))?;
    }
    Ok(())
}
