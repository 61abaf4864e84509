//! Errors that were found, how often calls had which outcome, and how long they took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use xvirt_core::ErrorKind;

/// The outcome of a call.
pub type Outcome = Option<ErrorKind>;

/// The report that all threads of the test add to.
#[derive(Debug, Default)]
pub struct Findings {
    any: AtomicBool,
    texts: Mutex<Vec<String>>,
    panicked: AtomicUsize,
    calls: Mutex<BTreeMap<&'static str, Calls>>,
}

/// All calls of one kind.
#[derive(Debug, Default)]
struct Calls {
    outcomes: BTreeMap<String, u64>,
    longest: Duration,
}

impl Findings {
    /// Whether an error was found, so that the test ends.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn report(&self, text: String) {
        self.any.store(true, Ordering::Relaxed);
        self.texts.lock().unwrap().push(text);
    }

    /// Counts crashes of a VM because a thread panicked.
    pub fn panicked(&self, times: usize) {
        self.panicked.fetch_add(times, Ordering::Relaxed);
    }

    /// Whether any VM has crashed because a thread panicked.
    pub fn any_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed) > 0
    }

    pub fn count(&self, call: &'static str, outcome: Outcome, took: Duration) {
        let outcome = outcome.map_or("Ok".to_owned(), |kind| format!("{kind:?}"));
        let mut calls = self.calls.lock().unwrap();
        let calls = calls.entry(call).or_default();
        *calls.outcomes.entry(outcome).or_default() += 1;
        calls.longest = calls.longest.max(took);
    }

    /// The calls that never succeeded.
    pub fn never_ok(&self) -> Vec<&'static str> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(_, calls)| !calls.outcomes.contains_key("Ok")).map(|(call, _)| *call).collect()
    }

    /// The number of each call's outcomes.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (call, Calls { outcomes, longest }) in &*self.calls.lock().unwrap() {
            let counts: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            let _ =
                writeln!(text, "{call:26} {:6.0} ms at most  {}", longest.as_secs_f64() * 1000.0, counts.join(", "));
        }
        let _ = writeln!(text, "{} crashes because a thread panicked", self.panicked.load(Ordering::Relaxed));
        text
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.texts.lock().unwrap())
    }
}
