//! Which entry of a menu GRUB takes by default.

use super::super::entry::BootEntry;
use super::number;

/// A menu, or a submenu.
#[derive(Debug, Default)]
pub(super) struct Menu {
    pub(super) lines: Vec<Line>,
    /// The variable `default`, as far as the script of this menu has set it.
    pub(super) default: Option<String>,
}

/// A line of a menu.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// An index into the list of all entries.
    Entry(usize),
    Menu(Menu),
}

/// How a name of an entry is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// As in GRUB 2.06: a text that starts with a number is a number.
    NumberFirst,
    /// As in the GRUB of Fedora and its derivatives, which have `blscfg`: numbers come last, and are only numbers.
    NumberLast,
}

impl Menu {
    /// The entry that is started by default; `None` if the chosen submenu is empty.
    pub(super) fn chosen(&self, outer: Option<&str>, names: Names) -> Option<usize> {
        let wanted = self.default.as_deref().or(outer).unwrap_or_default();
        self.line(wanted, names).or(self.lines.first())?.start(wanted, names)
    }

    /// The entries that are tried one after the other when the default cannot be started: numbers of lines.
    pub(super) fn fallbacks(&self, fallback: &str, names: Names) -> Vec<usize> {
        let mut found = Vec::new();
        let mut rest = fallback;
        while let Some((number, after)) = number::unsigned(rest) {
            let line = usize::try_from(number).ok().and_then(|number| self.lines.get(number));
            found.extend(line.and_then(|line| line.start("", names)));
            rest = after;
        }
        found
    }

    /// The entry of a line that was chosen by default, if it is no submenu.
    pub(super) fn is_entry(&self, index: usize) -> bool {
        self.lines.iter().any(|line| matches!(line.what, What::Entry(entry) if entry == index))
    }

    /// Finds a line by number, title or id.
    fn line(&self, wanted: &str, names: Names) -> Option<&Line> {
        let by_name = || self.lines.iter().find(|line| is_named(&line.title, wanted) || is_named(&line.id, wanted));
        let by_number = |number: u64| self.lines.get(usize::try_from(number).ok()?);
        match (names, number::unsigned(wanted)) {
            (Names::NumberFirst, Some((number, _))) => by_number(number),
            (Names::NumberFirst, None) => by_name(),
            (Names::NumberLast, Some((number, rest))) if rest.is_empty() || rest.starts_with('>') => {
                by_name().or_else(|| by_number(number))
            }
            (Names::NumberLast, _) => by_name(),
        }
    }
}

impl Line {
    /// The entry that is started when this line is taken, of which `wanted` may name one in the submenu.
    fn start(&self, wanted: &str, names: Names) -> Option<usize> {
        match &self.what {
            What::Entry(index) => Some(*index),
            What::Menu(menu) => menu.chosen(below(wanted), names),
        }
    }
}

/// Whether a name of an entry starts with this title or id; in it, `>` is written twice, and once before a submenu's.
fn is_named(title: &str, wanted: &str) -> bool {
    let mut rest = wanted;
    for c in title.chars() {
        let Some(after) = rest.strip_prefix(c) else { return false };
        rest = if c == '>' { after.strip_prefix('>').unwrap_or("") } else { after };
        if c == '>' && !after.starts_with('>') {
            return false;
        }
    }
    rest.is_empty() || (rest.starts_with('>') && !rest.starts_with(">>"))
}

/// What follows the first single `>`.
fn below(wanted: &str) -> Option<&str> {
    let mut at = 0;
    loop {
        at += wanted.get(at..)?.find('>')?;
        if wanted.get(at..)?.starts_with(">>") {
            at += 2;
            continue;
        }
        return wanted.get(at + 1..).filter(|rest| !rest.is_empty());
    }
}

/// The entry that the disk boots: the default, or a fallback if that cannot be booted.
pub(super) fn choose(
    menu: &Menu,
    names: Names,
    fallback: &str,
    entries: &[BootEntry],
    can_boot: impl Fn(&BootEntry) -> bool,
) -> Option<usize> {
    let can_boot = |index: &usize| entries.get(*index).is_some_and(&can_boot);
    let chosen = menu.chosen(None, names)?;
    if can_boot(&chosen) || !menu.is_entry(chosen) {
        return Some(chosen);
    }
    menu.fallbacks(fallback, names).into_iter().find(can_boot).or(Some(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_with_doubled_signs() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("ab", "a", false),
            ("a", "a>b", true),
            ("a > b", "a >> b", true),
            ("a > b", "a > b", false),
            ("a > b", "a >> b>c", true),
            ("a", "a>>b", false),
        ];
        for (title, wanted, expected) in cases {
            assert_eq!(is_named(title, wanted), expected, "{title} for {wanted}");
        }
        assert_eq!(["a", "a>b>c", "a>>b>c", "a>", ""].map(below), [None, Some("b>c"), Some("c"), None, None]);
    }

    #[test]
    fn fedora_looks_for_a_name_before_a_number() {
        let line = |id: &str, index| Line { id: id.into(), title: format!("title {id}"), what: What::Entry(index) };
        let menu = Menu { lines: vec![line("9f8e-6.1", 0), line("1f8e-6.2", 1)], default: None };
        let cases = [
            ("1f8e-6.2", Names::NumberLast, 1),
            ("1f8e-6.2", Names::NumberFirst, 1),
            ("9f8e-6.1", Names::NumberLast, 0),
            ("1abc", Names::NumberLast, 0),
            ("1abc", Names::NumberFirst, 1),
            ("1", Names::NumberLast, 1),
            ("0x1", Names::NumberLast, 1),
        ];
        for (wanted, names, expected) in cases {
            assert_eq!(menu.chosen(Some(wanted), names), Some(expected), "{wanted} {names:?}");
        }
    }
}
