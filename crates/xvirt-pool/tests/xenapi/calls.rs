//! Calls of verbs.

use serde_json::json;
use xvirt_pool::operation::Caller;

use crate::support::{Served, post};

#[test]
fn verbs_are_called_on_one_connection_after_another_by_whom_the_kernel_names() {
    let served = Served::new();
    let mut client = served.client();
    let answer = client.call("VM.get_all", &[]);
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "result": ["OpaqueRef:1"], "id": 1 }));
    // A verb without a result.
    assert_eq!(client.call("VM.set_tags", &[json!("OpaqueRef:1"), json!(["a"])]).json()["result"], "");

    let answer = client.call("VM_fly", &[json!(1)]);
    assert_eq!(answer.status, 200);
    let error = json!({ "code": 1, "message": "MESSAGE_METHOD_UNKNOWN", "data": ["VM_fly", "call another"] });
    assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "error": error, "id": 1 }));

    let caller = Caller::Local { uid: rustix::process::geteuid().as_raw() };
    let calls = served.fake.calls.lock().unwrap().clone();
    let expected =
        [("VM.get_all", vec![]), ("VM.set_tags", vec![json!("OpaqueRef:1"), json!(["a"])]), ("VM_fly", vec![json!(1)])];
    assert_eq!(calls, expected.map(|(verb, parameters)| (caller.clone(), verb.to_owned(), parameters)));
}

#[test]
fn requests_in_pieces_and_requests_at_once_are_answered_in_order() {
    let served = Served::new();
    let mut client = served.client();
    let one = post(r#"{"jsonrpc":"2.0","method":"VM.get_all","params":["s"],"id":"one"}"#, "");
    let two = post(r#"{"method":"VM_get_all","params":["s"],"id":"two"}"#, "");
    for byte in &one {
        client.write([*byte]);
    }
    assert_eq!(client.read().json()["id"], "one");
    client.write([one, two].concat());
    assert_eq!(client.read().json()["id"], "one");
    assert_eq!(client.read().json(), json!({ "result": ["OpaqueRef:1"], "error": null, "id": "two" }));
}

#[test]
fn a_body_in_chunks_is_read() {
    let served = Served::new();
    let mut client = served.client();
    client.write("POST /jsonrpc/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write("10\r\n{\"method\":\"VM.ge\r\n1d\r\nt_all\",\"params\":[\"s\"],\"id\":3}\r\n0\r\n\r\n");
    assert_eq!(client.read().json()["id"], 3);
}

#[test]
fn a_verb_that_panics_is_an_error_for_its_caller_only() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(client.call("VM.crash", &[]).code(), "INTERNAL_ERROR");
    assert_eq!(client.call("VM.get_all", &[]).status, 200);
}

#[test]
fn what_is_no_call_is_refused_by_name() {
    let served = Served::new();
    for (request, status) in [
        (post("{", ""), 400),
        (post("[]", ""), 400),
        (b"GET /jsonrpc HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 405),
        (b"GET /console?ref=x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 404),
        (b"PUT /import HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 404),
    ] {
        let mut client = served.client();
        client.write(&request);
        let answer = client.read();
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&request));
        assert!(answer.json()["error"]["message"].is_string());
        assert_eq!(client.call("VM.get_all", &[]).status, 200);
    }
}
