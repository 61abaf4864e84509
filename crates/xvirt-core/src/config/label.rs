//! Labels: keys and values by which programs find VMs and templates.

use std::collections::BTreeMap;

use super::invalid;
use crate::Result;

/// The most labels of one VM or template.
const MAX: usize = 64;
/// The longest key, in bytes.
const MAX_KEY_LENGTH: usize = 63;
/// The longest value, in bytes.
const MAX_VALUE_LENGTH: usize = 1024;

/// Checks the number of labels, their keys and their values.
pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    if labels.len() > MAX {
        return Err(invalid(format!("{} labels are too many", labels.len()), &format!("use at most {MAX}")));
    }
    labels.iter().try_for_each(|(key, value)| check(key, value))
}

fn check(key: &str, value: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    if key.len() > MAX_KEY_LENGTH {
        let what = format!("a key of {} bytes is too long for a label", key.len());
        return Err(invalid(what, &format!("use at most {MAX_KEY_LENGTH} bytes")));
    }
    if key.is_empty() || !key.bytes().all(allowed) {
        return Err(invalid(
            format!("{key:?} cannot be the key of a label"),
            "use letters and digits of ASCII, dashes, dots, underscores and slashes",
        ));
    }
    if value.len() > MAX_VALUE_LENGTH {
        let what = format!("the value of label {key} is too long: {} bytes", value.len());
        return Err(invalid(what, &format!("use at most {MAX_VALUE_LENGTH} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(format!("the value of label {key} has control characters"), "use text in one line"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, value: &str) -> String {
        check_labels(&BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap_err().to_string()
    }

    #[test]
    fn labels_have_short_plain_keys_and_values_of_one_line() {
        let longest = [("k".repeat(63), "v".repeat(1024)), ("example.org/tenant_1-a".to_owned(), String::new())];
        check_labels(&BTreeMap::from(longest)).unwrap();
        check_labels(&BTreeMap::from([("owner".to_owned(), "Jürgen".to_owned())])).unwrap();
        for key in ["", "a b", "ü", "a=b", "a\n"] {
            assert!(refused(key, "").contains("cannot be the key of a label"), "{key:?}");
        }
        assert!(refused(&"k".repeat(64), "").starts_with("a key of 64 bytes is too long for a label; use at most 63"));
        assert!(refused("k", &"v".repeat(1025)).starts_with("the value of label k is too long: 1025 bytes"));
        for value in ["a\nb", "\0", "\u{7f}", "\u{85}"] {
            assert!(refused("k", value).contains("control characters"), "{value:?}");
        }
    }

    #[test]
    fn there_are_at_most_64() {
        let labels = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        check_labels(&labels(64)).unwrap();
        assert!(check_labels(&labels(65)).unwrap_err().to_string().starts_with("65 labels are too many"));
    }
}
