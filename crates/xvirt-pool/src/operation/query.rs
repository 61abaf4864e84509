//! The language of `get_all_where` and `get_all_records_where`, as XenServer has it.
//!
//! ```text
//! expression = operand { ("and" | "or") operand } | "not" expression
//! operand    = "not" expression | "(" expression ")" | "true" | "false" | value "=" value
//! value      = '"' any characters but '"' '"' | "field" '"' name '"'
//! ```
//!
//! `and` and `or` have the same precedence and are read from the left; `not` takes all that follows it, up to the end of
//! its parentheses. Names of fields are those of XenServer's database, with two underscores between the parts of a name
//! (`name__label`); the names of XenAPI are understood, too. Values are compared as texts.

use serde_json::Value;

use crate::model::{ClassTable, Field};

/// How deep parentheses and `not` may be in each other.
const DEPTH: usize = 64;
/// The name of the reference of an object, as if it were a field.
const REFERENCE: &str = "_ref";

/// An expression, for objects of one class.
#[derive(Debug)]
pub(crate) struct Query(Expression);

#[derive(Debug)]
enum Expression {
    Constant(bool),
    Equal(Term, Term),
    Not(Box<Self>),
    /// Read from the left; in a list, so that a long one is not deep.
    Chain(Box<Self>, Vec<(Connective, Self)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connective {
    And,
    Or,
}

#[derive(Debug)]
enum Term {
    Literal(String),
    Field(&'static Field),
    Reference,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Open,
    Close,
    Equals,
}

impl Query {
    /// Reads an expression about objects of this class.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn parse(table: &'static ClassTable, text: &str) -> Result<Self, String> {
        let mut parser = Parser { table, tokens: tokens(text)?.into_iter().peekable() };
        let expression = parser.expression(DEPTH)?;
        match parser.tokens.next() {
            None => Ok(Self(expression)),
            Some((at, _)) => Err(format!("nothing may follow at character {at}")),
        }
    }

    /// Whether an object is meant, which has this reference and this record.
    pub(crate) fn matches(&self, reference: &str, record: &Value) -> bool {
        self.0.holds(reference, record)
    }
}

impl Expression {
    fn holds(&self, reference: &str, record: &Value) -> bool {
        match self {
            Self::Constant(truth) => *truth,
            Self::Equal(left, right) => left.text(reference, record) == right.text(reference, record),
            Self::Not(expression) => !expression.holds(reference, record),
            Self::Chain(first, rest) => {
                rest.iter().fold(first.holds(reference, record), |left, (how, right)| match how {
                    Connective::And => left && right.holds(reference, record),
                    Connective::Or => left || right.holds(reference, record),
                })
            }
        }
    }
}

impl Term {
    fn text(&self, reference: &str, record: &Value) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Reference => reference.to_owned(),
            Self::Field(field) => record.get(field.name).map_or_else(|| stored(&field.default()), stored),
        }
    }
}

/// A value as XenServer's database has it: `('a' 'b')` for a set, `(('key' 'value'))` for a map.
fn stored(value: &Value) -> String {
    let quoted = |value: &Value| format!("'{}'", stored(value).replace('\\', "\\\\").replace('\'', "\\'"));
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("({})", values.iter().map(quoted).collect::<Vec<_>>().join(" ")),
        Value::Object(entries) => {
            let entry =
                |(key, value): (&String, &Value)| format!("({} {})", quoted(&Value::from(key.as_str())), quoted(value));
            format!("({})", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// The tokens of a text, each with the number of its first byte.
fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (token, length) = match rest.as_bytes().first() {
            Some(b' ' | b'\t' | b'\r' | b'\n') => {
                at += 1;
                continue;
            }
            Some(b'(') => (Token::Open, 1),
            Some(b')') => (Token::Close, 1),
            Some(b'=') => (Token::Equals, 1),
            Some(b'"') => {
                let inside = rest.get(1..).unwrap_or_default();
                let end = inside.find('"').ok_or_else(|| format!("the quotation of character {at} does not end"))?;
                (Token::Quoted(inside.get(..end).unwrap_or_default()), end + 2)
            }
            _ if letters > 0 => (Token::Word(rest.get(..letters).unwrap_or_default()), letters),
            _ => return Err(format!("character {at} is unexpected")),
        };
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

struct Parser<'a> {
    table: &'static ClassTable,
    tokens: std::iter::Peekable<std::vec::IntoIter<(usize, Token<'a>)>>,
}

impl Parser<'_> {
    fn expression(&mut self, depth: usize) -> Result<Expression, String> {
        let first = self.operand(depth)?;
        let mut rest = Vec::new();
        while let Some(how) = self.connective() {
            rest.push((how, self.operand(depth)?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
    }

    fn connective(&mut self) -> Option<Connective> {
        let how = match self.tokens.peek()? {
            (_, Token::Word("and")) => Connective::And,
            (_, Token::Word("or")) => Connective::Or,
            _ => return None,
        };
        self.tokens.next();
        Some(how)
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, String> {
        let deeper = depth.checked_sub(1).ok_or_else(|| format!("it is nested more than {DEPTH} times"))?;
        let (at, token) = self.tokens.next().ok_or("it ends too soon")?;
        let left = match token {
            Token::Word("true") => return Ok(Expression::Constant(true)),
            Token::Word("false") => return Ok(Expression::Constant(false)),
            // All that follows belongs to it.
            Token::Word("not") => return Ok(Expression::Not(Box::new(self.expression(deeper)?))),
            Token::Open => {
                let inner = self.expression(deeper)?;
                return match self.tokens.next() {
                    Some((_, Token::Close)) => Ok(inner),
                    _ => Err(format!("the parenthesis of character {at} is not closed")),
                };
            }
            token => self.term(at, token)?,
        };
        match self.tokens.next() {
            Some((_, Token::Equals)) => {}
            _ => return Err(format!("there is no `=` after the value of character {at}")),
        }
        let (at, token) = self.tokens.next().ok_or("it ends too soon")?;
        Ok(Expression::Equal(left, self.term(at, token)?))
    }

    fn term(&mut self, at: usize, token: Token<'_>) -> Result<Term, String> {
        match token {
            Token::Quoted(text) => Ok(Term::Literal(text.to_owned())),
            Token::Word("field") => match self.tokens.next() {
                Some((_, Token::Quoted(REFERENCE))) => Ok(Term::Reference),
                Some((_, Token::Quoted(name))) => self.field(name).map(Term::Field),
                _ => Err(format!("there is no name in quotation marks after the `field` of character {at}")),
            },
            _ => Err(format!("there is no value at character {at}")),
        }
    }

    fn field(&self, name: &str) -> Result<&'static Field, String> {
        let field = self.table.field(name).or_else(|| self.table.field(&name.replace("__", "_")));
        field.ok_or_else(|| format!("{} has no field {name:?}", self.table.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::class;

    fn matches(expression: &str) -> Result<bool, String> {
        let record = json!({
            "name_label": "web", "is_a_template": false, "VCPUs_max": 4, "power_state": "Running",
            "tags": ["a", "it's"], "other_config": { "k": "v" },
        });
        Query::parse(class("VM").unwrap(), expression).map(|query| query.matches("OpaqueRef:1", &record))
    }

    #[test]
    fn values_are_compared_as_texts_by_either_name() {
        for (expression, expected) in [
            ("true", true),
            ("false", false),
            ("field \"name__label\" = \"web\"", true),
            ("field \"name_label\"=\"web\"", true),
            ("\"web\" = field \"name__label\"", true),
            ("field \"name__label\" = \"Web\"", false),
            ("field \"is_a_template\" = \"false\"", true),
            ("field \"VCPUs__max\" = \"4\"", true),
            ("field \"power_state\" = field \"power_state\"", true),
            ("field \"tags\" = \"('a' 'it\\'s')\"", true),
            ("field \"other__config\" = \"(('k' 'v'))\"", true),
            ("field \"_ref\" = \"OpaqueRef:1\"", true),
            // A field that the record lacks has its default.
            ("field \"memory__static_max\" = \"536870912\"", true),
            ("\"a\" = \"a\"", true),
            ("\n(\ttrue\r)", true),
        ] {
            assert_eq!(matches(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn connectives_are_read_from_the_left_and_not_takes_the_rest() {
        for (expression, expected) in [
            ("true or true and false", false),
            ("true or (true and false)", true),
            ("false and true or true", true),
            ("not true and false", true),
            ("(not true) and false", false),
            ("true and not false or true", false),
            ("not not true", true),
            ("not false", true),
        ] {
            assert_eq!(matches(expression), Ok(expected), "{expression}");
        }
        assert_eq!(matches(&vec!["true"; 10_000].join(" and ")), Ok(true));
        assert_eq!(matches(&format!("{}true", "not ".repeat(60))), Ok(true));
    }

    #[test]
    fn all_else_is_refused_with_the_place() {
        for (expression, expected) in [
            ("", "it ends too soon"),
            ("true true", "nothing may follow at character 5"),
            ("(true", "the parenthesis of character 0 is not closed"),
            ("\"a\" = \"b", "the quotation of character 6 does not end"),
            ("\"a\"", "there is no `=` after the value of character 0"),
            ("field name = \"a\"", "there is no name in quotation marks after the `field` of character 0"),
            ("field \"absent\" = \"a\"", "VM has no field \"absent\""),
            ("true & true", "character 5 is unexpected"),
            ("TRUE", "there is no value at character 0"),
            ("\"a\" = true", "there is no value at character 6"),
        ] {
            assert_eq!(matches(expression).unwrap_err(), expected, "{expression}");
        }
        for deep in ["(".repeat(100_000), "not ".repeat(100_000)] {
            assert_eq!(matches(&deep).unwrap_err(), "it is nested more than 64 times");
        }
    }
}
