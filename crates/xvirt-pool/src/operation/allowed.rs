//! What may be done with devices, disks, repositories and networks now. It is advice for clients, which follows from the
//! records; verbs check again.

use crate::model::{
    HostAllowedOperations, NetworkOperations, Sr, StorageOperations, Vbd, VbdOperations, VbdType, Vdi, VdiOperations,
    Vif, VifOperations, VmPowerState,
};

/// What a host that is enabled allows.
pub(crate) const HOST: [HostAllowedOperations; 3] =
    [HostAllowedOperations::Provision, HostAllowedOperations::VmStart, HostAllowedOperations::VmResume];
/// What any network allows.
pub(crate) const NETWORK: [NetworkOperations; 1] = [NetworkOperations::Attaching];

/// What may be done with a disk of a VM in this power state.
pub(crate) fn vbd(vbd: &Vbd, state: VmPowerState) -> Vec<VbdOperations> {
    use VbdOperations as Op;
    if !vbd.current_operations.is_empty() {
        return Vec::new();
    }
    match state {
        VmPowerState::Running if vbd.currently_attached => vec![Op::Unplug, Op::UnplugForce],
        VmPowerState::Running if !vbd.empty => vec![Op::Plug],
        VmPowerState::Halted if !vbd.empty || vbd.r#type == VbdType::Cd => vec![Op::Attach],
        _ => Vec::new(),
    }
}

/// What may be done with a network interface of a VM in this power state.
pub(crate) fn vif(vif: &Vif, state: VmPowerState) -> Vec<VifOperations> {
    use VifOperations as Op;
    if !vif.current_operations.is_empty() {
        return Vec::new();
    }
    match state {
        VmPowerState::Running if vif.currently_attached => vec![Op::Unplug],
        VmPowerState::Running => vec![Op::Plug],
        VmPowerState::Halted => vec![Op::Attach],
        _ => Vec::new(),
    }
}

/// What may be done with a disk, which a VM has now or not.
pub(crate) fn vdi(vdi: &Vdi, attached: bool) -> Vec<VdiOperations> {
    use VdiOperations as Op;
    if !vdi.current_operations.is_empty() {
        Vec::new()
    } else if attached {
        vec![Op::ResizeOnline]
    } else {
        vec![Op::Resize, Op::ResizeOnline, Op::Destroy]
    }
}

/// What may be done with a repository.
pub(crate) fn sr(sr: &Sr) -> Vec<StorageOperations> {
    use StorageOperations as Op;
    if !sr.current_operations.is_empty() {
        return Vec::new();
    }
    let mut allowed = vec![Op::Scan, Op::VdiCreate, Op::VdiDestroy, Op::VdiResize, Op::VdiResizeOnline];
    if sr.vdis.is_empty() {
        allowed.extend([Op::Destroy, Op::Forget]);
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ref;

    #[test]
    fn devices_are_plugged_while_their_vm_runs() {
        let attached = Vbd { currently_attached: true, ..Vbd::default() };
        let busy = Vbd { current_operations: [("x".to_owned(), VbdOperations::Plug)].into(), ..Vbd::default() };
        let drive = Vbd { r#type: VbdType::Cd, empty: true, ..Vbd::default() };
        assert_eq!(vbd(&attached, VmPowerState::Running), [VbdOperations::Unplug, VbdOperations::UnplugForce]);
        assert_eq!(vbd(&Vbd::default(), VmPowerState::Running), [VbdOperations::Plug]);
        assert_eq!(vbd(&busy, VmPowerState::Running), []);
        assert_eq!(vbd(&drive, VmPowerState::Running), []);
        assert_eq!(vbd(&drive, VmPowerState::Halted), [VbdOperations::Attach]);
        assert_eq!(vif(&Vif::default(), VmPowerState::Running), [VifOperations::Plug]);
        assert_eq!(vif(&Vif::default(), VmPowerState::Suspended), []);
    }

    #[test]
    fn what_is_in_use_is_not_destroyed() {
        assert!(!vdi(&Vdi::default(), true).contains(&VdiOperations::Destroy));
        assert!(vdi(&Vdi::default(), false).contains(&VdiOperations::Destroy));
        let full = Sr { vdis: vec![Ref::NULL], ..Sr::default() };
        assert!(!sr(&full).contains(&StorageOperations::Forget));
        assert!(sr(&Sr::default()).contains(&StorageOperations::Forget));
    }
}
