//! No right to any file, connection or other process, by landlock(7). Descriptors that are open already stay usable.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope};

use super::Raised;

/// The newest version whose rights are known here; an older kernel has fewer.
const NEWEST: ABI = ABI::V6;

/// Gives up all rights that landlock knows.
pub(super) fn forbid() -> Raised {
    let restrict = || -> Result<_, RulesetError> {
        let rules = Ruleset::default();
        let rules = rules.handle_access(AccessFs::from_all(NEWEST))?.handle_access(AccessNet::from_all(NEWEST))?;
        rules.scope(Scope::from_all(NEWEST))?.create()?.restrict_self()
    };
    match restrict().map_err(|error| error.to_string())?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("this kernel knows only some of its rights".to_owned()),
        RulesetStatus::NotEnforced => Err("this kernel does not have it, or it is off".to_owned()),
    }
}
