//! The interface of the fuzzers in `fuzz/`, in plain types. Only cargo-fuzz builds it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::store::{ManualClock, Pair, SimulatedStore, Store};

/// Adds the checksum of a snapshot, which no fuzzer would find.
pub fn seal(snapshot: &[u8]) -> Vec<u8> {
    [snapshot, &Sha256::digest(snapshot)].concat()
}

/// The pairs of a store that is restored from a snapshot, and a snapshot of it.
pub fn restore(mut snapshot: &[u8]) -> Result<(Vec<Pair>, Vec<u8>)> {
    let store = SimulatedStore::restore(&mut snapshot, 0, 0, Arc::new(ManualClock::default()))?;
    let mut again = Vec::new();
    store.snapshot(&mut again)?;
    Ok((store.range("/", None, usize::MAX, None)?.pairs, again))
}
