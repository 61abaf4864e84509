//! The target of a migration: its phases, each a type.

use std::time::Instant;

use super::channel::{Channel, Connection};
use super::decision::{CommitDecision, Decision, ask};
use super::frame::broken;
use super::link::{Link, Watch, both, unexpected};
use super::message::{
    FEATURES, HAND_OVER, Hello, Kind, MemoryFiles, Offer, Prepared as PreparedBody, Reasons, decode, encode,
    encode_bytes,
};
use super::pages::Pages;
use super::report::{MigrationObserver, MigrationPhase};
use super::settings::{AtLimit, MAX_CONNECTIONS, Migration, Reception};
use super::steering::Steering;
use crate::memory::{GuestRam, MemoryFile};
use crate::state::ranges_of;
use crate::thread::with_signals_blocked;
use crate::{Error, ErrorKind, Result};

/// What the target needs of the VM.
pub(crate) trait TargetVm {
    /// The guest's memory: that which was handed over, or else all zeroes.
    fn memory(&self) -> &GuestRam;

    /// Locks and opens the disks, and loads the state, which `release` of the source returned.
    fn prepare(&mut self, state: &[u8]) -> Result<()>;

    /// Runs the guest. After an error it has not executed an instruction.
    fn run(&mut self) -> Result<()>;

    /// Closes and unlocks the disks. The guest never runs here.
    fn abort(&mut self);
}

/// Why the target does not take the VM: all reasons at once.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) reasons: Vec<String>,
}

/// The VM for an offer, or the reasons why it is not taken.
pub(crate) type Admission = std::result::Result<Box<dyn TargetVm>, Refusal>;

/// Makes the VM for an offer, or refuses it: with the memory that the source hands over, if it does.
pub(crate) type Accept<'a> = dyn FnMut(&Offer, Option<&[MemoryFile]>) -> Admission + 'a;

/// Receives the VM that the source at the other end of `channel` sends. When this returns, its guest runs here. Sources
/// that only ask whether it would be taken get their answers before.
///
/// # Errors
/// The guest does not run here, and never will: its memory, disks and locks were given back.
pub(crate) fn receive(
    channel: &dyn Channel,
    settings: &Reception,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
    accept: &mut Accept<'_>,
) -> Result<Box<dyn TargetVm>> {
    settings.check()?;
    loop {
        if let Some(vm) = receive_one(channel, settings, decision, observer, accept)? {
            return Ok(vm);
        }
    }
}

/// Serves one source. `None` if it only asked.
fn receive_one(
    channel: &dyn Channel,
    settings: &Reception,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
    accept: &mut Accept<'_>,
) -> Result<Option<Box<dyn TargetVm>>> {
    let limits = Migration::default().time_limit(settings.time_limit, AtLimit::Abort);
    let steering = Steering::fixed(limits, observer);
    let check = || steering.check();
    let watch = Watch::new(settings.silence_limit, &check);
    let Introduced { link, offer, hello, memory } = introduce(channel, &watch)?;
    let vm = match admit(&offer, memory.as_deref(), accept) {
        Ok(mut vm) if offer.check => {
            vm.abort();
            // A source that is gone has no use for the answer.
            let _ = link.send(&encode_bytes(Kind::Accepted, &[])?);
            return Ok(None);
        }
        Ok(vm) => vm,
        Err(refusal) => {
            let error = refuse(&link, &offer, refusal);
            return if offer.check { Ok(None) } else { Err(error) };
        }
    };
    let session = Session { vm, links: vec![link], watch: &watch, steering: &steering, decision, limits: settings };
    Receiving(session).receive(channel, &hello, memory.is_some())?.wait().map(Some)
}

/// What all phases have.
struct Session<'a> {
    vm: Box<dyn TargetVm>,
    links: Vec<Link<'a>>,
    watch: &'a Watch<'a>,
    steering: &'a Steering<'a>,
    decision: &'a dyn CommitDecision,
    limits: &'a Reception,
}

/// Memory arrives.
struct Receiving<'a>(Session<'a>);

/// The disks are locked and open, and the state is loaded.
struct Prepared<'a>(Session<'a>);

/// The connection broke: the store knows who owns the VM.
struct Asking<'a>(Session<'a>, Error);

/// What a source says first.
struct Introduced<'a> {
    link: Link<'a>,
    offer: Offer,
    hello: Hello,
    /// The memory, if it is handed over.
    memory: Option<Vec<MemoryFile>>,
}

/// Accepts the first connection and its offer.
fn introduce<'a>(channel: &dyn Channel, watch: &'a Watch<'a>) -> Result<Introduced<'a>> {
    let link = Link::new(accept_connection(channel, watch)?, watch);
    let hello: Hello = link.receive_hello()?;
    if hello.connection != 0 || !(1..=MAX_CONNECTIONS).contains(&hello.connections) {
        let (number, all) = (hello.connection, hello.connections);
        return Err(broken(format!("the source begins with connection {number} of {all}, which is not possible")));
    }
    let possible = if link.passes_descriptors() && hello.connections == 1 { FEATURES } else { FEATURES & !HAND_OVER };
    let features = hello.features & possible;
    link.send_hello(&Hello { features, ..hello.clone() })?;
    let offer: Offer = decode(Kind::Offer, &link.expect(Kind::Offer)?)?;
    let handed_over = features & HAND_OVER != 0;
    let memory = handed_over.then(|| receive_memory(&link, offer.memory.len())).transpose()?;
    Ok(Introduced { link, offer, hello, memory })
}

/// Receives the files that hold the memory, which has this number of ranges.
fn receive_memory(link: &Link<'_>, ranges: usize) -> Result<Vec<MemoryFile>> {
    let (body, descriptors) = link.expect_with_descriptors(Kind::Memory)?;
    let MemoryFiles { offsets } = decode(Kind::Memory, &body)?;
    let (named, passed) = (offsets.len(), descriptors.len());
    if (named, passed) != (ranges, ranges) {
        let what = format!("the source passes {passed} descriptors and names {named}, for {ranges} ranges of memory");
        return Err(broken(what));
    }
    let files = descriptors.into_iter().zip(offsets);
    Ok(files.map(|(file, offset)| MemoryFile { file: file.into(), offset }).collect())
}

fn accept_connection(channel: &dyn Channel, watch: &Watch<'_>) -> Result<Box<dyn Connection>> {
    channel.connect(watch.silence()).map_err(|e| Error::io("cannot accept a connection of the source", e))
}

/// Lets the embedder decide, and checks that its VM has the memory of the offer.
fn admit(offer: &Offer, memory: Option<&[MemoryFile]>, accept: &mut Accept<'_>) -> Admission {
    let mut vm = accept(offer, memory)?;
    if ranges_of(vm.memory()) == offer.memory {
        return Ok(vm);
    }
    vm.abort();
    Err(Refusal { reasons: vec!["the VM would have other memory at the target".to_owned()] })
}

fn refuse(link: &Link<'_>, offer: &Offer, Refusal { reasons }: Refusal) -> Error {
    let what = format!("VM {} ({}) is not taken: {}", offer.name, offer.uuid, reasons.join("; "));
    let error = Error::new(ErrorKind::MigrationRefused, what);
    match encode(Kind::Refused, &Reasons { reasons }).and_then(|frame| link.send(&frame)) {
        Ok(()) => {
            link.finish();
            error
        }
        Err(cause) => error.because(cause),
    }
}

impl<'a> Session<'a> {
    fn control(&self) -> Result<&Link<'a>> {
        self.links.first().ok_or_else(|| Error::new(ErrorKind::Gone, "the migration has no connection"))
    }

    /// Gives everything back, and then tells the source so.
    fn abort(mut self, error: Error) -> Error {
        self.watch.stop();
        self.vm.abort();
        if let Some(control) = self.links.first() {
            control.say_aborted(&error);
            control.finish();
        }
        error
    }
}

impl<'a> Receiving<'a> {
    /// Takes the memory, unless it is there already, and the state.
    fn receive(mut self, channel: &dyn Channel, hello: &Hello, handed_over: bool) -> Result<Prepared<'a>> {
        match self.prepare(channel, hello, handed_over) {
            Ok(()) => Ok(Prepared(self.0)),
            Err(error) => Err(self.0.abort(error)),
        }
    }

    fn prepare(&mut self, channel: &dyn Channel, hello: &Hello, handed_over: bool) -> Result<()> {
        let Self(session) = self;
        session.steering.enter(MigrationPhase::Receiving);
        session.control()?.send(&encode_bytes(Kind::Accepted, &[])?)?;
        if !handed_over {
            accept_others(session, channel, hello)?;
            let pages = Pages::new(session.vm.memory().clone(), session.links.len(), session.steering);
            receive_pages(&session.links, &pages)?;
        }
        let state = session.control()?.expect(Kind::Released)?;
        let begin = Instant::now();
        session.vm.prepare(&state)?;
        let load_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        session.steering.enter(MigrationPhase::Prepared);
        session.control()?.send(&encode(Kind::Prepared, &PreparedBody { load_us })?)
    }
}

/// Accepts the other connections, which may arrive in any order.
fn accept_others(session: &mut Session<'_>, channel: &dyn Channel, hello: &Hello) -> Result<()> {
    let mut others: Vec<Option<Link<'_>>> = (1..hello.connections).map(|_| None).collect();
    for _ in 1..hello.connections {
        let link = Link::new(accept_connection(channel, session.watch)?, session.watch);
        let other: Hello = link.receive_hello()?;
        let place = usize::from(other.connection).checked_sub(1).and_then(|number| others.get_mut(number));
        match place {
            Some(place) if place.is_none() && other.migration == hello.migration => *place = Some(link),
            _ => return Err(broken(format!("connection {} is not one of this migration", other.connection))),
        }
    }
    session.links.extend(others.into_iter().flatten());
    Ok(())
}

/// Takes the pages of all connections, until each has delivered its last round.
fn receive_pages(links: &[Link<'_>], pages: &Pages<'_>) -> Result<()> {
    let take = |number: usize, link: &Link<'_>| {
        let taken = pages.receive(link, number);
        if taken.is_err() {
            link.fail_all();
        }
        taken
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, link) in links.iter().enumerate().skip(1) {
            let work = move || take(number, link);
            let started = with_signals_blocked(|| std::thread::Builder::new().spawn_scoped(scope, work));
            threads.push(started.map_err(|e| Error::io("cannot start a thread that receives memory", e))?);
        }
        let first = links.first().map_or(Ok(()), |link| take(0, link));
        threads.into_iter().fold(first, |outcome, thread| {
            let panicked = |_| Err(Error::new(ErrorKind::Io, "a thread that receives memory panicked"));
            both(outcome, thread.join().unwrap_or_else(panicked))
        })
    })
}

impl Prepared<'_> {
    /// Waits for the commit.
    fn wait(self) -> Result<Box<dyn TargetVm>> {
        let Self(session) = self;
        let mut body = Vec::new();
        match session.control().and_then(|control| control.receive(&mut body)) {
            Ok(Kind::Commit) => run(session),
            Ok(other) => {
                let error = unexpected(other, &body, Kind::Commit);
                Err(session.abort(error))
            }
            Err(error) => Asking(session, error).ask(),
        }
    }
}

impl Asking<'_> {
    /// Reads from the store whether the guest runs here.
    fn ask(self) -> Result<Box<dyn TargetVm>> {
        let Self(session, error) = self;
        session.steering.enter(MigrationPhase::Asking);
        match ask(session.limits.decision_limit, || session.decision.read()) {
            Decision::Applied => run(session),
            Decision::Refused | Decision::Unknown => Err(session.abort(error)),
        }
    }
}

/// Runs the guest and tells the source so.
fn run(mut session: Session<'_>) -> Result<Box<dyn TargetVm>> {
    session.watch.stop();
    if let Err(error) = session.vm.run() {
        return Err(session.abort(error));
    }
    // If this does not arrive, the source reports that the outcome is indeterminate.
    let committed = encode_bytes(Kind::Committed, &[]);
    if let Err(error) = session.control().and_then(|control| control.send(&committed?)) {
        tracing::warn!(%error, "cannot tell the source of the migration that the guest runs");
    }
    Ok(session.vm)
}
