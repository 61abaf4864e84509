//! The command `test`, also written `[ … ]`.

use super::super::filesystem::{Kind, Metadata};
use super::number;

/// The most arguments; with more, the result is false.
const MAX_ARGUMENTS: usize = 256;

/// Evaluates the arguments; `metadata` looks up the file at a path.
pub(super) fn evaluate(arguments: &[String], metadata: &dyn Fn(&str) -> Option<Metadata>) -> bool {
    if arguments.len() > MAX_ARGUMENTS {
        return false;
    }
    let mut test = Test { rest: arguments, metadata };
    test.any()
}

struct Test<'a> {
    rest: &'a [String],
    metadata: &'a dyn Fn(&str) -> Option<Metadata>,
}

impl Test<'_> {
    fn take(&mut self, word: &str) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if first == word => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> bool {
        let mut result = self.all();
        while self.take("-o") {
            result |= self.all();
        }
        result
    }

    fn all(&mut self) -> bool {
        let mut result = self.one();
        // Adjacent tests are joined as by `-a`.
        while self.take("-a") || self.rest.first().is_some_and(|next| next != "-o" && next != ")") {
            result &= self.one();
        }
        result
    }

    fn one(&mut self) -> bool {
        let mut negated = false;
        while !self.at_comparison() && self.take("!") {
            negated = !negated;
        }
        self.primary() != negated
    }

    fn at_comparison(&self) -> bool {
        matches!(self.rest, [left, operator, right, ..] if compare(left, operator, right).is_some())
    }

    fn primary(&mut self) -> bool {
        if let [left, operator, right, rest @ ..] = self.rest
            && let Some(result) = compare(left, operator, right)
        {
            self.rest = rest;
            return result;
        }
        if self.take("(") {
            let result = self.any();
            self.take(")");
            return result;
        }
        if let [operator, operand, rest @ ..] = self.rest
            && let Some(result) = self.check(operator, operand)
        {
            self.rest = rest;
            return result;
        }
        match self.rest.split_first() {
            Some((word, rest)) => {
                self.rest = rest;
                !word.is_empty()
            }
            None => false,
        }
    }

    fn check(&self, operator: &str, operand: &str) -> Option<bool> {
        let metadata = || (self.metadata)(operand);
        Some(match operator {
            "-n" => !operand.is_empty(),
            "-z" => operand.is_empty(),
            "-e" => metadata().is_some(),
            "-f" => metadata().is_some_and(|found| found.kind == Kind::File),
            "-d" => metadata().is_some_and(|found| found.kind == Kind::Directory),
            "-s" => metadata().is_some_and(|found| found.length > 0),
            _ => return None,
        })
    }
}

fn compare(left: &str, operator: &str, right: &str) -> Option<bool> {
    let number = number::signed;
    Some(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "-eq" => number(left) == number(right),
        "-ne" => number(left) != number(right),
        "-lt" => number(left) < number(right),
        "-le" => number(left) <= number(right),
        "-gt" => number(left) > number(right),
        "-ge" => number(left) >= number(right),
        "-pgt" => after_same_start(left, right).is_gt(),
        "-plt" => after_same_start(left, right).is_lt(),
        _ => return None,
    })
}

/// Compares the first numbers that differ, as in `vmlinuz-2` and `vmlinuz-11`.
fn after_same_start(left: &str, right: &str) -> std::cmp::Ordering {
    let same = left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count();
    let digits =
        left.get(..same).map_or(0, |start| start.len() - start.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    let value = |text: &str| text.get(same - digits..).and_then(number::unsigned).map_or(0, |(number, _)| number);
    value(left).cmp(&value(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_evaluated_as_grub_does() {
        let files = |path: &str| match path {
            "/file" => Some(Metadata { kind: Kind::File, length: 3 }),
            "/empty" => Some(Metadata { kind: Kind::File, length: 0 }),
            "/dir" => Some(Metadata { kind: Kind::Directory, length: 4096 }),
            _ => None,
        };
        let cases = [
            ("a = a", true),
            ("a == b", false),
            ("a != b", true),
            ("-z |", true),
            ("-n |", false),
            ("|", false),
            ("x", true),
            ("! x", false),
            ("! | -a x", true),
            ("a = b -o c = c", true),
            ("a = a -a c = d", false),
            ("( a = b -o c = c ) -a -f /file", true),
            ("-e /nothing", false),
            ("-s /empty", false),
            ("-s /file", true),
            ("-d /dir", true),
            ("-f /dir", false),
            ("! -e /file -o -e /dir", true),
            ("10 -gt 9", true),
            ("x -eq 0", true),
            ("0x10 -eq 16", true),
            ("010 -eq 8", true),
            ("3abc -eq 3", true),
            ("-5 -lt 2", true),
            ("vmlinuz-2 -plt vmlinuz-11", true),
            ("vmlinuz-12 -pgt vmlinuz-11", true),
            ("= = =", true),
            ("! = !", true),
        ];
        for (line, expected) in cases {
            let arguments: Vec<String> = line.split(' ').map(|word| word.replace('|', "")).collect();
            assert_eq!(evaluate(&arguments, &files), expected, "[ {line} ]");
        }
        assert!(!evaluate(&[], &files));
    }
}
