//! What a worker and a service read of each other: frames, messages, exit records and settings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| xvirt_worker::fuzzing::read(data));
