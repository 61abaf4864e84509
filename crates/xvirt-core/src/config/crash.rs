//! The action after a guest crash.

use serde::{Deserialize, Serialize};

/// What to do with a crashed VM: XenServer's `actions_after_crash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrashAction {
    /// Powers the VM off.
    #[default]
    Halt,
    /// Resets it, so that it boots again. A guest that crashes at each boot repeats this endlessly.
    Restart,
    /// Pauses it with its memory unchanged, for inspection.
    Preserve,
}
