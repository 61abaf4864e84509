//! A log subscriber that panics occasionally, only on threads of VMs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// How each panic's message begins; its number follows.
pub const MESSAGE: &str = "the log subscriber panics for the test, number ";
/// One of this many events, and one of this many entries and exits of spans, panics.
const EVENTS: u64 = 40;
const SPANS: u64 = 60;

/// The place of a panic in the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At an event. If the panic is caught within an operation, the VM continues.
    Event,
    /// When a thread enters a span, the first thing it does: the thread cannot continue.
    Enter,
    /// When a thread leaves a span, the last thing it does: the VM may be gone already.
    Exit,
}

/// One panic.
#[derive(Debug)]
struct Panic {
    place: Place,
    thread: String,
    message: String,
}

/// The panics so far, by VM name.
#[derive(Debug, Default)]
pub struct Panics {
    armed: AtomicBool,
    /// Counts the places where a panic was possible.
    chances: AtomicU64,
    by_vm: Mutex<HashMap<String, Vec<Panic>>>,
}

impl Panics {
    /// Enables or disables panics.
    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::SeqCst);
    }

    /// Whether a thread of that VM had this panic.
    pub fn had(&self, vm: &str, thread: &str, message: &str) -> bool {
        let by_vm = self.by_vm.lock().unwrap();
        by_vm.get(vm).is_some_and(|all| all.iter().any(|panic| panic.thread == thread && panic.message == message))
    }

    /// The messages of panics after which a thread of that VM cannot have done anything.
    pub fn fatal(&self, vm: &str) -> Vec<String> {
        let by_vm = self.by_vm.lock().unwrap();
        let all = by_vm.get(vm).into_iter().flatten();
        all.filter(|panic| panic.place == Place::Enter).map(|panic| panic.message.clone()).collect()
    }

    /// Panics occasionally, on a thread of that VM.
    fn chance(&self, vm: &str, place: Place) {
        // A second panic while unwinding would abort the process.
        if !self.armed.load(Ordering::SeqCst) || thread::panicking() {
            return;
        }
        let thread = thread::current().name().unwrap_or("?").to_owned();
        let of_a_vm = ["vcpu", "virtio-", "vm-supervisor"].iter().any(|prefix| thread.starts_with(prefix));
        let one_of = if place == Place::Event { EVENTS } else { SPANS };
        let number = self.chances.fetch_add(1, Ordering::SeqCst);
        // Spread, so that it is not always the same event of the same VM.
        if !of_a_vm || !number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).is_multiple_of(one_of) {
            return;
        }
        let message = format!("{MESSAGE}{number}");
        let panic = Panic { place, thread, message: message.clone() };
        self.by_vm.lock().unwrap().entry(vm.to_owned()).or_default().push(panic);
        panic!("{message}");
    }
}

/// The subscriber.
#[derive(Debug)]
struct Log {
    panics: Arc<Panics>,
    spans: Mutex<HashMap<u64, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    metadata: &'static Metadata<'static>,
    vm: String,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Finds the name of a VM in the fields of a span.
#[derive(Default)]
struct Name(String);

impl Visit for Name {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            self.0 = value.to_owned();
        }
    }
}

/// Installs it as the log of this process, and hides its panics.
pub fn install() -> Arc<Panics> {
    let panics = Arc::<Panics>::default();
    let log = Log { panics: Arc::clone(&panics), spans: Mutex::default() };
    tracing::subscriber::set_global_default(log).unwrap();
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let ours = info.payload().downcast_ref::<String>().is_some_and(|message| message.starts_with(MESSAGE));
        if !ours {
            print(info);
        }
    }));
    panics
}

impl Log {
    fn known(&self, span: u64) -> Known {
        self.spans.lock().unwrap()[&span].clone()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("xvirt_core")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = Name::default();
        span.record(&mut name);
        let mut spans = self.spans.lock().unwrap();
        let id = spans.len() as u64 + 1;
        spans.insert(id, Known { metadata: span.metadata(), vm: name.0 });
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        if let Some(span) = ENTERED.with_borrow(|entered| entered.last().copied()) {
            self.panics.chance(&self.known(span).vm, Place::Event);
        }
    }

    fn enter(&self, span: &Id) {
        self.panics.chance(&self.known(span.into_u64()).vm, Place::Enter);
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(last) = entered.iter().rposition(|id| *id == span.into_u64()) {
                entered.remove(last);
            }
        });
        self.panics.chance(&self.known(span.into_u64()).vm, Place::Exit);
    }

    fn current_span(&self) -> Current {
        ENTERED
            .with_borrow(|entered| entered.last().copied())
            .map_or_else(Current::none, |id| Current::new(Id::from_u64(id), self.known(id).metadata))
    }
}
