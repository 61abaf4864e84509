//! Values of XML-RPC, as XenServer uses them.

/// A value. Numbers are text: XenServer writes them without a tag, as it does strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A string, a number, a reference or the name of a choice.
    Text(String),
    /// A boolean.
    Flag(bool),
    /// A floating-point number, as it is written.
    Double(String),
    /// A time, as in `19700101T00:00:00Z`.
    Date(String),
    /// A set.
    Array(Vec<Value>),
    /// A map, or a structure.
    Struct(Record),
}

/// Named values, in order. Of those with one name, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(pub(crate) Vec<(String, Value)>);

impl Value {
    /// Text, or a number as text.
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// A set of references or other text.
    pub fn set<T: ToString>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array(texts.into_iter().map(Self::text).collect())
    }

    /// A map of text to text.
    pub fn map<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self::Struct(Record(pairs.map(|(key, value)| (key.to_owned(), Self::text(value))).into()))
    }

    /// The text of a value; empty for flags, sets and maps.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Double(text) | Self::Date(text) => text,
            _ => "",
        }
    }

    /// All texts in it, however deep.
    pub(super) fn each_text(&self, found: &mut dyn FnMut(&str)) {
        match self {
            Self::Array(values) => values.iter().for_each(|value| value.each_text(found)),
            Self::Struct(Record(members)) => members.iter().for_each(|(_, value)| value.each_text(found)),
            _ => found(self.as_text()),
        }
    }
}

impl Record {
    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Takes a value out of the record.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().rposition(|(key, _)| key == name)?;
        Some(self.0.remove(place).1)
    }

    /// Sets a value, in the place of an old one if there is one.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().rev().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// A text; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).map_or("", Value::as_text)
    }

    /// A reference, without the white space that some producers leave around it.
    pub fn reference(&self, name: &str) -> &str {
        self.text(name).trim()
    }

    /// A number, if there is one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).trim().parse().ok()
    }

    /// Whether a flag is there and set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }

    /// A text within a map.
    pub fn text_in(&self, map: &str, key: &str) -> &str {
        match self.get(map) {
            Some(Value::Struct(record)) => record.text(key),
            _ => "",
        }
    }
}
