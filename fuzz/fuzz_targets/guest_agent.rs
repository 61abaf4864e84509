//! Answers of the guest agent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::agent::answers;

fuzz_target!(|line: &[u8]| answers(line));
