//! Which verb of a VM is legal when.

use crate::model::{Ref, Vm, VmOperations, VmPowerState};
use crate::operation::{Failure, codes};

use VmOperations as Op;
use VmPowerState::{Halted, Paused, Running, Suspended};

/// The verbs that are told to clients as allowed, with the power states that they need.
const RULES: [(VmOperations, &[VmPowerState]); 19] = [
    (Op::Start, &[Halted]),
    (Op::StartOn, &[Halted]),
    (Op::Resume, &[Suspended]),
    (Op::ResumeOn, &[Suspended]),
    (Op::CleanShutdown, &[Running]),
    (Op::HardShutdown, &[Running, Paused, Suspended]),
    (Op::CleanReboot, &[Running]),
    (Op::HardReboot, &[Running, Paused]),
    (Op::Pause, &[Running]),
    (Op::Unpause, &[Paused]),
    (Op::Suspend, &[Running]),
    (Op::Clone, &[Halted]),
    (Op::Provision, &[Halted]),
    (Op::Destroy, &[Halted]),
    (Op::MakeIntoTemplate, &[Halted]),
    (Op::ChangingDynamicRange, &[Halted, Running]),
    (Op::ChangingStaticRange, &[Halted]),
    (Op::ChangingMemoryLimits, &[Halted]),
    (Op::ChangingVcpus, &[Halted]),
];

/// What xvirt's own verbs are told as: the replacement of a worker is a migration from a host to itself. They are not told
/// as allowed, because the verbs of XenAPI with these names do something else.
const OWN_RULES: [(VmOperations, &[VmPowerState]); 1] = [(Op::PoolMigrate, &[Running])];

/// What a template can do.
const OF_TEMPLATES: [VmOperations; 7] = [
    Op::Clone,
    Op::Provision,
    Op::Destroy,
    Op::ChangingDynamicRange,
    Op::ChangingStaticRange,
    Op::ChangingMemoryLimits,
    Op::ChangingVcpus,
];

/// Checks that a verb may begin.
///
/// # Errors
/// `OPERATION_BLOCKED`, `VM_IS_TEMPLATE`, `OTHER_OPERATION_IN_PROGRESS`, `VM_BAD_POWER_STATE`.
pub(crate) fn require(vm: &Vm, of: Ref<Vm>, operation: VmOperations) -> Result<(), Failure> {
    if let Some(code) = vm.blocked_operations.get(&operation) {
        return Err(Failure::new("OPERATION_BLOCKED", [of.to_string(), code.clone()])
            .with_remedy("remove the operation from blocked_operations of the VM"));
    }
    if (vm.is_a_template || vm.is_a_snapshot) && !OF_TEMPLATES.contains(&operation) {
        return Err(Failure::new("VM_IS_TEMPLATE", [of.to_string(), operation.to_string()])
            .with_remedy("clone the template, and use the clone"));
    }
    require_none(vm, of, |other| !goes_beside(operation, other))?;
    let expected = states(operation);
    if !expected.contains(&vm.power_state) {
        return Err(bad_power_state(of, expected, vm.power_state));
    }
    Ok(())
}

/// Checks that nothing is done with a VM, so that what it is built from does not change meanwhile.
///
/// # Errors
/// `OTHER_OPERATION_IN_PROGRESS`
pub(crate) fn require_idle(vm: &Vm, of: Ref<Vm>) -> Result<(), Failure> {
    require_none(vm, of, |_| true)
}

/// Checks that none of the operations that exclude something goes on.
///
/// # Errors
/// `OTHER_OPERATION_IN_PROGRESS`
pub(crate) fn require_none(vm: &Vm, of: Ref<Vm>, excludes: impl Fn(VmOperations) -> bool) -> Result<(), Failure> {
    let Some((task, other)) = vm.current_operations.iter().find(|(_, other)| excludes(**other)) else { return Ok(()) };
    Err(codes::other_operation("VM", of, other, task))
}

/// The error for a verb that needs another power state.
pub(crate) fn bad_power_state(of: Ref<Vm>, expected: &[VmPowerState], actual: VmPowerState) -> Failure {
    let expected: Vec<String> = expected.iter().map(|state| state.to_string().to_lowercase()).collect();
    let parameters = [of.to_string(), expected.join("; "), actual.to_string().to_lowercase()];
    Failure::new("VM_BAD_POWER_STATE", parameters).with_remedy("bring the VM into that power state first")
}

/// What may be done with a VM now.
pub(crate) fn allowed(vm: &Vm) -> Vec<VmOperations> {
    let of = Ref::NULL;
    RULES.iter().map(|(operation, _)| *operation).filter(|operation| require(vm, of, *operation).is_ok()).collect()
}

fn states(operation: VmOperations) -> &'static [VmPowerState] {
    RULES.iter().chain(&OWN_RULES).find(|(of, _)| *of == operation).map_or(&[], |(_, states)| *states)
}

/// Whether an operation may begin beside another: power can be cut while the guest is asked to shut down or the worker is
/// replaced, and a VM can be copied several times at once.
fn goes_beside(operation: VmOperations, other: VmOperations) -> bool {
    let copies = [Op::Clone, Op::Copy];
    (copies.contains(&operation) && copies.contains(&other))
        || operation == Op::HardShutdown && matches!(other, Op::CleanShutdown | Op::CleanReboot | Op::PoolMigrate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(power_state: VmPowerState) -> Vm {
        Vm { power_state, ..Vm::default() }
    }

    fn code(vm: &Vm, operation: VmOperations) -> Option<String> {
        require(vm, Ref::NULL, operation).err().map(|failure| failure.code)
    }

    #[test]
    fn verbs_need_their_power_states() {
        assert_eq!(code(&vm(Halted), Op::Start), None);
        assert_eq!(code(&vm(Running), Op::Start).as_deref(), Some("VM_BAD_POWER_STATE"));
        assert_eq!(code(&vm(Suspended), Op::Resume), None);
        assert_eq!(code(&vm(Running), Op::Destroy).as_deref(), Some("VM_BAD_POWER_STATE"));
        let failure = require(&vm(Halted), Ref::NULL, Op::HardShutdown).unwrap_err();
        assert_eq!(failure.parameters[1..3], ["running; paused; suspended", "halted"]);
        // What no rule allows is never legal.
        assert_eq!(code(&vm(Running), Op::MigrateSend).as_deref(), Some("VM_BAD_POWER_STATE"));
        // What xvirt's own verbs are told as is no verb of XenAPI that is allowed.
        assert_eq!(code(&vm(Running), Op::PoolMigrate), None);
        assert!(!allowed(&vm(Running)).contains(&Op::PoolMigrate));
    }

    #[test]
    fn one_operation_at_a_time_but_power_can_always_be_cut() {
        let mut busy = vm(Running);
        busy.current_operations.insert("OpaqueRef:1".to_owned(), Op::CleanShutdown);
        assert_eq!(code(&busy, Op::Pause).as_deref(), Some("OTHER_OPERATION_IN_PROGRESS"));
        assert_eq!(code(&busy, Op::HardShutdown), None);
        assert_eq!(allowed(&busy), [Op::HardShutdown]);
        busy.current_operations.insert("OpaqueRef:2".to_owned(), Op::HardShutdown);
        assert_eq!(code(&busy, Op::HardShutdown).as_deref(), Some("OTHER_OPERATION_IN_PROGRESS"));
    }

    #[test]
    fn a_vm_is_cloned_several_times_at_once() {
        let mut halted = vm(Halted);
        halted.current_operations.insert("OpaqueRef:1".to_owned(), Op::Clone);
        assert_eq!(code(&halted, Op::Clone), None);
        assert_eq!(code(&halted, Op::Start).as_deref(), Some("OTHER_OPERATION_IN_PROGRESS"));
    }

    #[test]
    fn a_template_is_cloned_and_not_started() {
        let template = Vm { is_a_template: true, ..vm(Halted) };
        assert_eq!(code(&template, Op::Start).as_deref(), Some("VM_IS_TEMPLATE"));
        assert_eq!(code(&template, Op::Clone), None);
    }

    #[test]
    fn a_blocked_operation_is_refused_with_its_reason() {
        let mut vm = vm(Halted);
        vm.blocked_operations.insert(Op::Start, "BECAUSE".to_owned());
        let failure = require(&vm, Ref::NULL, Op::Start).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.parameters[1].as_str()), ("OPERATION_BLOCKED", "BECAUSE"));
    }
}
