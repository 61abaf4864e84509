//! The library's messages in the words of this program.
//!
//! What to do, the library says for every language: it names its own calls, or just what is to be done. Here the same is
//! done by a verb or an option.

use std::fmt::{self, Display};

/// Texts of the library, and what they are here.
const WORDS: [(&str, &str); 9] = [
    ("ReadOptions::max_window", "--max-window"),
    ("Repository::vms", "appliance list"),
    ("Repository::check", "appliance check"),
    ("Repository::remove_vm", "appliance remove"),
    ("accept unchecked contents", "accept unchecked contents with --accept-unchecked"),
    ("name a bridge for it", "name a bridge for it with --network"),
    ("give the new one another UUID, or remove the old one", "leave out --preserve, or use appliance remove"),
    ("can be sealed as a template again", "can be sealed as a template again by a program that uses the library"),
    ("verify tells which disks are whole", "appliance verify tells which disks are whole"),
];

/// A message of the library in the words of this program.
#[derive(Debug)]
pub struct Words<T>(pub T);

impl<T: Display> Display for Words<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let ours = WORDS.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours));
        f.write_str(&with_calls_named(&ours))
    }
}

/// Says of the calls for which this program has no verb that they are the library's.
fn with_calls_named(text: &str) -> String {
    let mut named = String::new();
    for (index, word) in text.split(' ').enumerate() {
        named.push_str(if index > 0 { " " } else { "" });
        let call = word.trim_matches(|char: char| !char.is_alphanumeric() && char != '_');
        match word.split_once(call).filter(|_| is_call(call)) {
            Some((before, after)) => named.push_str(&format!("{before}{call} of the library{after}")),
            None => named.push_str(word),
        }
    }
    named
}

/// Whether a word is a call of the library, such as `Boot::kernel`.
fn is_call(word: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || char == '_');
    let is_type = |text: &str| text.starts_with(char::is_uppercase) && text.contains(char::is_lowercase);
    word.split_once("::").is_some_and(|(kind, call)| is_name(kind) && is_type(kind) && is_name(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_become_verbs_and_options() {
        for (theirs, ours) in [
            ("list the VMs with Repository::vms", "list the VMs with appliance list"),
            ("raise ReadOptions::max_window (to 2 GiB)", "raise --max-window (to 2 GiB)"),
            (
                "give the kernel with Boot::kernel, or (VmConfig::seccomp).",
                "give the kernel with Boot::kernel of the library, or (VmConfig::seccomp of the library).",
            ),
            ("no  call: FE80::1, a::b, :: and Ref::", "no  call: FE80::1, a::b, :: and Ref::"),
            ("", ""),
        ] {
            assert_eq!(Words(theirs).to_string(), ours);
        }
    }
}
