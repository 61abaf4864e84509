//! The verbs by which clients learn of changes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Inner;
use crate::event::{self, Feed, Found, Told, Wanted};
use crate::model::class;
use crate::objects::beside_key;
use crate::operation::arguments::Arguments;
use crate::operation::{Caller, Failure, codes};
use crate::store::Cursor;
use crate::sync::lock;

/// How long one call waits at most. A client that is gone without a word keeps its thread for as long.
const LONGEST: Duration = Duration::from_secs(600);
/// How many callers may be registered for `event.next`; the one that asked longest ago is forgotten.
const REGISTERED: usize = 1000;
/// How many subscriptions each of them has at most.
const SUBSCRIPTIONS: usize = 1000;
/// How often an answer is begun again because the store was compacted meanwhile.
const ATTEMPTS: usize = 10;

/// Who learns of changes.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) feed: Feed,
    told: Told,
    registered: Mutex<BTreeMap<String, Registration>>,
}

/// What a caller has registered for, and how far it has got.
#[derive(Clone, Debug)]
struct Registration {
    subscriptions: Vec<String>,
    after: Cursor,
    used: Instant,
}

impl Events {
    pub(crate) fn new(feed: Feed) -> Self {
        Self { feed, told: Told::default(), registered: Mutex::default() }
    }

    /// Forgets a caller whose session has ended, and ends its waits.
    pub(crate) fn leave(&self, caller: &str) {
        lock(&self.registered).remove(caller);
        self.feed.give_up(caller);
    }
}

/// The name of a caller, other for each session.
pub(crate) fn name_of(caller: &Caller) -> String {
    match caller {
        Caller::Local { uid } => format!("uid {uid}"),
        // Not the reference, which is a secret.
        Caller::Session { session, .. } => format!("session {}", session.session),
    }
}

impl Inner {
    /// The verbs of events.
    pub(crate) fn own_of_event(&self, caller: &Caller, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        let caller = name_of(caller);
        match name {
            "from" => self.events_from(&caller, arguments),
            "get_current_id" => Ok(json!(self.objects.store().position()?.cursor.revision.number())),
            "inject" => self.inject(&arguments.text(0), &arguments.text(1)),
            "next" => self.next_events(&caller),
            "register" => self.register(&caller, &texts(&arguments.value(0))),
            "unregister" => self.unregister(&caller, &texts(&arguments.value(0))),
            _ => Err(codes::not_implemented(&format!("event.{name}"))),
        }
    }

    /// `event.from(classes, token, timeout)`.
    fn events_from(&self, caller: &str, arguments: &Arguments) -> Result<Value, Failure> {
        let wanted = Wanted::parse(texts(&arguments.value(0)))?;
        let after = event::parse_token(&arguments.text(1))?;
        let seconds = arguments.value(2).as_f64().unwrap_or(0.0).clamp(0.0, LONGEST.as_secs_f64());
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut after = after;
        let begins = after.is_none();
        for attempt in 1.. {
            let found = self.events.feed.wait(caller, &wanted, after, Some(until))?;
            match event::batch(&self.objects, &self.events.told, &wanted, &found, self.now()) {
                // Nothing is there yet of what was asked for.
                Ok(batch) if begins && after.is_none() && is_empty(&batch) => after = Some(found.at),
                Err(_) if attempt < ATTEMPTS && self.is_forgotten(&found)? => {}
                batch => return batch,
            }
        }
        Err(codes::internal("the state store forgets faster than it is read"))
    }

    /// Whether the store was compacted past what was to be told.
    fn is_forgotten(&self, found: &Found) -> Result<bool, Failure> {
        Ok(self.objects.store().position()?.compacted > found.at.revision)
    }

    /// `event.inject(class, ref)`: writes an object as it is, so that everybody learns of it. Returns a token from before.
    fn inject(&self, name: &str, reference: &str) -> Result<Value, Failure> {
        let invalid = || codes::handle_invalid(name, reference);
        let table = class(name).ok_or_else(invalid)?;
        let uuid = reference.parse::<crate::model::Ref<()>>().ok().and_then(|reference| reference.uuid());
        let uuid = uuid.ok_or_else(invalid)?;
        let before = self.objects.store().position()?.cursor;
        self.objects.change(|change| {
            let record = change.value(table, uuid)?.ok_or_else(invalid)?;
            // As it is, which a record that is only put is not.
            change.put_beside(&beside_key(table, uuid, "record"), &record)
        })?;
        Ok(json!(event::token_text(before)))
    }

    /// `event.register(classes)`: what happens from now on is kept for `event.next`.
    fn register(&self, caller: &str, classes: &[String]) -> Result<Value, Failure> {
        Wanted::parse(classes)?;
        let after = self.objects.store().position()?.cursor;
        let mut registered = lock(&self.events.registered);
        let new = || Registration { subscriptions: Vec::new(), after, used: Instant::now() };
        let registration = registered.entry(caller.to_owned()).or_insert_with(new);
        registration.subscriptions.extend(classes.iter().cloned());
        registration.subscriptions.sort_unstable();
        registration.subscriptions.dedup();
        if registration.subscriptions.len() > SUBSCRIPTIONS {
            registration.subscriptions.truncate(SUBSCRIPTIONS);
            return Err(codes::not_allowed("too many subscriptions", "register for whole classes, or for `*`"));
        }
        while registered.len() > REGISTERED {
            let oldest = registered.iter().min_by_key(|(_, one)| one.used).map(|(caller, _)| caller.clone());
            oldest.and_then(|caller| registered.remove(&caller));
        }
        Ok(Value::Null)
    }

    /// `event.unregister(classes)`.
    fn unregister(&self, caller: &str, classes: &[String]) -> Result<Value, Failure> {
        let mut registered = lock(&self.events.registered);
        if let Some(registration) = registered.get_mut(caller) {
            registration.subscriptions.retain(|one| !classes.iter().any(|class| class.eq_ignore_ascii_case(one)));
            if registration.subscriptions.is_empty() {
                registered.remove(caller);
            }
        }
        Ok(Value::Null)
    }

    /// `event.next()`: waits for what was registered for.
    fn next_events(&self, caller: &str) -> Result<Value, Failure> {
        let registration = lock(&self.events.registered).get(caller).cloned().ok_or_else(|| {
            Failure::new("SESSION_NOT_REGISTERED", [caller]).with_remedy("call event.register first, or use event.from")
        })?;
        let wanted = Wanted::parse(&registration.subscriptions)?;
        let until = Instant::now() + LONGEST;
        let found = self.events.feed.wait(caller, &wanted, Some(registration.after), Some(until))?;
        if let Some(registration) = lock(&self.events.registered).get_mut(caller) {
            (registration.after, registration.used) = (found.at, Instant::now());
        }
        let lost = || Failure::new("EVENTS_LOST", [] as [&str; 0]).with_remedy("read everything again");
        if found.changed.is_none() {
            return Err(lost());
        }
        match event::old_events(&self.objects, &self.events.told, &wanted, &found, self.now()) {
            Err(_) if self.is_forgotten(&found)? => Err(lost()),
            events => events,
        }
    }
}

fn is_empty(batch: &Value) -> bool {
    batch.get("events").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}
