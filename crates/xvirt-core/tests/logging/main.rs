//! Which VM a log line is about, and logs that panic. In a separate process, because a process has one log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "demo")]

#[path = "../demo/support.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

mod panics;
#[path = "../signals/within.rs"]
mod within;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use panics::Moment;
use support::{Guest, PATIENCE, config};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;
use xvirt_core::demo::{CommandLine, Mode};

/// Keeps every event with its span, and panics where [`panics`] says.
#[derive(Clone, Default)]
struct Log(Arc<Kept>);

#[derive(Default)]
struct Kept {
    spans: Mutex<HashMap<u64, Known>>,
    lines: Mutex<Vec<(String, String)>>,
}

/// The log of all tests here.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    log
});

#[derive(Clone)]
struct Known {
    metadata: &'static Metadata<'static>,
    text: String,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("xvirt_core")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut spans = self.0.spans.lock().unwrap();
        let id = spans.len() as u64 + 1;
        spans.insert(id, Known { metadata: span.metadata(), text: fields.0 });
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let span = self.entered().map(|(_, span)| span.text).unwrap_or_default();
        panics::at(Moment::Event, &span);
        self.0.lines.lock().unwrap().push((span, fields.0));
    }

    fn enter(&self, span: &Id) {
        let text = self.0.spans.lock().unwrap()[&span.into_u64()].text.clone();
        panics::at(Moment::Enter, &text);
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|id| *id != span.into_u64()));
        let text = self.0.spans.lock().unwrap()[&span.into_u64()].text.clone();
        panics::at(Moment::Exit, &text);
    }

    fn current_span(&self) -> Current {
        self.entered().map_or_else(Current::none, |(id, span)| Current::new(id, span.metadata))
    }
}

impl Log {
    /// The current span of the calling thread.
    fn entered(&self) -> Option<(Id, Known)> {
        let id = ENTERED.with_borrow(|entered| entered.last().copied())?;
        Some((Id::from_u64(id), self.0.spans.lock().unwrap()[&id].clone()))
    }
}

#[test]
fn lines_of_several_vms_are_told_apart() {
    let host = host!();
    let log = &*LOG;
    let mut guests: Vec<_> = ["red", "blue"]
        .into_iter()
        .map(|name| {
            let mut config = config(&CommandLine::new([Mode::Hello, Mode::PowerOff]));
            config.name = name.to_owned();
            Guest::start(config, &host).unwrap()
        })
        .collect();
    for guest in &mut guests {
        guest.vm.wait_halted(PATIENCE).unwrap();
    }
    let lines = log.0.lines.lock().unwrap();
    // The first is from the caller's thread, the second from one of the VM's own threads.
    for event in ["Started", "GuestShutdown"] {
        for guest in &guests {
            let span = format!("vm name=\"{}\" uuid={}", guest.vm.name(), guest.vm.uuid());
            let found = lines.iter().filter(|(of, line)| *of == span && line.contains(event)).count();
            assert_eq!(found, 1, "{event} of {span} in {lines:?}");
        }
    }
}
