//! XML-RPC, and other requests that browsers and clients make.

use serde_json::json;

use crate::support::Served;

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn call(verb: &str, parameters: &[&str]) -> String {
    let parameters: String =
        parameters.iter().map(|value| format!("<param><value>{value}</value></param>\n")).collect();
    format!(
        "<?xml version='1.0'?>\n<methodCall>\n<methodName>{verb}</methodName>\n<params>\n{parameters}</params>\n</methodCall>\n"
    )
}

#[test]
fn verbs_are_called_on_any_path_that_nothing_else_has() {
    let served = Served::new();
    let mut client = served.client();
    for path in ["/", "/RPC2", "/xmlrpc", "/json", "/anything?x=1"] {
        client.write(post(path, &call("VM.get_all", &["OpaqueRef:x"])));
        let answer = client.read();
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/xml"), "{path}");
        let expected = "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>\
            <value>Success</value></member><member><name>Value</name><value><array><data><value>OpaqueRef:1</value></data>\
            </array></value></member></struct></value></param></params></methodResponse>";
        assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
    }
    client
        .write(post("/", &call("VM.set_tags", &["s", "OpaqueRef:1", "<array><data><value>a</value></data></array>"])));
    assert!(String::from_utf8(client.read().body).unwrap().contains("<name>Value</name><value></value>"));
    client.write(post("/", &call("VM_fly", &["s"])));
    let failure =
        "<name>ErrorDescription</name><value><array><data><value>MESSAGE_METHOD_UNKNOWN</value><value>VM_fly</value>";
    assert!(String::from_utf8(client.read().body).unwrap().contains(failure));
    let calls = served.fake.calls.lock().unwrap();
    assert_eq!(calls[5].2, vec![json!("OpaqueRef:1"), json!(["a"])]);
}

#[test]
fn what_is_no_call_is_refused_and_the_connection_stays() {
    let served = Served::new();
    let mut client = served.client();
    for body in ["", "{}", "<methodCall/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><methodCall/>"] {
        client.write(post("/", body));
        let answer = client.read();
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (400, "text/xml"), "{body}");
        assert!(String::from_utf8(answer.body).unwrap().contains("<value>INTERNAL_ERROR</value>"));
    }
    client.write(post("/", &call("VM.get_all", &["<array><data><value>&x;</value></data></array>"])));
    let answer = client.read();
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8(answer.body).unwrap().contains("it has an entity of its own"));
}

#[test]
fn methods_are_listed_without_a_session_and_browsers_may_ask() {
    let served = Served::new();
    let mut client = served.remote();
    client.write(post("/RPC2", &call("system.listMethods", &[])));
    assert!(String::from_utf8(client.read().body).unwrap().contains("<value>VM.start</value>"));
    client.write("OPTIONS /jsonrpc HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.read();
    assert_eq!((answer.status, answer.headers["access-control-allow-origin"].as_str()), (200, "*"));
}
