//! Files of saved state.
//!
//! The first byte is the kind of the section that the rest is the body of; 0 means that the rest is a whole file.
#![no_main]

use std::fs::File;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use xvirt_core::fuzzing::saved_state::{read_file, read_section};

static FILE: OnceLock<File> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let file = FILE.get_or_init(|| memfd_create("saved-state", MemfdFlags::CLOEXEC).expect("memory file").into());
    match kind % 8 {
        0 => read_file(rest, file),
        kind => read_section(kind.into(), rest, file),
    }
});
