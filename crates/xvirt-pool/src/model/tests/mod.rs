//! Tests of the model as a whole: records against tables, and both against what clients expect.

mod calls;
mod clients;
mod hostile;
mod records;

use serde_json::Value;

use super::{CLASSES, ClassTable};

type Whole = fn(Value) -> Result<Value, super::ValueError>;

/// The classes of which there are objects.
fn with_objects() -> impl Iterator<Item = (&'static ClassTable, Whole)> {
    CLASSES.into_iter().filter_map(|class| Some((class, class.whole?)))
}

/// The default record of a class.
fn default_record(whole: Whole) -> Value {
    whole(Value::Object(serde_json::Map::new())).unwrap()
}
