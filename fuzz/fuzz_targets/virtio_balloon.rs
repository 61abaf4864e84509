//! The balloon's queues, against any driver.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::fuzzing::virtio::Kind;
use xvirt_fuzz::virtio::{Session, drive};

fuzz_target!(|session: Session| drive(Kind::Balloon, &session));
