//! What follows when a worker has ended, and what is made of each worker that a new service finds.

use std::time::Duration;

use xvirt_worker::Cause;

use super::owner::{Owner, Phase};
use crate::model::{OnCrashBehaviour, Vm, VmOperations};
use crate::worker::End;

/// What becomes of a VM whose run has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AfterEnd {
    /// It is halted, as was asked for.
    Halted,
    /// It is suspended.
    Suspended,
    /// It crashed, and stays halted.
    Crashed(String),
    /// It crashed, and is started again.
    Restart(String),
    /// It crashed, and is not started again because it ran for too short a time.
    TooSoon(String),
    /// It was lost with its host.
    Lost,
}

/// What becomes of a VM whose run ended after `ran`. As XenServer has it, one that crashes within `brake` of its start is
/// not started again.
pub(crate) fn after_end(vm: &Vm, end: &End, ran: Duration, brake: Duration) -> AfterEnd {
    let reason = match end {
        End::HostRestarted => return AfterEnd::Lost,
        End::Recorded(Cause::Suspended) => return AfterEnd::Suspended,
        End::Recorded(Cause::GuestShutdown | Cause::HardShutdown | Cause::Requested | Cause::Migrated) => {
            return AfterEnd::Halted;
        }
        End::Recorded(Cause::Crashed { reason }) => format!("the guest crashed: {reason}"),
        End::Recorded(Cause::Panicked { message }) => format!("a fault of the worker: {message}"),
        End::Recorded(Cause::Signal { number }) => format!("the worker died of signal {number}"),
        End::Recorded(Cause::BuildFailed { error } | Cause::NotStarted { error }) => error.to_string(),
        End::Recorded(other) => format!("the worker ended: {other:?}"),
        End::Unrecorded => {
            "the worker was killed; if nobody did that, look for the OOM killer in the kernel's log".into()
        }
    };
    if vm.current_operations.values().any(|operation| ends_it(*operation)) {
        return AfterEnd::Halted;
    }
    match vm.actions_after_crash {
        OnCrashBehaviour::Restart | OnCrashBehaviour::CoredumpAndRestart | OnCrashBehaviour::RenameRestart => {
            if ran < brake { AfterEnd::TooSoon(reason) } else { AfterEnd::Restart(reason) }
        }
        _ => AfterEnd::Crashed(reason),
    }
}

/// Whether the VM is halted after this operation, however that comes about.
fn ends_it(operation: VmOperations) -> bool {
    matches!(operation, VmOperations::CleanShutdown | VmOperations::HardShutdown)
}

/// What a new service finds of a VM's worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It answers: the epoch of its owner, and whether its VM is in memory.
    Live {
        /// The epoch.
        epoch: u64,
        /// Whether the VM runs or is paused.
        active: bool,
    },
    /// It lives, and does not answer.
    Silent,
    /// There is none; it ended like this.
    Gone(End),
}

/// What a new service does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing: the VM does not run.
    Nothing,
    /// Goes on with the worker.
    Adopt,
    /// Ends the worker, whose VM has never run.
    Discard,
    /// Waits for the worker: it may answer later.
    Wait,
    /// Treats the run as ended.
    Ended(End),
    /// Says that the start has failed: it was interrupted.
    StartFailed(End),
}

/// What is done about a VM whose records say `owner`. A worker that has a VM in memory is never ended.
pub(crate) fn recover(owner: &Owner, observed: Observed) -> Recovery {
    match (observed, owner.phase) {
        (Observed::Live { active: true, .. }, _) => Recovery::Adopt,
        (Observed::Live { .. }, _) => Recovery::Discard,
        (Observed::Silent, _) => Recovery::Wait,
        (Observed::Gone(_), Phase::None) => Recovery::Nothing,
        (Observed::Gone(end), Phase::Starting) => Recovery::StartFailed(end),
        (Observed::Gone(end), Phase::Running) => Recovery::Ended(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRAKE: Duration = Duration::from_secs(120);

    fn vm(action: OnCrashBehaviour) -> Vm {
        Vm { actions_after_crash: action, ..Vm::default() }
    }

    fn crash() -> End {
        End::Recorded(Cause::Crashed { reason: "triple fault".into() })
    }

    #[test]
    fn a_crash_is_followed_by_what_the_vm_says_and_not_too_soon() {
        let restarts = vm(OnCrashBehaviour::Restart);
        let reason = || "the guest crashed: triple fault".to_owned();
        assert_eq!(after_end(&restarts, &crash(), BRAKE, BRAKE), AfterEnd::Restart(reason()));
        let short = BRAKE - Duration::from_millis(1);
        assert_eq!(after_end(&restarts, &crash(), short, BRAKE), AfterEnd::TooSoon(reason()));
        assert_eq!(after_end(&vm(OnCrashBehaviour::Destroy), &crash(), BRAKE, BRAKE), AfterEnd::Crashed(reason()));
        assert!(matches!(after_end(&restarts, &End::Unrecorded, BRAKE, BRAKE), AfterEnd::Restart(_)));
    }

    #[test]
    fn what_was_asked_for_is_no_crash() {
        let mut vm = vm(OnCrashBehaviour::Restart);
        for (cause, expected) in [
            (Cause::GuestShutdown, AfterEnd::Halted),
            (Cause::HardShutdown, AfterEnd::Halted),
            (Cause::Suspended, AfterEnd::Suspended),
        ] {
            assert_eq!(after_end(&vm, &End::Recorded(cause), BRAKE, BRAKE), expected);
        }
        // A worker that dies while its VM is powered off has done what was asked for.
        vm.current_operations.insert("task".into(), VmOperations::HardShutdown);
        assert_eq!(after_end(&vm, &End::Unrecorded, BRAKE, BRAKE), AfterEnd::Halted);
        assert_eq!(after_end(&vm, &End::HostRestarted, BRAKE, BRAKE), AfterEnd::Lost);
    }

    #[test]
    fn a_worker_with_a_vm_in_memory_is_adopted_whatever_the_records_say() {
        for phase in [Phase::None, Phase::Starting, Phase::Running] {
            let owner = Owner { phase, ..Owner::default() };
            assert_eq!(recover(&owner, Observed::Live { epoch: 0, active: true }), Recovery::Adopt);
            assert_eq!(recover(&owner, Observed::Live { epoch: 0, active: false }), Recovery::Discard);
            assert_eq!(recover(&owner, Observed::Silent), Recovery::Wait);
        }
        let gone = |phase| recover(&Owner { phase, ..Owner::default() }, Observed::Gone(End::Unrecorded));
        assert_eq!(gone(Phase::None), Recovery::Nothing);
        assert_eq!(gone(Phase::Starting), Recovery::StartFailed(End::Unrecorded));
        assert_eq!(gone(Phase::Running), Recovery::Ended(End::Unrecorded));
    }
}
