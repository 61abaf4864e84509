//! What a stranger sends to the socket of XenAPI: the body of a request, and the query of a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_pool::fuzzing::{json_rpc, query};

fuzz_target!(|data: &[u8]| {
    // Each answer is JSON, whatever was asked.
    let answer: serde_json::Value = serde_json::from_slice(&json_rpc(data)).expect("an answer is JSON");
    assert!(answer.get("result").is_some() || answer.get("error").is_some());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(value) = query(text, "ref") else { return };
    // Decoding only makes it shorter.
    assert!(value.len() <= text.len());
});
