//! A vCPU: its registers and its run loop.

use kvm_bindings::{
    CpuId, Msrs, Xsave, kvm_debugregs, kvm_fpu, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use zerocopy::IntoBytes;

use super::{KickSignal, Kicker, kvm_error, xsave};
use crate::{Error, ErrorKind, Result};

/// A vCPU. Once it runs, it belongs to one thread.
#[derive(Debug)]
pub(crate) struct Vcpu {
    id: u32,
    fd: VcpuFd,
    /// The length of the XSAVE state in elements of [`Xsave`]; `None` if KVM is older than Linux 5.17 and does not
    /// report it.
    xsave_length: Option<usize>,
}

impl Vcpu {
    pub(super) fn new(id: u32, fd: VcpuFd, xsave_length: Option<usize>) -> Self {
        Self { id, fd, xsave_length }
    }

    /// The APIC id of this vCPU.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// A kicker for this vCPU, which runs on `thread`.
    pub(crate) fn kicker(&mut self, signal: KickSignal, thread: libc::pthread_t) -> Kicker {
        Kicker::new(signal, thread, &raw mut self.fd.get_kvm_run().immediate_exit)
    }

    /// Runs guest code until an exit needs handling.
    pub(crate) fn run(&mut self) -> std::result::Result<VcpuExit<'_>, kvm_ioctls::Error> {
        self.fd.run()
    }

    /// Clears a kick after its reason was handled.
    pub(crate) fn clear_kick(&mut self) {
        self.fd.set_kvm_immediate_exit(0);
    }

    pub(crate) fn set_cpuid(&self, cpuid: &CpuId) -> Result<()> {
        self.fd.set_cpuid2(cpuid).map_err(|e| self.error("cannot set the CPUID", e))
    }

    pub(crate) fn set_regs(&self, regs: &kvm_regs) -> Result<()> {
        self.fd.set_regs(regs).map_err(|e| self.error("cannot set the registers", e))
    }

    pub(crate) fn regs(&self) -> Result<kvm_regs> {
        self.fd.get_regs().map_err(|e| self.error("cannot read the registers", e))
    }

    pub(crate) fn sregs(&self) -> Result<kvm_sregs> {
        self.fd.get_sregs().map_err(|e| self.error("cannot read the special registers", e))
    }

    pub(crate) fn set_sregs(&self, sregs: &kvm_sregs) -> Result<()> {
        self.fd.set_sregs(sregs).map_err(|e| self.error("cannot set the special registers", e))
    }

    pub(crate) fn set_fpu(&self, fpu: &kvm_fpu) -> Result<()> {
        self.fd.set_fpu(fpu).map_err(|e| self.error("cannot set the floating point state", e))
    }

    /// The complete extended state (floating point, vectors and so on), if KVM supports reading it.
    pub(crate) fn xsave(&self) -> Result<Option<Xsave>> {
        let Some(length) = self.xsave_length else { return Ok(None) };
        let mut xsave = Xsave::new(length).map_err(|_| self.too_long_xsave())?;
        // SAFETY: it has the maximum length that KVM reports for a vCPU of this VM.
        unsafe { self.fd.get_xsave2(&mut xsave) }.map_err(|e| self.error("cannot read the extended state", e))?;
        Ok(Some(xsave))
    }

    /// Sets a state that [`xsave`](Self::xsave) of a vCPU of this VM returned.
    pub(crate) fn set_xsave(&self, xsave: &Xsave) -> Result<()> {
        if Some(xsave.as_slice().len()) != self.xsave_length {
            return Err(self.too_long_xsave());
        }
        // SAFETY: it has the maximum length that KVM reports for a vCPU of this VM.
        unsafe { self.fd.set_xsave2(xsave) }.map_err(|e| self.error("cannot set the extended state", e))
    }

    /// The extended state as bytes, of any length that KVM says.
    pub(crate) fn xsave_bytes(&self) -> Result<Vec<u8>> {
        match self.xsave()? {
            Some(xsave) => Ok(xsave::to_bytes(&xsave)),
            // KVM before Linux 5.17 has no longer one than this.
            None => self
                .fd
                .get_xsave()
                .map(|old| old.as_bytes().to_vec())
                .map_err(|e| self.error("cannot read the extended state", e)),
        }
    }

    /// Sets what [`xsave_bytes`](Self::xsave_bytes) gave, maybe on another host.
    pub(crate) fn set_xsave_bytes(&self, bytes: &[u8]) -> Result<()> {
        let xsave = xsave::from_bytes(bytes, self.xsave_length.unwrap_or(0)).ok_or_else(|| self.too_long_xsave())?;
        if self.xsave_length.is_some() {
            return self.set_xsave(&xsave);
        }
        // SAFETY: KVM before Linux 5.17 reads the old structure and nothing behind it.
        unsafe { self.fd.set_xsave(&xsave.as_fam_struct_ref().xsave) }
            .map_err(|e| self.error("cannot set the extended state", e))
    }

    fn too_long_xsave(&self) -> Error {
        Error::new(ErrorKind::HostUnsupported, format!("the extended state has the wrong length for vCPU {}", self.id))
    }

    /// The control registers of the extended state; empty if the host has no XSAVE.
    pub(crate) fn xcrs(&self) -> Result<kvm_xcrs> {
        self.fd.get_xcrs().map_err(|e| self.error("cannot read the extended control registers", e))
    }

    pub(crate) fn set_xcrs(&self, xcrs: &kvm_xcrs) -> Result<()> {
        if xcrs.nr_xcrs == 0 {
            return Ok(());
        }
        self.fd.set_xcrs(xcrs).map_err(|e| self.error("cannot set the extended control registers", e))
    }

    pub(crate) fn debug_registers(&self) -> Result<kvm_debugregs> {
        self.fd.get_debug_regs().map_err(|e| self.error("cannot read the debug registers", e))
    }

    pub(crate) fn set_debug_registers(&self, registers: &kvm_debugregs) -> Result<()> {
        self.fd.set_debug_regs(registers).map_err(|e| self.error("cannot set the debug registers", e))
    }

    pub(crate) fn lapic(&self) -> Result<kvm_lapic_state> {
        self.fd.get_lapic().map_err(|e| self.error("cannot read the local APIC", e))
    }

    pub(crate) fn set_lapic(&self, lapic: &kvm_lapic_state) -> Result<()> {
        self.fd.set_lapic(lapic).map_err(|e| self.error("cannot set the local APIC", e))
    }

    /// Pending exceptions and interrupts.
    pub(crate) fn events(&self) -> Result<kvm_vcpu_events> {
        self.fd.get_vcpu_events().map_err(|e| self.error("cannot read the pending events", e))
    }

    pub(crate) fn set_events(&self, events: &kvm_vcpu_events) -> Result<()> {
        self.fd.set_vcpu_events(events).map_err(|e| self.error("cannot set the pending events", e))
    }

    /// Whether it runs, has halted, or waits to be started.
    pub(crate) fn mp_state(&self) -> Result<u32> {
        self.fd.get_mp_state().map(|state| state.mp_state).map_err(|e| self.error("cannot read the run state", e))
    }

    pub(crate) fn set_mp_state(&self, state: u32) -> Result<()> {
        self.fd.set_mp_state(kvm_mp_state { mp_state: state }).map_err(|e| self.error("cannot set the run state", e))
    }

    pub(crate) fn set_msrs(&self, entries: &[kvm_msr_entry]) -> Result<()> {
        let msrs = Msrs::from_entries(entries).map_err(|_| self.too_many_msrs())?;
        let written = self.fd.set_msrs(&msrs).map_err(|e| self.error("cannot set the model-specific registers", e))?;
        match entries.get(written) {
            None => Ok(()),
            Some(entry) => Err(Error::new(
                ErrorKind::HostUnsupported,
                format!("cannot set the model-specific register {:#x} of vCPU {}", entry.index, self.id),
            )),
        }
    }

    /// The frequency of its time stamp counter, in kHz.
    pub(crate) fn tsc_khz(&self) -> Result<u32> {
        self.fd.get_tsc_khz().map_err(|e| self.error("cannot read the frequency of the time stamp counter", e))
    }

    /// Has its time stamp counter count at another frequency than the host's.
    pub(crate) fn set_tsc_khz(&self, frequency: u32) -> Result<()> {
        self.fd.set_tsc_khz(frequency).map_err(|e| self.error("cannot set the frequency of the time stamp counter", e))
    }

    /// Makes KVM read the page directory pointers of a guest with 32-bit PAE paging, which it keeps, from guest memory
    /// again. After a restore, they were set while the memory was not there yet.
    pub(crate) fn reload_page_directory_pointers(&self) -> Result<()> {
        let (paging, physical_address_extension, long_mode) = (1 << 31, 1 << 5, 1 << 10);
        let registers = self.sregs()?;
        if registers.cr0 & paging == 0
            || registers.cr4 & physical_address_extension == 0
            || registers.efer & long_mode != 0
        {
            return Ok(());
        }
        self.set_sregs(&registers)
    }

    /// Tells a guest that uses KVM's clock that it was stopped, so that its watchdogs take no alarm at the time that
    /// has passed. A guest that does not use that clock is told nothing.
    pub(crate) fn tell_stopped(&self) -> Result<()> {
        match self.fd.kvmclock_ctrl() {
            Err(error) if error.errno() != libc::EINVAL => {
                Err(self.error("cannot announce a stop of the clock", error))
            }
            _ => Ok(()),
        }
    }

    /// The registers in `indices` that this vCPU has.
    pub(crate) fn msrs(&self, indices: &[u32]) -> Result<Vec<kvm_msr_entry>> {
        let wanted: Vec<_> = indices.iter().map(|&index| kvm_msr_entry { index, ..Default::default() }).collect();
        let mut found = Vec::new();
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let mut msrs = Msrs::from_entries(rest).map_err(|_| self.too_many_msrs())?;
            let read =
                self.fd.get_msrs(&mut msrs).map_err(|e| self.error("cannot read the model-specific registers", e))?;
            found.extend(msrs.as_slice().iter().take(read));
            // KVM stops at the first register that this vCPU does not have.
            rest = rest.get(read + 1..).unwrap_or_default();
        }
        Ok(found)
    }

    fn too_many_msrs(&self) -> Error {
        Error::new(
            ErrorKind::HostUnsupported,
            format!("vCPU {} has more model-specific registers than a KVM call can transfer", self.id),
        )
    }

    fn error(&self, what: &str, error: kvm_ioctls::Error) -> Error {
        kvm_error(format!("{what} of vCPU {}", self.id), error)
    }
}
