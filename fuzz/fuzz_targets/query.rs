//! An expression of `get_all_records_where`, as a client sends it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_pool::fuzzing::meant;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = meant(text) else { return };
    // `not` in front of all of it means the others, unless that is one too many.
    if let Ok(others) = meant(&format!("not ({text})")) {
        assert_eq!(others, found.map(|meant| !meant));
    }
});
