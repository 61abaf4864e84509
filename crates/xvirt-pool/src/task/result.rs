//! The result of a task, which is a text: the value as XML-RPC writes it, for whatever client.

use serde_json::Value;

/// The text of a value.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(to: &mut String, value: &Value) {
    to.push_str("<value>");
    match value {
        Value::Null => {}
        Value::Bool(truth) => to.push_str(if *truth { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
        Value::Number(number) if number.is_f64() => to.push_str(&format!("<double>{number}</double>")),
        // XenAPI's numbers are texts.
        Value::Number(number) => to.push_str(&number.to_string()),
        Value::String(text) => escape(to, text),
        Value::Array(values) => {
            to.push_str("<array><data>");
            values.iter().for_each(|value| write(to, value));
            to.push_str("</data></array>");
        }
        Value::Object(members) => {
            to.push_str("<struct>");
            for (name, value) in members {
                to.push_str("<member><name>");
                escape(to, name);
                to.push_str("</name>");
                write(to, value);
                to.push_str("</member>");
            }
            to.push_str("</struct>");
        }
    }
    to.push_str("</value>");
}

fn escape(to: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            letter => to.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_xml_rpc_has_them() {
        for (value, expected) in [
            (json!("OpaqueRef:1"), "<value>OpaqueRef:1</value>"),
            (
                json!(["a", "<b>"]),
                "<value><array><data><value>a</value><value>&lt;b&gt;</value></data></array></value>",
            ),
            (
                json!({ "k&": 1 }),
                "<value><struct><member><name>k&amp;</name><value>1</value></member></struct></value>",
            ),
            (json!(true), "<value><boolean>1</boolean></value>"),
            (json!(0.5), "<value><double>0.5</double></value>"),
            (json!(null), "<value></value>"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
