//! The environment block, `grubenv`: a file of fixed length with variables, which GRUB rewrites in its place.

use super::volume::{DiskPath, Volumes};

/// The first line of every block.
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// A block has 1024 bytes; this allows for longer ones.
pub(super) const MAX_LENGTH: u64 = 64 << 10;

/// The variables of the block in a file; `None` if it is no environment block.
pub(super) fn variables(volumes: &Volumes<'_>, at: &DiskPath) -> Option<Vec<(String, String)>> {
    let block = EnvironmentBlock::new(volumes.bytes(at, MAX_LENGTH)?)?;
    Some(block.variables().collect())
}

/// A block as `load_env` and `save_env` handle it.
#[derive(Clone, Debug)]
pub(super) struct EnvironmentBlock(Vec<u8>);

impl EnvironmentBlock {
    /// Takes the contents of a file; `None` if it is no environment block.
    pub(super) fn new(bytes: Vec<u8>) -> Option<Self> {
        bytes.starts_with(SIGNATURE).then_some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The variables, with their values.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let lines = self.lines().filter(|line| !line.bytes.starts_with(b"#"));
        lines.filter_map(|line| {
            let at = line.bytes.iter().position(|byte| *byte == b'=')?;
            let (name, value) = line.bytes.split_at(at);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some((text(name), text(&unescaped(value.get(1..)?))))
        })
    }

    /// Sets a variable; `false` if there is no room for it, or the block is damaged.
    pub(super) fn set(&mut self, name: &str, value: &str) -> bool {
        let Some(end) = self.end() else { return false };
        let line = [name.as_bytes(), b"=", &escaped(value), b"\n"].concat();
        let old = self.find(name).unwrap_or(end..end);
        let room = self.0.len() - end;
        if line.len().saturating_sub(old.len()) > room {
            return false;
        }
        self.replace(old, &line);
        true
    }

    /// Removes a variable.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(old) = self.find(name) {
            self.replace(old, &[]);
        }
    }

    /// Replaces a range, and keeps the length of the block, which `#` fills.
    fn replace(&mut self, range: std::ops::Range<usize>, with: &[u8]) {
        let length = self.0.len();
        self.0.splice(range, with.iter().copied());
        self.0.resize(length, b'#');
    }

    /// Where the variables end; `None` if their last line is not finished.
    fn end(&self) -> Option<usize> {
        let filled = self.0.iter().rev().take_while(|byte| **byte == b'#').count();
        let end = self.0.len() - filled;
        (self.0.get(end.checked_sub(1)?) == Some(&b'\n')).then_some(end)
    }

    /// The range of the line of a variable, with the end of the line.
    fn find(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let is_it =
            |line: &Line<'_>| line.bytes.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        self.lines().find(is_it).map(|line| line.at..(line.at + line.bytes.len() + 1).min(self.0.len()))
    }

    /// The lines after the signature; an escaped end of line belongs to its line.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut at = SIGNATURE.len();
        std::iter::from_fn(move || {
            let rest = self.0.get(at..).filter(|rest| !rest.is_empty())?;
            let mut length = 0;
            while rest.get(length).is_some_and(|byte| *byte != b'\n') {
                length += if rest.get(length) == Some(&b'\\') { 2 } else { 1 };
            }
            let line = Line { at, bytes: rest.get(..length).unwrap_or(rest) };
            at += length + 1;
            Some(line)
        })
    }
}

struct Line<'b> {
    at: usize,
    bytes: &'b [u8],
}

fn escaped(value: &str) -> Vec<u8> {
    let escape = |byte| if matches!(byte, b'\\' | b'\n') { vec![b'\\', byte] } else { vec![byte] };
    value.bytes().flat_map(escape).collect()
}

fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.iter().copied();
    std::iter::from_fn(|| match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(variables: &str, length: usize) -> EnvironmentBlock {
        let mut bytes = [SIGNATURE, variables.as_bytes()].concat();
        bytes.resize(length, b'#');
        EnvironmentBlock::new(bytes).unwrap()
    }

    fn text(block: &EnvironmentBlock) -> &str {
        std::str::from_utf8(&block.bytes()[SIGNATURE.len()..]).unwrap()
    }

    #[test]
    fn variables_are_replaced_in_their_place_and_new_ones_come_last() {
        let mut block = block("a=1\nb=two\n", 64);
        assert!(block.set("a", "eleven"));
        assert!(block.set("c", "x\\y\nz"));
        assert!(block.set("b", ""));
        assert_eq!(text(&block).trim_end_matches('#'), "a=eleven\nb=\nc=x\\\\y\\\nz\n");
        block.remove("a");
        block.remove("gone");
        assert_eq!(text(&block).trim_end_matches('#'), "b=\nc=x\\\\y\\\nz\n");
        assert_eq!(block.bytes().len(), 64);
        let variables: Vec<_> = block.variables().collect();
        assert_eq!(variables, [("b".into(), String::new()), ("c".into(), "x\\y\nz".into())]);
    }

    #[test]
    fn a_block_without_room_stays_as_it_is() {
        let mut small = block("a=1\n", SIGNATURE.len() + 8);
        assert!(!small.set("b", "12"));
        assert!(small.set("b", "1"));
        assert!(!small.set("a", "12"));
        assert_eq!(text(&small), "a=1\nb=1\n");
        let mut unfinished = block("a=1", SIGNATURE.len() + 8);
        assert!(!unfinished.set("a", "2"));
        assert_eq!(text(&unfinished), "a=1#####");
        for bytes in [&b""[..], b"# GRUB", b"a=1\n"] {
            assert!(EnvironmentBlock::new(bytes.to_vec()).is_none());
        }
    }
}
