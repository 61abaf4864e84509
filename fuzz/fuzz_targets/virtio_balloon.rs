//! Fuzzes the queues of a balloon with arbitrary drivers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::virtio::Kind;
use xvirt_fuzz::virtio::{Session, drive};

fuzz_target!(|session: Session| drive(Kind::Balloon, &session));
