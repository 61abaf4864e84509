//! The command `regexp`: extended regular expressions of POSIX.

use std::ops::Range;

/// The most nested groups of an expression, and the most repetitions of a repetition.
const MAX_DEPTH: usize = 16;

/// The most repetitions that an expression may ask for, as in Linux.
const MAX_COUNT: usize = 255;

/// The most steps of a match: an expression may take exponential time otherwise.
const MAX_STEPS: u32 = 100_000;

/// The most steps on the way to the end of a match, each of which takes some of the stack.
const MAX_WAY: u32 = 2000;

/// The ranges of a match: of all of it, and of its groups.
pub(super) type Groups = Vec<Option<Range<usize>>>;

/// A part of an expression.
#[derive(Debug)]
enum Node {
    Byte(u8),
    Any,
    /// A set of bytes, in or out of it.
    Set(Box<[bool; 256]>),
    Start,
    End,
    Group(usize, Vec<Vec<Node>>),
    Repeat(Box<Node>, usize, usize),
}

/// The longest of the leftmost matches in a text; `None` if there is none, or the expression is invalid.
pub(super) fn find(expression: &str, text: &str) -> Option<Groups> {
    let mut parser = Parser { rest: expression.as_bytes(), groups: 0, depth: 0 };
    let alternatives = parser.alternatives()?;
    if !parser.rest.is_empty() {
        return None;
    }
    let whole = [Node::Group(0, alternatives)];
    let mut search = Search { text: text.as_bytes(), steps: MAX_STEPS, way: 0, best: None };
    // Each try leaves it as it was. A new one for each would take long if there are many groups.
    let mut groups = vec![None; parser.groups + 1];
    for start in 0..=text.len() {
        search.run(&Rest { nodes: &whole, after: None }, start, &mut groups);
        if search.steps == 0 {
            return None;
        }
        if search.best.is_some() {
            break;
        }
    }
    search.best
}

struct Parser<'e> {
    rest: &'e [u8],
    groups: usize,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.next();
        }
        found
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn alternatives(&mut self) -> Option<Vec<Vec<Node>>> {
        let mut all = vec![self.sequence()?];
        while self.take(b'|') {
            all.push(self.sequence()?);
        }
        Some(all)
    }

    fn sequence(&mut self) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.rest.first().copied().filter(|byte| !matches!(byte, b'|' | b')')) {
            self.next();
            let mut node = match byte {
                b'.' => Node::Any,
                b'^' => Node::Start,
                b'$' => Node::End,
                b'[' => self.set()?,
                b'(' => self.group()?,
                b'\\' => Node::Byte(self.next()?),
                byte => Node::Byte(byte),
            };
            let mut depth = 0;
            while let Some((least, most)) = self.count()? {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
                node = Node::Repeat(Box::new(node), least, most);
            }
            nodes.push(node);
        }
        Some(nodes)
    }

    fn group(&mut self) -> Option<Node> {
        self.groups += 1;
        self.depth += 1;
        let number = self.groups;
        let inside = (self.depth <= MAX_DEPTH).then(|| self.alternatives())??;
        self.depth -= 1;
        self.take(b')').then_some(Node::Group(number, inside))
    }

    /// How often the last part may occur; the inner `None` is once.
    fn count(&mut self) -> Option<Option<(usize, usize)>> {
        Some(match self.rest.first() {
            Some(b'*') => self.next().map(|_| (0, usize::MAX)),
            Some(b'+') => self.next().map(|_| (1, usize::MAX)),
            Some(b'?') => self.next().map(|_| (0, 1)),
            Some(b'{') => {
                self.next();
                let end = self.rest.iter().position(|byte| *byte == b'}')?;
                let (inside, rest) = self.rest.split_at(end);
                self.rest = rest.get(1..)?;
                let inside = std::str::from_utf8(inside).ok()?;
                let number = |text: &str| text.parse::<usize>().ok().filter(|count| *count <= MAX_COUNT);
                Some(match inside.split_once(',') {
                    None => (number(inside)?, number(inside)?),
                    Some((least, "")) => (number(least)?, usize::MAX),
                    Some(("", most)) => (0, number(most)?),
                    Some((least, most)) => (number(least)?, number(most)?),
                })
            }
            _ => None,
        })
    }

    fn set(&mut self) -> Option<Node> {
        let mut set = Box::new([false; 256]);
        let negated = self.take(b'^');
        let mut first = true;
        loop {
            let byte = self.next()?;
            if byte == b']' && !first {
                break;
            }
            first = false;
            if byte == b'[' && self.take(b':') {
                let end = self.rest.windows(2).position(|pair| pair == b":]")?;
                let class = class(self.rest.get(..end)?)?;
                self.rest = self.rest.get(end + 2..)?;
                (0..=u8::MAX).filter(class).for_each(|byte| set[usize::from(byte)] = true);
                continue;
            }
            let is_range = self.rest.first() == Some(&b'-') && self.rest.get(1).is_some_and(|next| *next != b']');
            let last = if is_range { self.next().and_then(|_| self.next())? } else { byte };
            (byte..=last).for_each(|byte| set[usize::from(byte)] = true);
        }
        if negated {
            set.iter_mut().for_each(|is_in| *is_in = !*is_in);
        }
        Some(Node::Set(set))
    }
}

fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"print" => |byte| (b' '..=b'~').contains(byte),
        b"graph" => u8::is_ascii_graphic,
        b"cntrl" => u8::is_ascii_control,
        _ => return None,
    })
}

/// What is still to be matched.
#[derive(Clone, Copy)]
struct Rest<'n> {
    nodes: &'n [Node],
    after: Option<&'n After<'n>>,
}

/// What follows the nodes.
enum After<'n> {
    /// The end of a group that began here.
    Close { group: usize, start: usize, then: Rest<'n> },
    /// Another repetition, if there was progress.
    Again { node: &'n Node, least: usize, most: usize, start: usize, then: Rest<'n> },
}

struct Search<'t> {
    text: &'t [u8],
    steps: u32,
    way: u32,
    best: Option<Groups>,
}

impl Search<'_> {
    /// Tries all ways to match, the preferred first, and keeps the first of the longest.
    fn run(&mut self, rest: &Rest<'_>, at: usize, groups: &mut Groups) {
        self.steps = if self.way < MAX_WAY { self.steps.saturating_sub(1) } else { 0 };
        if self.steps == 0 {
            return;
        }
        self.way += 1;
        self.step(rest, at, groups);
        self.way -= 1;
    }

    fn step(&mut self, rest: &Rest<'_>, at: usize, groups: &mut Groups) {
        let Some((node, nodes)) = rest.nodes.split_first() else { return self.follow(rest.after, at, groups) };
        let then = Rest { nodes, after: rest.after };
        let byte = self.text.get(at);
        match node {
            Node::Byte(wanted) if byte == Some(wanted) => self.run(&then, at + 1, groups),
            Node::Any if byte.is_some() => self.run(&then, at + 1, groups),
            Node::Set(set) if byte.is_some_and(|byte| set[usize::from(*byte)]) => self.run(&then, at + 1, groups),
            Node::Start if at == 0 => self.run(&then, at, groups),
            Node::End if at == self.text.len() => self.run(&then, at, groups),
            Node::Byte(_) | Node::Any | Node::Set(_) | Node::Start | Node::End => {}
            Node::Group(group, alternatives) => {
                let close = After::Close { group: *group, start: at, then };
                for nodes in alternatives {
                    self.run(&Rest { nodes, after: Some(&close) }, at, groups);
                }
            }
            Node::Repeat(node, least, most) => self.repeat(node, *least, *most, at, then, groups),
        }
    }

    fn repeat(&mut self, node: &Node, least: usize, most: usize, at: usize, then: Rest<'_>, groups: &mut Groups) {
        if most > 0 {
            let (least, most) = (least.saturating_sub(1), if most == usize::MAX { most } else { most - 1 });
            let again = After::Again { node, least, most, start: at, then };
            self.run(&Rest { nodes: std::slice::from_ref(node), after: Some(&again) }, at, groups);
        }
        if least == 0 {
            self.run(&then, at, groups);
        }
    }

    fn follow(&mut self, after: Option<&After<'_>>, at: usize, groups: &mut Groups) {
        match after {
            None => {
                let length = |groups: &Groups| groups.first().cloned().flatten().map_or(0, |range| range.len());
                if self.best.as_ref().is_none_or(|best| length(groups) > length(best)) {
                    self.best = Some(groups.clone());
                }
            }
            Some(After::Close { group, start, then }) => {
                let before = groups.get_mut(*group).and_then(|place| place.replace(*start..at));
                self.run(then, at, groups);
                if let Some(place) = groups.get_mut(*group) {
                    *place = before;
                }
            }
            Some(After::Again { node, least, most, start, then }) => {
                // A part that matched nothing matches any number of times.
                if at == *start {
                    self.run(then, at, groups);
                } else {
                    self.repeat(node, *least, *most, at, *then, groups);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_in_grub() {
        let cases: [(&str, &str, Option<&[&str]>); 20] = [
            ("(hd[0-9]+).*", "hd0,gpt2", Some(&["hd0,gpt2", "hd0"])),
            ("hd[0-9]+,(.*)$", "hd0,gpt2", Some(&["hd0,gpt2", "gpt2"])),
            ("(gpt|msdos)([0-9]+)", "hd0,gpt12", Some(&["gpt12", "gpt", "12"])),
            ("^(x+)$", "xyz", None),
            ("a|ab", "xab", Some(&["ab"])),
            ("(a|ab)(c|bcd)(d*)", "abcd", Some(&["abcd", "a", "bcd", ""])),
            ("(a)(b)?", "ac", Some(&["a", "a", "-"])),
            ("(ab)*c", "ababc", Some(&["ababc", "ab"])),
            ("^[[:alpha:]_]+-[^-]{2,3}$", "name-ab", Some(&["name-ab"])),
            ("^[^-]{2}$", "abc", None),
            ("a.c\\.d", "xabc.dx", Some(&["abc.d"])),
            ("[]a]+", "]a[", Some(&["]a"])),
            ("x{0}y{2,}", "yyy", Some(&["yyy"])),
            ("a{,2}$", "aaa", Some(&["aa"])),
            ("", "x", Some(&[""])),
            ("(a", "a", None),
            ("a)", "a)", None),
            ("[a", "a", None),
            ("a{1000}", "a", None),
            ("\\", "\\", None),
        ];
        for (expression, text, expected) in cases {
            let found = find(expression, text);
            let shown: Option<Vec<_>> =
                found.map(|groups| groups.into_iter().map(|range| range.map_or("-", |range| &text[range])).collect());
            assert_eq!(shown.as_deref(), expected, "{expression} in {text}");
        }
    }

    #[test]
    fn an_expression_cannot_take_for_ever() {
        let text = "a".repeat(60);
        assert_eq!(find("^(a|a)*$b", &text), None);
        assert_eq!(find(&"(".repeat(1000), &text), None);
        // Dropping so deep a part would overflow the stack.
        assert_eq!(find(&format!("a{}", "*".repeat(1 << 20)), &text), None);
        assert_eq!(find("a**", "aa").unwrap()[0], Some(0..2));
        assert_eq!(find("((a{200}){200}){200}", &text), None);
        assert_eq!(find("a*", &"a".repeat(1 << 20)), None);
    }
}
