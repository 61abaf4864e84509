//! Deciding a transaction whose outcome is unknown.

use super::{Compare, Outcome, Pair, Revision, Store, Transaction};
use crate::{Error, ErrorKind, Result};

/// What [`Store::supersede`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The other transaction was committed instead: the unknown one never was, and never will be.
    Superseded {
        /// The revision of the other transaction.
        revision: Revision,
    },
    /// The key has changed: the unknown transaction was committed, or never will be. The pair tells which, unless somebody
    /// else changed it again since.
    Settled {
        /// The pair after the change.
        now: Option<Pair>,
    },
    /// Another compare of the other transaction did not hold. Nothing is decided.
    Conflict,
    /// The outcome of the other transaction is unknown, too. Nothing is decided: repeat it.
    Unknown,
}

/// See [`Store::supersede`].
pub(super) fn supersede<S: Store + ?Sized>(
    store: &S,
    unknown: &Transaction,
    instead: &Transaction,
) -> Result<Decision> {
    let Some((key, revision)) = common_guard(unknown, instead) else {
        let what = "two transactions do not exclude each other: they do not change a common key from the same revision";
        return Err(Error::new(ErrorKind::InvalidInput, what)
            .with_remedy("compare the modification revision of one key in both, and write that key in both"));
    };
    Ok(match store.transaction(instead)? {
        Outcome::Committed { revision } => Decision::Superseded { revision },
        Outcome::Unknown => Decision::Unknown,
        Outcome::Conflict => {
            let now = store.get(key, None)?;
            if now.as_ref().is_some_and(|pair| pair.mod_revision == revision) {
                Decision::Conflict
            } else {
                Decision::Settled { now }
            }
        }
    })
}

/// The key that both transactions change from the same revision.
fn common_guard<'a>(unknown: &'a Transaction, instead: &Transaction) -> Option<(&'a str, Revision)> {
    unknown.compares.iter().find_map(|compare| {
        let Compare::ModRevision { key, revision } = compare else { return None };
        let written = |of: &Transaction| of.operations.iter().any(|operation| operation.writes(key));
        let guards = instead.compares.contains(compare) && written(unknown) && written(instead);
        guards.then_some((key.as_str(), *revision))
    })
}
