//! What `event.from` and `event.next` return: the events, each with the object as it is at the end.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::feed::Found;
use super::history::{self, Object};
use super::token;
use super::wanted::Wanted;
use crate::model::{CLASSES, DateTime, EventOperation, Ref};
use crate::objects::Objects;
use crate::operation::Failure;
use crate::store::Revision;
use crate::sync::lock;

/// How many records are kept for others who learn of the same changes.
const SHARED: usize = 64;

/// The records that were read last, since many callers learn of the same change.
#[derive(Debug, Default)]
pub(crate) struct Told(std::sync::Mutex<(Revision, BTreeMap<Object, Option<Value>>)>);

impl Told {
    /// The record of an object at a revision, if there was one.
    fn record(&self, objects: &Objects, object: Object, at: Revision) -> Result<Option<Value>, Failure> {
        let mut told = lock(&self.0);
        if told.0 != at {
            *told = (at, BTreeMap::new());
        }
        if let Some(record) = told.1.get(&object) {
            return Ok(record.clone());
        }
        let read = match object.table() {
            Some(table) => objects.value_at(table, object.uuid, at)?,
            None => None,
        };
        let record = read.map(|record| snapshot(object, record));
        if told.1.len() < SHARED {
            told.1.insert(object, record.clone());
        }
        Ok(record)
    }
}

/// The result of `event.from`.
///
/// # Errors
/// The store fails, or has been compacted meanwhile.
pub(crate) fn batch(
    objects: &Objects,
    told: &Told,
    wanted: &Wanted,
    found: &Found,
    now: DateTime,
) -> Result<Value, Failure> {
    let number = found.at.revision.number();
    let events: Vec<Value> = events(objects, told, wanted, found)?
        .into_iter()
        .map(|(object, operation, snapshot)| {
            let mut event = Map::new();
            // Both are texts, here and nowhere else.
            event.insert("id".to_owned(), json!(number.to_string()));
            event.insert("timestamp".to_owned(), json!(format!("{}.0", now.unix())));
            event.insert("class".to_owned(), json!(class_of(object)));
            event.insert("operation".to_owned(), json!(operation));
            event.insert("ref".to_owned(), json!(Ref::<()>::new(object.uuid).to_string()));
            if let Some(snapshot) = snapshot {
                event.insert("snapshot".to_owned(), snapshot);
            }
            Value::Object(event)
        })
        .collect();
    let mut counts = Map::new();
    for (table, count) in CLASSES.iter().zip(&found.counts) {
        // Records of other classes are parts of results.
        if !table.queries.is_empty() || table.verb("get_all").is_some() {
            counts.insert(table.name.to_lowercase(), json!(count));
        }
    }
    Ok(json!({ "events": events, "valid_ref_counts": counts, "token": token::text(found.at) }))
}

/// The result of `event.next`: records of the class `event`.
///
/// # Errors
/// As [`batch`].
pub(crate) fn old_events(
    objects: &Objects,
    told: &Told,
    wanted: &Wanted,
    found: &Found,
    now: DateTime,
) -> Result<Value, Failure> {
    let number = found.at.revision.number();
    let told = events(objects, told, wanted, found)?.into_iter();
    let event = |(object, operation, snapshot): (Object, EventOperation, Option<Value>)| {
        json!({
            "id": number,
            "timestamp": now,
            "class": class_of(object),
            "operation": operation,
            "ref": Ref::<()>::new(object.uuid).to_string(),
            "obj_uuid": object.uuid.to_string(),
            "snapshot": snapshot.unwrap_or_else(|| json!({})),
        })
    };
    Ok(told.map(event).collect())
}

type Events = Vec<(Object, EventOperation, Option<Value>)>;

fn events(objects: &Objects, told: &Told, wanted: &Wanted, found: &Found) -> Result<Events, Failure> {
    let at = found.at.revision;
    let Some(changed) = &found.changed else { return everything(objects, wanted, at) };
    let mut events = Vec::new();
    for (object, operation) in changed {
        let record = match operation {
            EventOperation::Del => None,
            _ => told.record(objects, *object, at)?,
        };
        events.push((*object, *operation, record));
    }
    Ok(events)
}

/// All objects that are wanted, as new ones.
fn everything(objects: &Objects, wanted: &Wanted, at: Revision) -> Result<Events, Failure> {
    let mut events = Vec::new();
    for (class, table) in (0..).zip(CLASSES) {
        if wanted.has_class(class) && history::class_number(table.name).is_some() {
            for (uuid, record) in objects.values_at(table, Some(at))? {
                let object = Object { class, uuid };
                events.push((object, EventOperation::Add, Some(snapshot(object, record))));
            }
        }
    }
    for object in wanted.objects().iter().filter(|object| !wanted.has_class(object.class)) {
        let Some(table) = object.table() else { continue };
        if let Some(record) = objects.value_at(table, object.uuid, at)? {
            events.push((*object, EventOperation::Add, Some(snapshot(*object, record))));
        }
    }
    events.sort_by_key(|(object, operation, _)| history::rank(*object, *operation));
    Ok(events)
}

/// A record as everybody may see it.
fn snapshot(object: Object, mut record: Value) -> Value {
    if object.table().is_some_and(|table| table.name == "secret")
        && let Some(value) = record.get_mut("value")
    {
        *value = Value::from("");
    }
    record
}

fn class_of(object: Object) -> String {
    object.table().map(|table| table.name.to_lowercase()).unwrap_or_default()
}
