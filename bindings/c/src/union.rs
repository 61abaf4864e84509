//! Arguments that are one of several things: a VM that runs, one in a repository, a snapshot, a configuration.

use xvirt_core::config::VmConfig;
use xvirt_core::{Result, snapshot, template};

use crate::data::XvirtVmConfig;
use crate::functions::{XvirtSnapshot, XvirtStoredVm, XvirtVm};
use crate::input::{At, FromC, Plain, argument, invalid, sized};

/// What a snapshot is taken of. Exactly one member is set.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtSubject {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// A halted or suspended VM in the repository.
    pub stored_vm: *const XvirtStoredVm,
    /// A VM of this process.
    pub vm: *const XvirtVm,
}

/// What a VM is made of. Exactly one member is set.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtOriginal {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// A halted VM in the repository.
    pub stored_vm: *const XvirtStoredVm,
    /// A halted VM of this process.
    pub vm: *const XvirtVm,
    /// A snapshot.
    pub snapshot: *const XvirtSnapshot,
}

/// What a template is made of. Exactly one member is set.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtSource {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// A halted VM in the repository.
    pub stored_vm: *const XvirtStoredVm,
    /// A halted VM of this process.
    pub vm: *const XvirtVm,
    /// The configuration of a VM.
    pub config: *const XvirtVmConfig,
}

// SAFETY: a number and pointers that are not followed without a check.
unsafe impl Plain for XvirtSubject {}
// SAFETY: as above.
unsafe impl Plain for XvirtOriginal {}
// SAFETY: as above.
unsafe impl Plain for XvirtSource {}

/// What a snapshot is taken of.
pub enum Subject<'a> {
    Stored(&'a XvirtStoredVm),
    Vm(&'a XvirtVm),
}

/// What a VM is made of.
pub enum Original<'a> {
    Stored(&'a XvirtStoredVm),
    Vm(&'a XvirtVm),
    Snapshot(&'a XvirtSnapshot),
}

/// What a template is made of.
pub enum Source<'a> {
    Stored(&'a XvirtStoredVm),
    Vm(&'a XvirtVm),
    Config(Box<VmConfig>),
}

/// # Safety
/// `c` is NULL or what the header says.
pub unsafe fn subject<'a>(c: *const XvirtSubject, name: &str) -> Result<Subject<'a>> {
    // SAFETY: as for this function.
    let c = argument(unsafe { sized(c, &At::root(name)) }?, name)?;
    // SAFETY: as above.
    match unsafe { (c.stored_vm.as_ref(), c.vm.as_ref()) } {
        (Some(vm), None) => Ok(Subject::Stored(vm)),
        (None, Some(vm)) => Ok(Subject::Vm(vm)),
        _ => Err(invalid(format!("{name}: set exactly one of stored_vm and vm"))),
    }
}

/// # Safety
/// `c` is NULL or what the header says.
pub unsafe fn original<'a>(c: *const XvirtOriginal, name: &str) -> Result<Original<'a>> {
    // SAFETY: as for this function.
    let c = argument(unsafe { sized(c, &At::root(name)) }?, name)?;
    // SAFETY: as above.
    match unsafe { (c.stored_vm.as_ref(), c.vm.as_ref(), c.snapshot.as_ref()) } {
        (Some(vm), None, None) => Ok(Original::Stored(vm)),
        (None, Some(vm), None) => Ok(Original::Vm(vm)),
        (None, None, Some(snapshot)) => Ok(Original::Snapshot(snapshot)),
        _ => Err(invalid(format!("{name}: set exactly one of stored_vm, vm and snapshot"))),
    }
}

/// # Safety
/// `c` is NULL or what the header says.
pub unsafe fn source<'a>(c: *const XvirtSource, name: &str) -> Result<Source<'a>> {
    let at = At::root(name);
    // SAFETY: as for this function.
    let c = argument(unsafe { sized(c, &at) }?, name)?;
    // SAFETY: as above.
    let config = unsafe { VmConfig::from_c(c.config, &at.field("config")) }?;
    // SAFETY: as above.
    match unsafe { (c.stored_vm.as_ref(), c.vm.as_ref(), config) } {
        (Some(vm), None, None) => Ok(Source::Stored(vm)),
        (None, Some(vm), None) => Ok(Source::Vm(vm)),
        (None, None, Some(config)) => Ok(Source::Config(Box::new(config))),
        _ => Err(invalid(format!("{name}: set exactly one of stored_vm, vm and config"))),
    }
}

impl Subject<'_> {
    pub fn get(&self) -> snapshot::Subject<'_> {
        match self {
            Self::Stored(vm) => (&vm.0).into(),
            Self::Vm(vm) => (&vm.0).into(),
        }
    }
}

impl Original<'_> {
    pub fn get(&self) -> template::Original<'_> {
        match self {
            Self::Stored(vm) => (&vm.0).into(),
            Self::Vm(vm) => (&vm.0).into(),
            Self::Snapshot(snapshot) => (&snapshot.0).into(),
        }
    }
}

impl Source<'_> {
    pub fn get(&self) -> template::Source<'_> {
        match self {
            Self::Stored(vm) => (&vm.0).into(),
            Self::Vm(vm) => (&vm.0).into(),
            Self::Config(config) => config.as_ref().into(),
        }
    }
}
