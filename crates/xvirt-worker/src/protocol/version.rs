//! Versions of the protocol, and what two sides have in common.

use serde::{Deserialize, Serialize};

use crate::error::kind;
use crate::{Error, Result};

/// The versions that this crate speaks. A new service must speak to the workers of the version before, so the oldest
/// one is only raised one release after the newest one.
pub const VERSIONS: Versions = Versions { oldest: 1, newest: 1 };

/// What a worker may be able to do beyond its version of the protocol.
pub const FEATURES: &[&str] = &["suspend", "hot_plug", "limits", "memory_target", "hand_over"];

/// A range of versions, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest one.
    pub oldest: u32,
    /// The newest one.
    pub newest: u32,
}

impl Versions {
    /// The newest version that both sides speak.
    ///
    /// # Errors
    /// [`kind::VERSION`] if there is none, or `peer` is an empty range.
    pub fn common(self, peer: Self) -> Result<u32> {
        let newest = self.newest.min(peer.newest);
        if peer.oldest <= peer.newest && newest >= self.oldest.max(peer.oldest) {
            return Ok(newest);
        }
        let what = format!(
            "no version of the protocol in common: this side speaks {} to {}, the peer {} to {}",
            self.oldest, self.newest, peer.oldest, peer.newest
        );
        Err(Error::new(kind::VERSION, what)
            .with_remedy("upgrade one release at a time, or shut the VM down and start it with the new version"))
    }
}

/// The features in both lists, in our order.
pub fn common_features(peer: &[String]) -> Vec<String> {
    FEATURES.iter().filter(|ours| peer.iter().any(|theirs| theirs == *ours)).map(|name| (*name).to_owned()).collect()
}
