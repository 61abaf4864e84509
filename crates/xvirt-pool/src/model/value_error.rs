//! Errors in values: what is wrong, where, and what is expected.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::enumeration::Enumeration;

/// How much of a value an error shows, in characters.
const SHOWN: usize = 60;

/// A text that is not a value of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} is not {expected}; {remedy}")]
pub struct Malformed {
    given: String,
    expected: String,
    remedy: Cow<'static, str>,
}

impl Malformed {
    pub(super) fn new(given: &str, expected: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { given: format!("{:?}", shortened(given)), expected: expected.into(), remedy: remedy.into() }
    }

    pub(super) fn value_of(given: &str, enumeration: &Enumeration) -> Self {
        let remedy = format!("use one of: {}", enumeration.values.join(", "));
        Self::new(given, format!("a value of {}", enumeration.name), remedy)
    }

    /// What to do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// The kind of a [`ValueError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueErrorKind {
    /// The value has another type than the field: XenAPI's `FIELD_TYPE_ERROR`.
    WrongType,
    /// The value has the type of the field, but is not valid: `INVALID_VALUE`.
    Invalid,
    /// The field always has the same value: `VALUE_NOT_SUPPORTED`.
    NotSupported,
}

/// An error in the value of a field: which field of which class, what it takes, and what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    pub(super) kind: ValueErrorKind,
    pub(super) class: &'static str,
    pub(super) field: &'static str,
    pub(super) expected: String,
    pub(super) given: String,
    pub(super) remedy: String,
}

impl ValueError {
    /// The kind.
    pub fn kind(&self) -> ValueErrorKind {
        self.kind
    }

    /// The class.
    pub fn class(&self) -> &'static str {
        self.class
    }

    /// The field; empty if a whole record is wrong.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// What to do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// XenAPI's code for it.
    pub fn code(&self) -> &'static str {
        match self.kind {
            ValueErrorKind::WrongType => "FIELD_TYPE_ERROR",
            ValueErrorKind::Invalid => "INVALID_VALUE",
            ValueErrorKind::NotSupported => "VALUE_NOT_SUPPORTED",
        }
    }

    /// The parameters of that code.
    pub fn parameters(&self) -> Vec<String> {
        let (field, given) = (self.field.to_owned(), self.given.clone());
        match self.kind {
            ValueErrorKind::WrongType => vec![field],
            ValueErrorKind::Invalid => vec![field, given],
            ValueErrorKind::NotSupported => vec![format!("{}.{field}", self.class), given, self.expected.clone()],
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, field, expected, given, remedy, .. } = self;
        let place = if field.is_empty() { format!("a record of {class}") } else { format!("{class}.{field}") };
        write!(f, "{place} is {expected}, not {given}; {remedy}")
    }
}

impl std::error::Error for ValueError {}

/// A value for messages.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
