//! Whether a disk is in use: one answer for everything that would change, move or remove it.
//!
//! A VM uses a disk from the transaction that begins its start, or the plugging of the disk, until the one that says that it
//! is halted, or the disk unplugged. A suspended VM uses its disks: its memory has what it knows of them.

use crate::host::{Phase, owner_of};
use crate::model::{Ref, Vbd, VbdMode, Vdi, Vif, Vm};
use crate::objects::Change;
use crate::operation::Failure;

/// Whether a VM uses the disk of this VBD, as far as the VBD itself says.
fn is_attached(vbd: &Vbd) -> bool {
    vbd.currently_attached || !vbd.current_operations.is_empty()
}

/// Whether a VM is being started, with all devices that it has in the records.
fn is_starting(change: &mut Change<'_>, vm: Ref<Vm>) -> Result<bool, Failure> {
    Ok(owner_of(change, vm)?.phase == Phase::Starting)
}

/// Whether a VM uses the disk of this VBD.
pub(crate) fn is_used(change: &mut Change<'_>, vbd: &Vbd) -> Result<bool, Failure> {
    Ok(is_attached(vbd) || is_starting(change, vbd.vm)?)
}

/// Whether a VM uses a network interface.
pub(crate) fn nic_is_used(change: &mut Change<'_>, vif: &Vif) -> Result<bool, Failure> {
    Ok(vif.currently_attached || !vif.current_operations.is_empty() || is_starting(change, vif.vm)?)
}

/// Requires that no VM uses a disk.
pub(crate) fn require_unused(change: &mut Change<'_>, vdi: Ref<Vdi>, record: &Vdi, verb: &str) -> Result<(), Failure> {
    for reference in &record.vbds {
        if let Some(vbd) = change.find(*reference)?
            && is_used(change, &vbd)?
        {
            return Err(in_use(vdi, verb, format!("unplug {reference}, or shut down the VM {}", vbd.vm)));
        }
    }
    Ok(())
}

/// Requires that a VM may get a disk by the VBD `mine`: another one must not have it if either of them writes. Workers lock
/// images as well; this also knows VMs that are suspended.
pub(crate) fn require_free(
    vdi: (Ref<Vdi>, &Vdi),
    mine: Ref<Vbd>,
    mode: VbdMode,
    mut find: impl FnMut(Ref<Vbd>) -> Result<Option<Vbd>, Failure>,
) -> Result<(), Failure> {
    let (vdi, record) = vdi;
    if mode == VbdMode::Ro && record.read_only {
        return Ok(());
    }
    for reference in record.vbds.iter().filter(|reference| **reference != mine) {
        let Some(other) = find(*reference)? else { continue };
        if is_attached(&other) && (mode == VbdMode::Rw || other.mode == VbdMode::Rw) {
            let remedy = format!("unplug it from the VM {}, or shut that VM down", other.vm);
            return Err(in_use(vdi, "attach", remedy));
        }
    }
    Ok(())
}

/// The failure of a verb that needs a disk that nobody uses.
pub(crate) fn in_use(vdi: Ref<Vdi>, verb: &str, remedy: impl Into<String>) -> Failure {
    Failure::new("VDI_IN_USE", [vdi.to_string(), verb.to_owned()]).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::VbdOperations;

    #[test]
    fn a_disk_that_anybody_writes_is_not_shared_whatever_it_says() {
        let (mine, theirs) = (Ref::new(Uuid::new_v4()), Ref::new(Uuid::new_v4()));
        let code = |mode: VbdMode, vdi: Vdi, other: Vbd| {
            let vdi = Vdi { vbds: vec![mine, theirs], ..vdi };
            let found = require_free((Ref::NULL, &vdi), mine, mode, |_| Ok(Some(other.clone())));
            found.err().map(|failure| failure.code)
        };
        let (rw, ro) = (VbdMode::Rw, VbdMode::Ro);
        let attached = |mode| Vbd { mode, currently_attached: true, ..Vbd::default() };
        let sharable = Vdi { sharable: true, ..Vdi::default() };
        assert_eq!(code(ro, Vdi::default(), attached(ro)), None);
        assert_eq!(code(rw, Vdi::default(), Vbd::default()), None);
        for (mine, theirs) in [(rw, rw), (rw, ro), (ro, rw)] {
            assert_eq!(code(mine, sharable.clone(), attached(theirs)).as_deref(), Some("VDI_IN_USE"));
        }
        let operations = [("OpaqueRef:1".to_owned(), VbdOperations::Plug)].into();
        let plugging = Vbd { current_operations: operations, ..Vbd::default() };
        assert_eq!(code(rw, Vdi::default(), plugging).as_deref(), Some("VDI_IN_USE"));
    }
}
