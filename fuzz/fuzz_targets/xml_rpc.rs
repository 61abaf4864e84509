//! What a stranger sends to a port of XenAPI: the body of a request of XML-RPC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_pool::fuzzing::{is_xml, xml_rpc};

fuzz_target!(|data: &[u8]| {
    // Each answer is XML that a client can read, whatever was asked, and says what came of it.
    let answer = xml_rpc(data);
    assert!(is_xml(&answer));
    let text = std::str::from_utf8(&answer).expect("an answer is UTF-8");
    assert!(text.starts_with("<?xml version=\"1.0\"?><methodResponse><params><param><value>"));
});
