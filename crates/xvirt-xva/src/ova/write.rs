//! Formats values as XML like XenServer: without a declaration and without white space.

use super::value::{Record, Value};

/// The XML document of a value.
pub(super) fn document(value: &Value) -> String {
    let mut xml = String::new();
    write(value, &mut xml);
    xml
}

fn write(value: &Value, xml: &mut String) {
    xml.push_str("<value>");
    match value {
        Value::Text(text) => escape(text, xml),
        Value::Flag(flag) => element("boolean", if *flag { "1" } else { "0" }, xml),
        Value::Double(text) => element("double", text, xml),
        Value::Date(text) => element("dateTime.iso8601", text, xml),
        Value::Array(values) => {
            xml.push_str("<array><data>");
            values.iter().for_each(|value| write(value, xml));
            xml.push_str("</data></array>");
        }
        Value::Struct(Record(members)) => {
            xml.push_str("<struct>");
            for (name, value) in members {
                xml.push_str("<member>");
                element("name", name, xml);
                write(value, xml);
                xml.push_str("</member>");
            }
            xml.push_str("</struct>");
        }
    }
    xml.push_str("</value>");
}

fn element(tag: &str, text: &str, xml: &mut String) {
    xml.extend(["<", tag, ">"]);
    escape(text, xml);
    xml.extend(["</", tag, ">"]);
}

/// Whether XML allows a character (XML 1.0, section 2.2).
pub(super) fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Escapes special characters, and drops those that XML does not allow.
fn escape(text: &str, xml: &mut String) {
    for char in text.chars() {
        match char {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            // Otherwise a reader would turn it into a line feed.
            '\r' => xml.push_str("&#13;"),
            _ if is_allowed(char) => xml.push(char),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = Value::Struct(Record(vec![
            ("a & <b>".to_owned(), Value::text("\"x\" & <y>\t\n Ж 漢字 \u{1f980}")),
            ("empty".to_owned(), Value::map([])),
            ("flags".to_owned(), Value::Array(vec![Value::Flag(true), Value::Flag(false)])),
            ("when".to_owned(), Value::Date("19700101T00:00:00Z".to_owned())),
            ("ratio".to_owned(), Value::Double("1".to_owned())),
        ]));
        assert_eq!(parse::value(document(&value).as_bytes()).unwrap(), value);
    }

    #[test]
    fn it_looks_as_xenserver_writes_it() {
        let value = Value::map([("k", "a\0<b\x1b>")]);
        let xml = "<value><struct><member><name>k</name><value>a&lt;b&gt;</value></member></struct></value>";
        assert_eq!(document(&value), xml);
        assert_eq!(document(&Value::text("a\rb")), "<value>a&#13;b</value>");
    }
}
