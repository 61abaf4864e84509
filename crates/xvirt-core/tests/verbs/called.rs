//! The result of a call, and whether it is a documented one.

use std::thread;
use std::time::{Duration, Instant};

use xvirt_core::vm::{Event, Verb};
use xvirt_core::{ErrorKind, Result};

use crate::ledger::Window;
use crate::subject::Subject;

/// How long a change of the VM's state may precede its event.
const DELAY: Duration = Duration::from_secs(10);

/// The result of a call.
#[must_use]
pub struct Called<'a, T> {
    pub subject: &'a Subject,
    pub what: &'static str,
    pub result: Result<T>,
    /// The states of the VM during the call.
    pub window: Window,
    /// The position in the events at which the call began.
    pub mark: usize,
}

impl<T> Called<'_, T> {
    /// After success, this kind of event must have come.
    pub fn announced(self, event: &Event) -> Self {
        if self.result.is_ok() {
            let returned = self.subject.follow().returned(event);
            if let Err(why) = returned {
                self.wrong(&why);
            }
        }
        self
    }

    /// `Ok` requires that the verb was legal at some moment, `InvalidState` that it was illegal at some moment.
    /// `documented` decides on other errors.
    pub fn judge_verb(self, verb: Verb, documented: impl FnOnce(ErrorKind, &Window) -> bool) -> Option<T> {
        self.judge(|result, window| match result {
            Ok(_) => window.allows(verb),
            Err(error) if error.kind() == ErrorKind::InvalidState => window.forbids(verb),
            Err(error) => documented(error.kind(), window),
        })
    }

    /// Reports an outcome that is not `documented`; returns the result of a successful call.
    pub fn judge(self, documented: impl FnOnce(&Result<T>, &Window) -> bool) -> Option<T> {
        if !documented(&self.result, &self.window) {
            self.wrong("no documented outcome");
        }
        self.result.ok()
    }

    /// Whether `holds` becomes true. The state changes before its event is sent, so this waits for the event.
    pub fn comes_true(&mut self, holds: impl Fn(&Window) -> bool) -> bool {
        let returned = Instant::now();
        while !holds(&self.window) {
            if returned.elapsed() > DELAY {
                return false;
            }
            thread::yield_now();
            self.window = self.subject.follow().window(self.mark);
        }
        true
    }

    pub fn wrong(&self, why: &str) {
        let Self { subject, what, window, .. } = self;
        let result = match &self.result {
            Ok(_) => "Ok".to_owned(),
            Err(error) => format!("{:?}: {error}", error.kind()),
        };
        subject.report(&format!("{what} gave {result}: {why}; meanwhile {window:?}"));
    }
}
