//! XML-RPC values, as used by XenServer.

/// A value. Numbers are text, because XenServer writes them without a tag, like strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A string, a number, a reference or an enum value.
    Text(String),
    /// A boolean.
    Flag(bool),
    /// A floating-point number in its text form.
    Double(String),
    /// A time, such as `19700101T00:00:00Z`.
    Date(String),
    /// A set.
    Array(Vec<Value>),
    /// A map, or a structure.
    Struct(Record),
}

/// Named values, in order. Of several with the same name, the last one counts.
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

    /// Calls `found` with all texts in it, at any depth.
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

    /// Removes a value and returns it.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().rposition(|(key, _)| key == name)?;
        Some(self.0.remove(place).1)
    }

    /// Sets a value, replacing an old one.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().rev().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// A text; empty if it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).map_or("", Value::as_text)
    }

    /// A reference, without surrounding white space, which some producers write.
    pub fn reference(&self, name: &str) -> &str {
        self.text(name).trim()
    }

    /// A number; `None` if it is missing or invalid.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).trim().parse().ok()
    }

    /// Whether a flag is present and set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }

    /// A text in a map.
    pub fn text_in(&self, map: &str, key: &str) -> &str {
        match self.get(map) {
            Some(Value::Struct(record)) => record.text(key),
            _ => "",
        }
    }
}
