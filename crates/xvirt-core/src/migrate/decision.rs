//! Who decides that the guest runs at the target.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wait::Wait;

/// How often an unanswered question about the decision, or a disk in use, is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(10);

/// What is known about the transaction that makes the target the owner of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is applied: the target is the owner.
    Applied,
    /// It is not applied, and never will be.
    Refused,
    /// It may be applied now or later; nobody can say yet.
    Unknown,
}

/// Decides that the guest runs at the target, for programs that keep a record of which host runs which VM.
///
/// With `()`, the two sides decide alone: the source commits, and a target that loses the connection before the commit
/// gives up. With a store, the record decides: a target that loses the connection asks for it, so that an outcome is
/// indeterminate less often. Both sides have to use the same kind of decision.
///
/// The calls may block, but not longer than the other side's limit for silence. After an `Unknown` of
/// [`commit`](Self::commit), the source asks [`withdraw`](Self::withdraw); this and [`read`](Self::read) are repeated while
/// they answer [`Decision::Unknown`], until the limit for decisions. The target's limit should be the longer one.
pub trait CommitDecision: Sync {
    /// Source: makes the target the owner. Called once, when the target is prepared.
    fn commit(&self) -> Decision;

    /// Source: prevents that [`commit`](Self::commit) is applied later. `Applied` if it already is.
    fn withdraw(&self) -> Decision;

    /// Target: reads whether it is the owner. `Refused` only if it never will be: `Unknown` while the source may still commit.
    fn read(&self) -> Decision;
}

impl CommitDecision for () {
    fn commit(&self) -> Decision {
        Decision::Applied
    }

    fn withdraw(&self) -> Decision {
        Decision::Refused
    }

    fn read(&self) -> Decision {
        Decision::Refused
    }
}

/// Repeats a question about the decision until there is an answer, `limit` is over, or the caller has cancelled it.
pub(super) fn ask(limit: Duration, question: impl Fn() -> Decision) -> Decision {
    let wait = Wait::at_most(limit);
    loop {
        let answer = question();
        if answer != Decision::Unknown || wait.pause(RETRY).is_err() {
            return answer;
        }
    }
}
