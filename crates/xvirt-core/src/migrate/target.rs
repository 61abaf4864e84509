//! The target of a migration: its phases, each a type.

use std::time::Instant;

use super::arrivals::{Arrivals, Arrived};
use super::channel::Channel;
use super::decision::{CommitDecision, Decision, ask};
use super::frame::broken;
use super::link::{Link, Watch, both, join_checked, unexpected};
use super::message::{
    FEATURES, Hello, Kind, LOCAL_HAND_OVER, MemoryFiles, Offer, Prepared as PreparedBody, Reasons, decode, encode,
    encode_bytes,
};
use super::pages::Pages;
use super::report::{MigrationObserver, MigrationPhase};
use super::settings::{AtLimit, Migration, Reception};
use super::steering::Steering;
use crate::memory::{GuestRam, MemoryFile};
use crate::progress::{interrupted, uninterruptible};
use crate::state::ranges_of;
use crate::thread::with_signals_blocked;
use crate::wait::cancelled;
use crate::{Error, ErrorKind, Result};

/// What the target needs of a VM that does not run here yet. Dropping it closes and unlocks the disks, and then its guest
/// never runs here.
pub(crate) trait TargetVm: Sized {
    /// The VM whose guest runs here.
    type Running;

    /// The guest's memory: that which the source passed in a local hand-over, or else all zeroes.
    fn memory(&self) -> &GuestRam;

    /// Locks and opens the disks, and loads the state, which `release` of the source returned.
    fn prepare(&mut self, state: &[u8]) -> Result<()>;

    /// Runs the guest. After an error it has not executed an instruction.
    fn run(self) -> Result<Self::Running>;
}

/// Why the target does not take the VM: all reasons at once.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) reasons: Vec<String>,
}

/// The VM for an offer, or the reasons why it is not taken.
pub(crate) type Admission<V> = std::result::Result<V, Refusal>;

/// Makes the VM for an offer, or refuses it: with the memory that the source passes, in a local hand-over.
pub(crate) type Accept<'a, V> = dyn FnMut(&Offer, Option<&[MemoryFile]>) -> Admission<V> + 'a;

/// Waits for a source at the other end of `channel`, and receives its VM. When this returns, its guest runs here. Sources
/// that only ask whether it would be taken get their answers before.
///
/// # Errors
/// The guest does not run here, and never will: its memory, disks and locks were given back.
pub(crate) fn receive<V: TargetVm>(
    channel: &dyn Channel,
    settings: &Reception,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
    accept: &mut Accept<'_, V>,
) -> Result<V::Running> {
    settings.check()?;
    let mut arrivals = Arrivals::new(channel, settings.silence_limit);
    let check = || match observer.cancelled() || interrupted() {
        true => Err(cancelled("a migration")),
        false => Ok(()),
    };
    loop {
        let first = arrivals.first(&check)?;
        if let Some(vm) = receive_one(&mut arrivals, first, settings, decision, observer, accept)? {
            return Ok(vm);
        }
    }
}

/// Serves one source. `None` if it only asked.
fn receive_one<V: TargetVm>(
    arrivals: &mut Arrivals<'_>,
    first: Arrived,
    settings: &Reception,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
    accept: &mut Accept<'_, V>,
) -> Result<Option<V::Running>> {
    let limits = Migration::default().time_limit(settings.time_limit, AtLimit::Abort);
    let steering = Steering::fixed(limits, observer);
    let check = || steering.check();
    let watch = Watch::new(settings.silence_limit, &check);
    let Introduced { link, offer, hello, memory } = introduce(first, &watch)?;
    let vm = match admit(&offer, memory.as_deref(), accept) {
        Ok(vm) if offer.check => {
            drop(vm);
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
    Receiving(session).receive(arrivals, &hello, memory.is_some())?.wait().map(Some)
}

/// What all phases have.
struct Session<'a, V> {
    vm: V,
    links: Vec<Link<'a>>,
    watch: &'a Watch<'a>,
    steering: &'a Steering<'a>,
    decision: &'a dyn CommitDecision,
    limits: &'a Reception,
}

/// Memory arrives.
struct Receiving<'a, V>(Session<'a, V>);

/// The disks are locked and open, and the state is loaded.
struct Prepared<'a, V>(Session<'a, V>);

/// The connection broke: the store knows who owns the VM.
struct Asking<'a, V>(Session<'a, V>, Error);

/// What a source says first.
struct Introduced<'a> {
    link: Link<'a>,
    offer: Offer,
    hello: Hello,
    /// The memory, in a local hand-over.
    memory: Option<Vec<MemoryFile>>,
}

/// Answers the first connection, and receives its offer.
fn introduce<'a>(first: Arrived, watch: &'a Watch<'a>) -> Result<Introduced<'a>> {
    let hello = first.hello.clone();
    let link = Link::new(first.into_connection(), watch);
    match receive_offer(&link, &hello) {
        Ok((offer, memory)) => Ok(Introduced { link, offer, hello, memory }),
        Err(error) => {
            say_aborted(&[link], &error);
            Err(error)
        }
    }
}

fn receive_offer(link: &Link<'_>, hello: &Hello) -> Result<(Offer, Option<Vec<MemoryFile>>)> {
    let possible =
        if link.passes_descriptors() && hello.connections == 1 { FEATURES } else { FEATURES & !LOCAL_HAND_OVER };
    let features = hello.features & possible;
    link.send_hello(&Hello { features, ..hello.clone() })?;
    let offer: Offer = decode(Kind::Offer, &link.expect(Kind::Offer)?)?;
    let local_hand_over = features & LOCAL_HAND_OVER != 0;
    let memory = local_hand_over.then(|| receive_memory(link, offer.memory.len())).transpose()?;
    Ok((offer, memory))
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

/// Lets the embedder decide, and checks that its VM has the memory of the offer.
fn admit<V: TargetVm>(offer: &Offer, memory: Option<&[MemoryFile]>, accept: &mut Accept<'_, V>) -> Admission<V> {
    let vm = accept(offer, memory)?;
    if ranges_of(vm.memory()) == offer.memory {
        return Ok(vm);
    }
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

impl<'a, V: TargetVm> Session<'a, V> {
    fn control(&self) -> Result<&Link<'a>> {
        self.links.first().ok_or_else(|| Error::new(ErrorKind::Gone, "the migration has no connection"))
    }

    /// Gives everything back, and then tells the source so.
    fn abort(self, error: Error) -> Error {
        let Self { vm, links, watch, .. } = self;
        watch.stop();
        drop(vm);
        say_aborted(&links, &error);
        error
    }
}

/// Tells the source that the guest never runs here.
fn say_aborted(links: &[Link<'_>], error: &Error) {
    if let Some(control) = links.first() {
        control.say_aborted(error);
        control.finish();
    }
}

impl<'a, V: TargetVm> Receiving<'a, V> {
    /// Takes the memory, unless it is there already, and the state.
    fn receive(mut self, arrivals: &mut Arrivals<'_>, hello: &Hello, local_hand_over: bool) -> Result<Prepared<'a, V>> {
        match self.prepare(arrivals, hello, local_hand_over) {
            Ok(()) => Ok(Prepared(self.0)),
            Err(error) => Err(self.0.abort(error)),
        }
    }

    fn prepare(&mut self, arrivals: &mut Arrivals<'_>, hello: &Hello, local_hand_over: bool) -> Result<()> {
        let Self(session) = self;
        session.steering.enter(MigrationPhase::Receiving);
        session.control()?.send(&encode_bytes(Kind::Accepted, &[])?)?;
        if !local_hand_over {
            accept_others(session, arrivals, hello)?;
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
fn accept_others<V>(session: &mut Session<'_, V>, arrivals: &mut Arrivals<'_>, first: &Hello) -> Result<()> {
    let watch = session.watch;
    let mut others: Vec<Option<Link<'_>>> = (1..first.connections).map(|_| None).collect();
    for _ in 1..first.connections {
        let arrived = arrivals.another(first, watch.silence(), &|| watch.check())?;
        let number = arrived.hello.connection;
        let place = usize::from(number).checked_sub(1).and_then(|number| others.get_mut(number));
        let Some(place) = place.filter(|place| place.is_none()) else {
            return Err(broken(format!("the source opened connection {number} of {} twice", first.connections)));
        };
        *place = Some(Link::new(arrived.into_connection(), watch));
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
        threads.into_iter().zip(links).fold(first, |outcome, (thread, link)| {
            let (ended, checked) = join_checked(thread, link);
            let panicked = |_| Err(Error::new(ErrorKind::Io, "a thread that receives memory panicked"));
            both(outcome.and(checked), ended.unwrap_or_else(panicked))
        })
    })
}

impl<V: TargetVm> Prepared<'_, V> {
    /// Waits for the commit.
    fn wait(self) -> Result<V::Running> {
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

impl<V: TargetVm> Asking<'_, V> {
    /// Reads from the store whether the guest runs here.
    fn ask(self) -> Result<V::Running> {
        let Self(session, error) = self;
        session.steering.enter(MigrationPhase::Asking);
        // Not interruptible: the guest may be this target's already.
        match uninterruptible(|| ask(session.limits.decision_limit, || session.decision.read())) {
            Decision::Applied => run(session),
            Decision::Refused | Decision::Unknown => Err(session.abort(error)),
        }
    }
}

/// Runs the guest and tells the source so.
fn run<V: TargetVm>(session: Session<'_, V>) -> Result<V::Running> {
    let Session { vm, links, watch, .. } = session;
    watch.stop();
    let running = vm.run().inspect_err(|error| say_aborted(&links, error))?;
    // If this does not arrive, the source reports that the outcome is indeterminate.
    let committed = encode_bytes(Kind::Committed, &[]);
    let told = links.first().map_or(Ok(()), |control| control.send(&committed?));
    if let Err(error) = told {
        tracing::warn!(%error, "cannot tell the source of the migration that the guest runs");
    }
    Ok(running)
}
