//! The types of XenAPI as data, and reading values of them.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::date_time::DateTime;
use super::enumeration::Enumeration;
use super::reference::Ref;
use super::value_error::{Malformed, ValueErrorKind, shown};

/// A type of a field, a parameter or a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// Nothing, as the result of a verb.
    Void,
    /// Text in UTF-8.
    String,
    /// A signed number of 64 bits.
    Int,
    /// A number of double precision; it is finite.
    Float,
    /// A truth value.
    Bool,
    /// A [`DateTime`].
    DateTime,
    /// A [`Ref`] to an object of this class.
    Ref(&'static str),
    /// A record of this class.
    Record(&'static str),
    /// A record of any class.
    AnyRecord,
    /// What `event.from` returns.
    EventBatch,
    /// A value of this enumeration.
    Enum(&'static Enumeration),
    /// A list of values; most have no order.
    Set(&'static Type),
    /// Keys and values.
    Map(&'static Type, &'static Type),
    /// A value or nothing.
    Option(&'static Type),
}

/// Why a value is not one of a type.
pub(crate) struct Misfit {
    pub(crate) kind: ValueErrorKind,
    pub(crate) given: String,
    pub(crate) remedy: String,
}

impl Misfit {
    fn wrong_type(given: &Value) -> Self {
        let remedy = "give a value of that type".to_owned();
        Self { kind: ValueErrorKind::WrongType, given: shown(given), remedy }
    }

    fn invalid(given: &Value, remedy: impl fmt::Display) -> Self {
        Self { kind: ValueErrorKind::Invalid, given: shown(given), remedy: remedy.to_string() }
    }
}

impl Type {
    /// The value in the form in which records have it, from one that a client wrote: numbers may be texts, dates may be
    /// in other notations, and an empty text may be the null reference. The members of records are not read.
    pub(crate) fn conform(&self, value: Value) -> Result<Value, Misfit> {
        match (self, value) {
            (Self::Void, value @ Value::Null) | (Self::String, value @ Value::String(_)) => Ok(value),
            (Self::Bool, value @ Value::Bool(_)) => Ok(value),
            (Self::Record(_) | Self::AnyRecord | Self::EventBatch, value @ Value::Object(_)) => Ok(value),
            (Self::Int, value) => int(value),
            (Self::Float, value) => float(value),
            (Self::DateTime, Value::String(text)) => parsed::<DateTime>(text),
            (Self::Ref(_), Value::String(text)) => parsed::<Ref<()>>(text),
            (Self::Enum(enumeration), Value::String(text)) if enumeration.values.contains(&text.as_str()) => {
                Ok(Value::String(text))
            }
            (Self::Enum(enumeration), Value::String(text)) => {
                let remedy = format!("use one of: {}", enumeration.values.join(", "));
                Err(Misfit::invalid(&Value::String(text), remedy))
            }
            (Self::Set(element), Value::Array(values)) => {
                values.into_iter().map(|value| element.conform(value)).collect::<Result<_, _>>().map(Value::Array)
            }
            (Self::Map(key, value), Value::Object(entries)) => {
                let entries = entries.into_iter().map(|(name, entry)| Ok((key.key(name)?, value.conform(entry)?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            (Self::Option(_), Value::Null) => Ok(Value::Null),
            (Self::Option(some), value) => some.conform(value),
            (_, value) => Err(Misfit::wrong_type(&value)),
        }
    }

    /// A key of a map, which is a text in JSON whatever its type is.
    fn key(&self, text: String) -> Result<String, Misfit> {
        match self.conform(Value::String(text))? {
            Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        }
    }

    /// The value that a field of this type has when nothing says another: empty, zero, false, null, 1970; for an
    /// enumeration its first value.
    pub(super) fn zero(&self) -> Value {
        match self {
            Self::Void | Self::Option(_) => Value::Null,
            Self::String => Value::String(String::new()),
            Self::Int => Value::from(0),
            Self::Float => Value::from(0.0),
            Self::Bool => Value::Bool(false),
            Self::DateTime => Value::String(DateTime::EPOCH.to_string()),
            Self::Ref(_) => Value::String(Ref::<()>::NULL.to_string()),
            Self::Record(_) | Self::AnyRecord | Self::EventBatch | Self::Map(..) => Value::Object(Map::new()),
            Self::Enum(enumeration) => enumeration.values.first().map_or(Value::Null, |value| Value::from(*value)),
            Self::Set(_) => Value::Array(Vec::new()),
        }
    }
}

fn int(value: Value) -> Result<Value, Misfit> {
    let number = match &value {
        Value::Number(number) if number.is_f64() => return Err(Misfit::wrong_type(&value)),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => return Err(Misfit::wrong_type(&value)),
    };
    number.map(Value::from).ok_or_else(|| Misfit::invalid(&value, "give a whole number of at most 64 bits"))
}

fn float(value: Value) -> Result<Value, Misfit> {
    let number = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => return Err(Misfit::wrong_type(&value)),
    };
    // JSON has no infinity, and not every number is one.
    let number = number.and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| Misfit::invalid(&value, "give a number that is finite"))
}

fn parsed<T: std::str::FromStr<Err = Malformed> + fmt::Display>(text: String) -> Result<Value, Misfit> {
    match text.parse::<T>() {
        Ok(value) => Ok(Value::String(value.to_string())),
        Err(error) => Err(Misfit::invalid(&Value::String(text), error.remedy())),
    }
}

/// The notation of XenAPI: `(string -> VM ref) map`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("void"),
            Self::String => f.write_str("string"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Bool => f.write_str("bool"),
            Self::DateTime => f.write_str("datetime"),
            Self::Ref(class) => write!(f, "{class} ref"),
            Self::Record(class) => write!(f, "{class} record"),
            Self::AnyRecord => f.write_str("<class> record"),
            Self::EventBatch => f.write_str("an event batch"),
            Self::Enum(enumeration) => write!(f, "enum {}", enumeration.name),
            Self::Set(element) => write!(f, "{element} set"),
            Self::Map(key, value) => write!(f, "({key} -> {value}) map"),
            Self::Option(some) => write!(f, "{some} option"),
        }
    }
}
