//! What the source of a migration sends to its target.
//!
//! If the first byte is 0, the rest are all bytes of the connection; else it is messages behind a valid offer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::migration::{receive_bytes, receive_messages};

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, rest)) => receive_bytes(rest),
    Some((_, rest)) => receive_messages(rest),
    None => {}
});
