//! What follows the question mark of a path.

/// The value of a parameter, decoded. `None` if it is missing, or is no text when it is decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => hexadecimal(rest.next()?)? << 4 | hexadecimal(rest.next()?)?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = "refs=1&ref=OpaqueRef%3a6D&name=a+b%c3%A4&empty=&bad=%4&worse=%ff&last";
        for (name, value) in [
            ("ref", Some("OpaqueRef:6D")),
            ("name", Some("a bä")),
            ("empty", Some("")),
            ("bad", None),
            ("worse", None),
            ("last", None),
            ("other", None),
        ] {
            assert_eq!(parameter(query, name).as_deref(), value, "{name}");
        }
    }
}
