//! Requests as clients write them, and those that no client writes.

use serde_json::json;

use super::*;
use crate::model::Type;

fn called(value: &str) -> Result<serde_json::Value, String> {
    let body = format!("<methodCall><methodName>a.b</methodName><params><param>{value}</param></params></methodCall>");
    request(body.as_bytes())
        .map(|request| request.parameters.into_iter().next().unwrap())
        .map_err(|malformed| malformed.0)
}

#[test]
fn every_type_is_read() {
    for (xml, expected) in [
        ("<value>12</value>", json!("12")),
        ("<value> a &lt;&#x416;&gt; <![CDATA[<b>]]></value>", json!(" a <Ж> <b>")),
        ("<value/>", json!("")),
        ("<value> </value>", json!(" ")),
        ("<value>\n <string>x</string>\n</value>", json!("x")),
        ("<value><string/></value>", json!("")),
        ("<value><int>-5</int></value>", json!(-5)),
        ("<value><i4> 5 </i4></value>", json!(5)),
        ("<value><i8>9223372036854775807</i8></value>", json!(i64::MAX)),
        ("<value><double>1</double></value>", json!(1.0)),
        ("<value><double>-1.5e3</double></value>", json!(-1500.0)),
        ("<value><boolean>1</boolean></value>", json!(true)),
        ("<value><boolean>0</boolean></value>", json!(false)),
        ("<value><dateTime.iso8601>20240131T12:00:00</dateTime.iso8601></value>", json!("20240131T12:00:00")),
        ("<value><nil/></value>", json!(null)),
        ("<value><array/></value>", json!([])),
        ("<value><array><data/></array></value>", json!([])),
        ("<value><struct/></value>", json!({})),
        (
            "<value><struct><member><value><array><data><value>a</value><value><i4>1</i4></value></data></array></value>\
             <name>l</name></member><!-- x --><member><name>&amp;</name><value/></member></struct></value>",
            json!({ "l": ["a", 1], "&": "" }),
        ),
    ] {
        assert_eq!(called(xml), Ok(expected), "{xml}");
    }
    let bare = b"<?xml version='1.0' encoding='UTF-8'?><methodCall><methodName> a.b </methodName></methodCall>\n";
    assert_eq!(request(bare), Ok(Request { method: "a.b".into(), parameters: vec![] }));
    assert_eq!(method_name(bare).unwrap(), "a.b");
}

#[test]
fn what_is_no_request_is_refused_with_what_to_send() {
    let deep = format!("<value>{}", "<array><data><value>".repeat(100));
    for (xml, why) in [
        ("<value>&xxe;</value>", "it has an entity of its own"),
        ("<value>a", "expected `</value>`"),
        ("<value>a<int>1</int></value>", "the element <int> is in the wrong place"),
        ("<value><int>1</int>a</value>", "there is text in place of an element"),
        ("<value><int>9223372036854775808</int></value>", "a number is not one of 64 bits"),
        ("<value><double>nan</double></value>", "a double is no finite number"),
        ("<value><boolean>true</boolean></value>", "a boolean is neither 0 nor 1"),
        ("<value><base64>AA==</base64></value>", "no values of the type <base64>"),
        ("<value><struct><member><name>a</name></member></struct></value>", "lacks its name or its value"),
        ("<value>&#1;</value>", "it has the character U+0001"),
        ("<value>a</value><value>b</value>", "the element <value> is in the wrong place"),
        (deep.as_str(), "nested more than 64 levels deep"),
    ] {
        let error = called(xml).unwrap_err();
        assert!(error.contains(why) && error.ends_with("; send one methodCall in UTF-8"), "{xml:.60}: {error}");
    }
    let twice = "<member><name>a</name><value/></member>".repeat(2);
    assert!(called(&format!("<value><struct>{twice}</struct></value>")).unwrap_err().contains("the same name"));
    let many = format!("<value><array><data>{}</data></array></value>", "<value/>".repeat(50_000));
    assert!(called(&many).unwrap_err().contains("more than 50000 values"));
    let call = "<methodCall><methodName>a</methodName></methodCall>";
    for (body, why) in [
        (b"".as_slice(), "it ends too early"),
        (b"\xff", "it is not UTF-8"),
        (b"{}", "there is text in place of an element"),
        (b"<html></html>", "the element <html> is in the wrong place"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><methodCall/>", "it has a DTD"),
        (format!("{call}{call}").as_bytes(), "something follows its end"),
    ] {
        let error = request(body).unwrap_err().0;
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn answers_have_no_white_space_and_texts_no_element() {
    let answer = |value, value_type| {
        let text = String::from_utf8(response(&Ok(value), value_type, Envelope::Status)).unwrap();
        let (_, value) = text.split_once("<name>Value</name>").unwrap();
        value.strip_suffix("</member></struct></value></param></params></methodResponse>").unwrap().to_owned()
    };
    for (value, value_type, expected) in [
        (json!("a\r<&>\u{1}"), Some(Type::String), "<value>a&#13;&lt;&amp;&gt;\u{fffd}</value>"),
        (json!(""), Some(Type::String), "<value></value>"),
        (json!(null), Some(Type::Void), "<value></value>"),
        (json!(12), Some(Type::Int), "<value>12</value>"),
        (json!(u64::MAX), None, "<value>18446744073709551615</value>"),
        (json!(1), Some(Type::Float), "<value><double>1</double></value>"),
        (json!(0.5), None, "<value><double>0.5</double></value>"),
        (json!(true), Some(Type::Bool), "<value><boolean>1</boolean></value>"),
        (
            json!("19700101T00:00:00Z"),
            Some(Type::DateTime),
            "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>",
        ),
        (json!([]), Some(Type::Set(&Type::Int)), "<value><array><data></data></array></value>"),
        (json!({}), Some(Type::Record("VM")), "<value><struct></struct></value>"),
        (
            json!({ "memory_static_max": 5, "is_a_template": false }),
            Some(Type::Record("VM")),
            "<value><struct><member><name>is_a_template</name><value><boolean>0</boolean></value></member>\
             <member><name>memory_static_max</name><value>5</value></member></struct></value>",
        ),
        (
            json!({ "valid_ref_counts": { "vm": 2 } }),
            Some(Type::EventBatch),
            "<value><struct><member><name>valid_ref_counts</name><value><struct><member><name>vm</name>\
             <value><i4>2</i4></value></member></struct></value></member></struct></value>",
        ),
    ] {
        assert_eq!(answer(value, value_type), expected);
    }
    let events = json!({ "events": [{ "class": "vm", "snapshot": { "snapshot_time": "19700101T00:00:00Z" } }] });
    assert!(answer(events, Some(Type::EventBatch)).contains("<dateTime.iso8601>19700101T00:00:00Z<"));
}
