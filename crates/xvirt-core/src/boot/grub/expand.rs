//! Turns words into arguments: expands variables, and patterns to the files that they match.

use super::super::volume::Volumes;
use super::device;
use super::interpreter::{FILE_STEPS, Interpreter};
use super::lexer::{Piece, Word};
use crate::boot::glob;

/// The most arguments of one command.
const MAX_ARGUMENTS: usize = 1024;
const MAX_ARGUMENT_BYTES: usize = 256 << 10;

/// The cost of reading a directory in steps.
const DIRECTORY_STEPS: u32 = 5 * FILE_STEPS;

/// An argument that is being put together.
#[derive(Default)]
struct Argument {
    text: String,
    /// The places of `*` and `?` that stand for other text.
    wild: Vec<usize>,
}

impl Argument {
    fn push(&mut self, text: &str, is_quoted: bool) {
        if !is_quoted {
            let wild = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'*' | b'?'));
            self.wild.extend(wild.map(|(at, _)| self.text.len() + at));
        }
        self.text.push_str(text);
    }
}

impl Interpreter<'_, '_> {
    /// Expands variables, splits unquoted ones into words, and replaces patterns by the files that match.
    pub(super) fn expand(&mut self, words: &[Word]) -> Vec<String> {
        self.touched.clone_from(&self.branch_unknown);
        let mut expanded = Vec::new();
        let mut bytes = 0;
        for word in words {
            let mut current: Option<Argument> = None;
            for piece in word.iter() {
                match piece {
                    Piece::Text { text, quoted } => current.get_or_insert_default().push(text, *quoted),
                    Piece::Variable { name, quoted: true } if name == "@" => {
                        // Each argument remains a separate word.
                        let arguments = self.arguments.clone();
                        for (index, argument) in arguments.iter().enumerate() {
                            if index > 0 {
                                self.finish(current.take(), &mut expanded);
                            }
                            current.get_or_insert_default().push(argument, true);
                        }
                        // Without arguments, the quotes still make a word.
                        current.get_or_insert_default();
                    }
                    Piece::Variable { name, quoted: true } => {
                        let value = self.variable(name);
                        current.get_or_insert_default().push(&value, true);
                    }
                    Piece::Variable { name, quoted: false } => {
                        let value = self.variable(name);
                        let starts_apart = value.starts_with([' ', '\t', '\n']);
                        let ends_apart = value.ends_with([' ', '\t', '\n']);
                        for (index, part) in value.split_ascii_whitespace().enumerate() {
                            if index > 0 || starts_apart {
                                self.finish(current.take(), &mut expanded);
                            }
                            current.get_or_insert_default().push(part, false);
                        }
                        if ends_apart {
                            self.finish(current.take(), &mut expanded);
                        }
                    }
                }
                bytes += current.as_ref().map_or(0, |argument| argument.text.len());
                if bytes > MAX_ARGUMENT_BYTES || expanded.len() > MAX_ARGUMENTS {
                    self.spend(u32::MAX);
                    return Vec::new();
                }
            }
            self.finish(current, &mut expanded);
        }
        self.spend(length_steps(bytes));
        expanded
    }

    /// The value of a variable, which may depend on an unknown command.
    fn variable(&mut self, name: &str) -> String {
        if let Some(unknown) = self.environment.unknown(name) {
            self.touched.get_or_insert(unknown);
        }
        match name {
            "@" | "*" => self.arguments.join(" "),
            "#" => self.arguments.len().to_string(),
            _ => match name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
                Some(index) => self.arguments.get(index).cloned().unwrap_or_default(),
                None => self.environment.get(name).to_owned(),
            },
        }
    }

    /// Adds an argument, or the files that it matches. GRUB does so only with its module `regexp`.
    fn finish(&self, argument: Option<Argument>, out: &mut Vec<String>) {
        let Some(argument) = argument else { return };
        let is_pattern = self.has_patterns && !argument.wild.is_empty() && argument.text.starts_with(['/', '(']);
        let found = if is_pattern { self.matching(&argument) } else { Vec::new() };
        if found.is_empty() {
            out.push(argument.text);
        } else {
            out.extend(found);
        }
    }

    /// The files that match, in the order of their directory.
    fn matching(&self, argument: &Argument) -> Vec<String> {
        let Argument { text, wild } = argument;
        let is_wild = |at: usize| wild.binary_search(&at).is_ok();
        let device_length = if text.starts_with('(') { text.find(')').map_or(text.len(), |end| end + 1) } else { 0 };
        let (device, path) = text.split_at(device_length);
        let mut found = vec![device.to_owned()];
        let mut had_pattern = false;
        if (0..device_length).any(is_wild) {
            had_pattern = true;
            found = devices(self.volumes);
            found.retain(|name| glob::matches(device.as_bytes(), name.as_bytes(), is_wild, |a, b| a == b));
        }
        let mut start = device_length;
        for part in path.split_inclusive('/') {
            let name = part.strip_suffix('/').unwrap_or(part);
            let slash = part.strip_prefix(name).unwrap_or_default();
            let here = start..start + name.len();
            if !self.spend(length_steps(found.len() * (1 + part.len()))) {
                return Vec::new();
            }
            if here.clone().any(is_wild) {
                had_pattern = true;
                let is_wild = |at: usize| wild.binary_search(&(here.start + at)).is_ok();
                let children = found.iter().flat_map(|directory| self.children(directory, name, &is_wild));
                found = children.take(MAX_ARGUMENTS).collect();
            } else {
                found.iter_mut().for_each(|path| path.push_str(name));
                if had_pattern && !name.is_empty() {
                    found.retain(|path| self.is_there(path));
                }
            }
            found.iter_mut().for_each(|path| path.push_str(slash));
            start += part.len();
        }
        found
    }

    /// The paths of the files in a directory whose names match.
    fn children(&self, directory: &str, pattern: &str, is_wild: &dyn Fn(usize) -> bool) -> Vec<String> {
        let names = match device::resolve(directory, self.environment.get("root")) {
            Ok(at) if self.spend(DIRECTORY_STEPS) => self.volumes.names(&at),
            _ => Vec::new(),
        };
        // A name takes as long as the pattern, and what is found of it as much memory as the whole path.
        let steps = 1 + length_steps(directory.len() + pattern.len());
        let matches = |name: &String| {
            self.spend(steps) && glob::matches(pattern.as_bytes(), name.as_bytes(), is_wild, |a, b| a == b)
        };
        names.into_iter().filter(matches).map(|name| format!("{directory}{name}")).collect()
    }

    fn is_there(&self, path: &str) -> bool {
        let at = device::resolve(path, self.environment.get("root"));
        at.is_ok_and(|at| self.spend(FILE_STEPS) && self.volumes.exists(&at))
    }
}

/// The cost of this many bytes of text in steps.
fn length_steps(bytes: usize) -> u32 {
    u32::try_from(bytes / 64).unwrap_or(u32::MAX)
}

/// The names of the disk and its partitions, in GRUB's order.
fn devices(volumes: &Volumes<'_>) -> Vec<String> {
    let mut names = vec!["(hd0)".to_owned()];
    let numbers: Vec<u32> =
        volumes.partitions().map(|partition| partition.number).filter(|number| *number > 0).collect();
    names.extend(numbers.iter().rev().map(|number| format!("({})", device::name(volumes, *number))));
    names
}
