//! Values that nobody should send.

use serde_json::{Map, Value, json};

use super::with_objects;

/// Values of every kind, among them the greatest, the longest and the deepest.
fn values() -> Vec<Value> {
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    let long = "ü".repeat(10_000);
    let texts =
        ["", "NULL", "OpaqueRef:", "OpaqueRef:NULL", "nan", "-inf", "1e999", "9223372036854775808", "\0", &long];
    let mut values: Vec<_> = texts.into_iter().map(Value::from).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(-0.0),
        deep.clone(),
    ]);
    let lists = values.iter().map(|value| json!([value])).collect::<Vec<_>>();
    let maps = values.iter().map(|value| json!({ "": value, "1": value, "OpaqueRef:NULL": value })).collect::<Vec<_>>();
    [values, lists, maps].concat()
}

#[test]
fn a_value_is_a_value_of_its_field_or_an_error_that_names_it() {
    for (class, whole) in with_objects() {
        for field in class.fields {
            for value in values() {
                let record = Value::Object(Map::from_iter([(field.name.to_owned(), value)]));
                match whole(record) {
                    Ok(record) => assert_eq!(whole(record.clone()), Ok(record)),
                    Err(error) => {
                        assert_eq!((error.class(), error.field()), (class.name, field.name));
                        // All values of the longest enumeration, and little of what was given.
                        assert!(error.to_string().chars().count() < 1000, "{error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_record_is_an_object() {
    for (class, whole) in with_objects() {
        for value in values().into_iter().filter(|value| !value.is_object()) {
            let error = whole(value).unwrap_err();
            assert_eq!((error.class(), error.field(), error.code()), (class.name, "", "FIELD_TYPE_ERROR"));
        }
    }
}
