//! What happens to a VM whose guest cannot go on.

use serde::{Deserialize, Serialize};

/// What to do with a VM that has crashed: XenServer's `actions_after_crash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrashAction {
    /// Powers the VM off.
    #[default]
    Halt,
    /// Resets it, so that it boots again. A guest that crashes at each boot does so for ever.
    Restart,
    /// Pauses it with its memory as it is, for somebody to look at.
    Preserve,
}
