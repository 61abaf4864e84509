//! The parameters of a verb, checked against its table.

use serde_json::Value;

use super::{Failure, codes, create};
use crate::model::{Call, Class, ClassTable, Qualifier, Record, Ref};

/// The most bytes of a record that a client writes. What the service adds to it must still fit into the store.
const LARGEST_RECORD: usize = 256 << 10;

/// Refuses a record that is too large for the store.
///
/// # Errors
/// `INVALID_VALUE`
pub(crate) fn require_small(table: &ClassTable, record: &Value) -> Result<(), Failure> {
    let size = record.to_string().len();
    if size <= LARGEST_RECORD {
        return Ok(());
    }
    let remedy = format!("keep less in it: a record has at most {LARGEST_RECORD} bytes");
    Err(codes::invalid_value(table.name, format!("{size} bytes"), remedy))
}

/// The parameters of one call, each of the type that the table says.
#[derive(Debug)]
pub(crate) struct Arguments {
    values: Vec<Value>,
}

impl Arguments {
    /// Checks how many there are, and their types.
    pub(crate) fn read(verb: &str, table: &ClassTable, call: Call, given: Vec<Value>) -> Result<Self, Failure> {
        let expected = call.parameters(table);
        let least = expected.len().saturating_sub(call.optional());
        if !(least..=expected.len()).contains(&given.len()) {
            let parameters = [verb.to_owned(), expected.len().to_string(), given.len().to_string()];
            return Err(Failure::new("MESSAGE_PARAMETER_COUNT_MISMATCH", parameters)
                .with_remedy("give the parameters of the verb, without the session"));
        }
        let conform = |((name, value_type), value): (&(&str, crate::model::Type), Value)| {
            value_type.conform(value).map_err(|misfit| {
                match misfit.kind {
                    crate::model::ValueErrorKind::WrongType => Failure::new("FIELD_TYPE_ERROR", [*name]),
                    _ => Failure::new("INVALID_VALUE", [(*name).to_owned(), misfit.given]),
                }
                .with_remedy(misfit.remedy)
            })
        };
        Ok(Self { values: expected.iter().zip(given).map(conform).collect::<Result<_, _>>()? })
    }

    /// The value at a place; null if it was left out.
    pub(crate) fn value(&self, index: usize) -> Value {
        self.values.get(index).cloned().unwrap_or_default()
    }

    /// The text at a place.
    pub(crate) fn text(&self, index: usize) -> String {
        self.values.get(index).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The number at a place.
    pub(crate) fn int(&self, index: usize) -> i64 {
        self.values.get(index).and_then(Value::as_i64).unwrap_or_default()
    }

    /// The truth value at a place.
    pub(crate) fn truth(&self, index: usize) -> bool {
        self.values.get(index).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The reference at a place.
    pub(crate) fn reference<C: Class>(&self, index: usize) -> Result<Ref<C>, Failure> {
        let text = self.text(index);
        text.parse::<Ref<C>>().map_err(|_| codes::handle_invalid(C::TABLE.name, text))
    }

    /// The record at a place, as a caller of `create` gives it. What only the service sets is left out.
    pub(crate) fn record<R: Record>(&self, index: usize) -> Result<R, Failure> {
        let Value::Object(given) = self.value(index) else {
            return Err(Failure::new("FIELD_TYPE_ERROR", ["args"]));
        };
        require_small(R::TABLE, &Value::Object(given.clone()))?;
        for (name, value) in &given {
            if let Some(field) = R::TABLE.field(name).filter(|field| field.qualifier != Qualifier::DynamicRo) {
                R::TABLE.conform_set(field, value.clone())?;
            }
        }
        create::given(given)
    }
}
