//! Follows the events of one VM, and returns its states during a call.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Instant;

use xvirt_core::ErrorKind;
use xvirt_core::vm::{CrashReason, Event, EventReceiver, Verb};

use crate::log::Panics;
use crate::model::{Model, Rules};

/// How many lines of the history are printed on an error.
const LINES: usize = 80;
/// How many quiet phases, which are seconds apart, a VM may take to crash after a panic.
const LOOKS: u32 = 8;

/// The states of a VM from before a call until after it.
#[derive(Debug)]
pub struct Window {
    /// The state at the beginning, and after each event.
    models: Vec<Model>,
    pub events: Vec<Event>,
}

impl Window {
    /// Whether `holds` was true at some moment.
    pub fn ever(&self, holds: impl Fn(&Model) -> bool) -> bool {
        self.models.iter().any(holds)
    }

    /// Whether `holds` was true all the time.
    pub fn always(&self, holds: impl Fn(&Model) -> bool) -> bool {
        self.models.iter().all(holds)
    }

    /// Whether `verb` was legal at some moment.
    pub fn allows(&self, verb: Verb) -> bool {
        self.ever(|model| verb.legal_states().contains(&model.state))
    }

    /// Whether `verb` was illegal at some moment.
    pub fn forbids(&self, verb: Verb) -> bool {
        self.ever(|model| !verb.legal_states().contains(&model.state))
    }
}

/// The events of one VM.
#[derive(Debug)]
pub struct Ledger {
    vm: String,
    receiver: EventReceiver,
    panics: Arc<Panics>,
    rules: Rules,
    plugged: u64,
    model: Model,
    /// The events since the last quiet phase.
    since: Vec<(Event, Model)>,
    before: Model,
    /// The number of events of each kind that result from a call.
    seen: HashMap<Discriminant<Event>, u64>,
    /// The number of calls that returned and must have caused such an event.
    returned: HashMap<Discriminant<Event>, u64>,
    /// The messages of the panics with which it has crashed.
    crashes: HashSet<String>,
    /// How often its threads were started, or could not be started.
    renewals: u64,
    /// Panics with which it may still crash: the number of checks since, and the renewals before.
    awaited: HashMap<String, (u32, u64)>,
    /// The number of clean shutdowns in progress.
    shutdowns: usize,
    /// Whether a clean shutdown was requested in this run.
    shutdown_asked: bool,
    may_be_gone: bool,
    gone: bool,
    began: Instant,
    lines: VecDeque<String>,
}

impl Ledger {
    pub fn new(
        vm: &str,
        receiver: EventReceiver,
        panics: &Arc<Panics>,
        rules: Rules,
        model: Model,
        plugged: u64,
    ) -> Self {
        Self {
            vm: vm.to_owned(),
            receiver,
            panics: Arc::clone(panics),
            rules,
            plugged,
            before: model.clone(),
            model,
            since: Vec::new(),
            seen: HashMap::new(),
            returned: HashMap::new(),
            crashes: HashSet::new(),
            renewals: 0,
            awaited: HashMap::new(),
            shutdowns: 0,
            shutdown_asked: false,
            may_be_gone: false,
            gone: false,
            began: Instant::now(),
            lines: VecDeque::new(),
        }
    }

    /// Takes the events that have come; the error is an event that is not allowed.
    pub fn follow(&mut self) -> Result<(), String> {
        loop {
            let event = match self.receiver.try_next() {
                Ok(Some(record)) => record.event,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Gone && self.may_be_gone => {
                    self.gone = true;
                    return Ok(());
                }
                Err(error) => return Err(format!("its receiver gave {:?}: {error}", error.kind())),
            };
            self.note(format!("event {event:?}"));
            if event == Event::Dropped && self.may_be_gone {
                continue;
            }
            match &event {
                Event::Crashed(CrashReason::ThreadPanicked { thread, message }) => {
                    if !self.panics.had(&self.vm, thread, message) {
                        return Err(format!("its thread {thread} panicked: {message}"));
                    }
                    self.crashes.insert(message.clone());
                }
                Event::GuestShutdown if !self.shutdown_asked && !self.rules.program.powers_off() => {
                    return Err("its guest does not switch itself off, and nobody asked for a clean shutdown".into());
                }
                Event::Started => self.shutdown_asked = self.shutdowns > 0,
                _ => {}
            }
            self.renewals += u64::from(matches!(
                event,
                Event::HardShutdown
                    | Event::GuestShutdown
                    | Event::HardReset
                    | Event::GuestReset
                    | Event::Restarted
                    | Event::Crashed(_)
            ));
            // No call requested the pause that ends a crash.
            let asked = !self.model.is_between();
            let followed = self.model.follow(&event, &self.rules, self.plugged);
            followed.map_err(|why| format!("the event {event:?} may not come now: {why}"))?;
            if asked {
                *self.seen.entry(discriminant(&event)).or_default() += 1;
            }
            self.since.push((event, self.model.clone()));
        }
    }

    /// Records that the VM is about to be dropped.
    pub fn ends(&mut self) {
        self.may_be_gone = true;
    }

    /// Whether the receiver has reported that the VM is gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Records that a start has failed because a thread panicked.
    pub fn could_not_begin(&mut self) {
        self.renewals += 1;
    }

    /// How many panics the VM has crashed with.
    pub fn crashes(&self) -> usize {
        self.crashes.len()
    }

    /// The panic of a thread that had done nothing yet must be reported, unless the machine was torn down or reset
    /// first. A paused VM reports it once it is unpaused, so this may take several checks.
    fn settle_panics(&mut self) -> Result<(), String> {
        for message in self.panics.fatal(&self.vm) {
            let (looks, renewals) = self.awaited.entry(message.clone()).or_insert((0, self.renewals));
            *looks += 1;
            if *looks == LOOKS && *renewals == self.renewals && !self.crashes.contains(&message) {
                return Err(format!("it has not crashed with what a thread panicked with: {message}"));
            }
        }
        Ok(())
    }

    /// Records the begin of a clean shutdown. It may take effect late, but only in the same run.
    pub fn shutdown_begins(&mut self) {
        self.shutdowns += 1;
        self.shutdown_asked = true;
    }

    pub fn shutdown_ends(&mut self) {
        self.shutdowns -= 1;
    }

    /// The current position in the events.
    pub fn mark(&self) -> usize {
        self.since.len()
    }

    /// The states of the VM since that position.
    pub fn window(&self, mark: usize) -> Window {
        let first = mark.checked_sub(1).map_or(&self.before, |last| &self.since[last].1);
        let since = &self.since[mark..];
        let models = std::iter::once(first).chain(since.iter().map(|(_, model)| model)).cloned().collect();
        Window { models, events: since.iter().map(|(event, _)| event.clone()).collect() }
    }

    /// Records that a call returned for which an event like this must have come; the error is that it did not.
    pub fn returned(&mut self, event: &Event) -> Result<(), String> {
        let kind = discriminant(event);
        let returned = self.returned.entry(kind).or_default();
        *returned += 1;
        if self.seen.get(&kind).copied().unwrap_or_default() < *returned {
            return Err(format!("it returned without the event {event:?}"));
        }
        Ok(())
    }

    /// In a quiet phase: as many calls must have returned as there were events like these.
    pub fn settle(&mut self, events: &[Event]) -> Result<(), String> {
        self.follow()?;
        self.before = self.model.clone();
        self.since.clear();
        let count = |of: &HashMap<_, u64>, event| of.get(&discriminant(event)).copied().unwrap_or_default();
        for event in events {
            let (seen, returned) = (count(&self.seen, event), count(&self.returned, event));
            if seen != returned {
                return Err(format!("the event {event:?} came {seen} times, and {returned} calls returned for it"));
            }
        }
        if self.model.is_between() {
            return Err("nothing followed its crash".into());
        }
        self.settle_panics()
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn note(&mut self, line: String) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        self.lines.push_back(format!("{:9.4} s  {name}: {line}", self.began.elapsed().as_secs_f64()));
    }

    /// The last events.
    pub fn lines(&self) -> String {
        self.lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}
