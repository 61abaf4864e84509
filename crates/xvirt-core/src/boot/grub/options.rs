//! The options of commands, in any position among the arguments.

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    /// A value, if the next argument is not an option.
    MaybeValue,
}

/// An option: its letter (a space if it has none), its name, and its value.
pub(super) type Known = (char, &'static str, Takes);

/// The arguments of a command, taken apart.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The options in order; those that are not known are left out, because later versions of GRUB have more.
    given: Vec<(&'static str, Option<String>)>,
    /// The other arguments.
    pub(super) plain: Vec<String>,
}

impl Parsed {
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The last value of an option.
    pub(super) fn value(&self, name: &'static str) -> Option<&str> {
        self.values(name).last()
    }

    /// All values of an option.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.given.iter().filter(move |(given, _)| *given == name).filter_map(|(_, value)| value.as_deref())
    }
}

/// Takes the arguments of a command with these options apart.
pub(super) fn parse(arguments: Vec<String>, known: &[Known]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let (letters, name) = match (argument.strip_prefix("--"), argument.strip_prefix('-')) {
            (Some(""), _) => {
                parsed.plain.extend(arguments);
                break;
            }
            (Some(name), _) => ("", name),
            (None, Some(letters)) if !letters.is_empty() => (letters, ""),
            _ => {
                parsed.plain.push(argument);
                continue;
            }
        };
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let by_letter = |letter| known.iter().find(|(short, ..)| *short == letter);
        let mut found: Vec<&Known> = letters.chars().filter_map(by_letter).collect();
        found.extend(known.iter().find(|(_, long, _)| *long == name));
        // Of several letters, only the last has a value.
        let last = found.pop();
        parsed.given.extend(found.into_iter().map(|(_, name, _)| (*name, None)));
        let Some((_, name, takes)) = last else { continue };
        let wanted = match takes {
            Takes::Nothing => false,
            Takes::Value => true,
            Takes::MaybeValue => arguments.peek().is_some_and(|next| !next.starts_with('-')),
        };
        if wanted && value.is_none() {
            value = arguments.next();
        }
        parsed.given.push((name, value));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_anywhere() {
        let known = [('s', "set", Takes::MaybeValue), ('l', "label", Takes::Nothing), (' ', "hint", Takes::Value)];
        let shape = |line: &str| {
            let parsed = parse(line.split(' ').map(str::to_owned).collect(), &known);
            let given = parsed.given.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("?")));
            format!("{} | {}", given.collect::<Vec<_>>().join(" "), parsed.plain.join(" "))
        };
        let cases = [
            ("--label x --set y", "label=? set=y | x"),
            ("--set y --label x", "set=y label=? | x"),
            ("--set --label x", "set=? label=? | x"),
            ("x -ls y", "label=? set=y | x"),
            ("x --set=y z", "set=y | x z"),
            ("--hint --label x --unknown --more=3", "hint=--label | x"),
            ("-- --label -s", " | --label -s"),
            ("x - --set", "set=? | x -"),
        ];
        for (line, expected) in cases {
            assert_eq!(shape(line), expected, "{line}");
        }
    }
}
