//! Snapshots of a store. The checksum at the end is added, and the beginning if the first byte is even.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_pool::fuzzing::{restore, seal};

const BEGINNING: &[u8] = b"xvirt-store-snap\x01\0\0\0";

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let snapshot = if kind % 2 == 0 { [BEGINNING, rest].concat() } else { rest.to_vec() };
    let Ok((pairs, again)) = restore(&seal(&snapshot)) else { return };
    assert!(pairs.is_sorted_by(|one, next| one.key < next.key));
    // A snapshot of the restored store has the same.
    let (same, _) = restore(&again).expect("what this version wrote");
    assert_eq!(same, pairs);
});
