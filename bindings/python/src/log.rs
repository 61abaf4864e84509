//! The library's log as records of Python's `logging`.
//!
//! The library logs on threads that serve guests, which must never wait for Python. So records go into a queue, and a thread
//! of its own hands them to Python. If Python is slow, records are lost, and the log says how many.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// How many records may wait for Python.
const WAITING: usize = 4096;

/// The numbers of `logging`. There is none for traces, which are details of debugging.
const ERROR: u8 = 40;
const WARNING: u8 = 30;
const INFO: u8 = 20;
const DEBUG: u8 = 10;

/// The least severe level that is logged.
static LEAST: AtomicU8 = AtomicU8::new(INFO);

struct Record {
    level: u8,
    target: String,
    text: String,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Record>,
    lost: u64,
}

impl Queue {
    fn push(&self, record: Record) {
        let mut waiting = self.lock();
        if waiting.records.len() < WAITING {
            waiting.records.push_back(record);
        } else {
            waiting.lost += 1;
        }
        self.arrived.notify_one();
    }

    fn pop(&self) -> Record {
        let mut waiting = self.lock();
        loop {
            if waiting.lost > 0 && waiting.records.is_empty() {
                let text = format!("{} records of the log were lost, because Python was too slow", waiting.lost);
                waiting.lost = 0;
                return Record { level: WARNING, target: "xvirt".to_owned(), text };
            }
            if let Some(record) = waiting.records.pop_front() {
                return record;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts events into the queue, with the fields of their spans, which name the VM.
struct Forward(Arc<Queue>);

/// The fields of a span as text.
struct Described(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("xvirt")
            && (metadata.is_span() || level(metadata) >= LEAST.load(Ordering::Relaxed))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Described(fields.rest));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = fields.message + &fields.rest;
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Described(described)) = span.extensions().get() {
                text += described;
            }
        }
        let target = event.metadata().target().replace("::", ".");
        self.0.push(Record { level: level(event.metadata()), target, text });
    }
}

fn level(metadata: &Metadata<'_>) -> u8 {
    match *metadata.level() {
        Level::ERROR => ERROR,
        Level::WARN => WARNING,
        Level::INFO => INFO,
        _ => DEBUG,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}

/// Hands the library's log to `handle(level, name, text)`, on a thread of its own.
#[pyfunction]
pub fn forward_log(handle: Py<PyAny>) -> PyResult<()> {
    let queue = Arc::new(Queue::default());
    let subscriber = Registry::default().with(Forward(Arc::clone(&queue)));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| PyRuntimeError::new_err(format!("the library's log is forwarded already: {error}")))?;
    let forward = move || {
        loop {
            let record = queue.pop();
            let handled = Python::try_attach(|py| {
                if let Err(failure) = handle.call1(py, (record.level, record.target, record.text)) {
                    failure.write_unraisable(py, None);
                }
            });
            // The interpreter has ended.
            if handled.is_none() {
                return;
            }
        }
    };
    thread::Builder::new().name("xvirt-log".to_owned()).spawn(forward)?;
    Ok(())
}

/// Sets the least severe level that is logged, by the numbers of `logging`.
#[pyfunction]
pub fn set_log_level(least: u8) {
    LEAST.store(least, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}
