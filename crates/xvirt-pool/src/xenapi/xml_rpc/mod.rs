//! XML-RPC as XenAPI's clients speak it: numbers are texts without a type, and the one result of each call is a struct
//! that says whether it succeeded.

mod read;
mod write;

use std::borrow::Cow;

#[cfg(test)]
pub(crate) use read::Request;
pub(crate) use read::{Malformed, method_name, request};
pub(crate) use write::{Envelope, response};

/// What is only written in text as a reference to a character, or cannot be in XML at all.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text as XML has it. What XML cannot have becomes U+FFFD.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let special = |character: char| matches!(character, '&' | '<' | '>' | '\r') || !is_allowed(character);
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reader makes a line feed of it otherwise.
            '\r' => out.push_str("&#13;"),
            other => out.push(if is_allowed(other) { other } else { char::REPLACEMENT_CHARACTER }),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
