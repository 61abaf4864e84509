//! The source of a migration: its phases, each a type.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::channel::Channel;
use super::convergence::{Convergence, Round, Step, rate};
use super::copy::Copier;
use super::decision::{CommitDecision, Decision, RETRY, ask};
use super::frame::broken;
use super::link::{Link, Watch, unexpected};
use super::message::{Hello, Kind, LOCAL_HAND_OVER, MemoryFiles, Offer, Prepared, decode, encode, encode_bytes};
use super::report::{Downtime, MigrationObserver, MigrationPhase, MigrationSummary};
use super::settings::{MemoryTransfer, Migration};
use super::steering::{Steering, out_of_time};
use crate::memory::{GuestRam, MemoryFile, files_of};
use crate::state::DirtyPages;
use crate::{Error, ErrorKind, Result};

/// How long a side that has failed waits for the other's confirmation.
const CONFIRMATION: Duration = Duration::from_millis(500);

/// The same for a migration that this side's program has cancelled: it knows the reason, and waits for the end of the call.
const CANCELLATION: Duration = Duration::from_millis(50);

/// What the source needs of the VM.
pub(crate) trait SourceVm {
    /// What to move. Called once, while the guest runs.
    fn offer(&self) -> Result<Offer>;

    /// The guest's memory.
    fn memory(&self) -> &GuestRam;

    /// Begins to record the pages that the guest or a device writes.
    fn start_dirty_log(&self) -> Result<()>;

    /// The pages that were written since the last call.
    fn take_dirty(&self) -> Result<DirtyPages>;

    /// Ends the recording.
    fn stop_dirty_log(&self);

    /// Holds the vCPUs for a share of the time, in percent; 0 lets them run.
    fn throttle(&self, percent: u8) -> Result<()>;

    /// Writes the disks to stable storage while the guest runs, so that [`release`](Self::release) has little to write.
    fn flush(&self) -> Result<()>;

    /// Stops the guest: vCPUs first, then devices drain.
    fn park(&mut self) -> Result<()>;

    /// Flushes, closes and unlocks the disks, and returns the state of the machine.
    fn release(&mut self) -> Result<Vec<u8>>;

    /// Undoes [`park`](Self::park) and [`release`](Self::release), which may have failed half-way: locks and opens the
    /// disks that are closed, and runs the guest. After an error the guest stays stopped without open disks, and this
    /// can be called again.
    fn reclaim(&mut self) -> Result<()>;
}

/// How a migration ended at its source.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The guest runs at the target.
    Migrated(MigrationSummary),
    /// The migration failed, and the guest runs at the source.
    Resumed(Error),
    /// The migration failed, and the guest is stopped at the source, because its disks cannot be opened.
    Paused {
        /// Why the migration failed.
        cause: Error,
        /// Why the guest cannot run.
        reclaim: Error,
    },
    /// The guest is stopped at the source, and may run at the target.
    Indeterminate(Error),
}

/// Moves `vm` to the target at the other end of `channel`.
pub(crate) fn migrate(
    vm: &mut dyn SourceVm,
    channel: &dyn Channel,
    settings: &Migration,
    decision: &dyn CommitDecision,
    observer: &dyn MigrationObserver,
) -> Outcome {
    if let Err(error) = settings.check() {
        return Outcome::Resumed(error);
    }
    let steering = Steering::new(settings.clone(), observer);
    let check = || steering.check();
    let watch = Watch::new(settings.silence_limit, &check);
    let session = Session::new(vm, &watch, &steering, decision);
    let ended = session.connect(channel).and_then(Running::copy).and_then(Parked::release);
    let ended = ended.and_then(Released::wait).and_then(Deciding::decide).map(Committing::wait);
    ended.unwrap_or_else(|outcome| *outcome)
}

/// Asks the target at the other end of `channel` whether it would take `vm`.
pub(crate) fn check(
    vm: &mut dyn SourceVm,
    channel: &dyn Channel,
    settings: &Migration,
    observer: &dyn MigrationObserver,
) -> Result<()> {
    settings.check()?;
    let steering = Steering::new(settings.clone().connections(1), observer);
    let check = || steering.check();
    let watch = Watch::new(settings.silence_limit, &check);
    let mut session = Session::new(vm, &watch, &steering, &());
    let offer = Offer { check: true, ..session.vm.offer()? };
    session.introduce(channel, &offer).map_err(|error| session.end(error))
}

/// Passes the files that hold the memory.
fn send_memory(control: &Link<'_>, files: &[MemoryFile]) -> Result<()> {
    let body = MemoryFiles { offsets: files.iter().map(|part| part.offset).collect() };
    let descriptors: Vec<_> = files.iter().map(|part| part.file.as_fd()).collect();
    control.send_with(&encode(Kind::Memory, &body)?, &descriptors)
}

/// The error for a local hand-over that is not possible: the memory can still be copied.
fn not_possible(cause: Error) -> Error {
    let remedy = cause.remedy().map(|remedy| format!("{remedy}; or ")).unwrap_or_default();
    Error::new(cause.kind(), format!("a local hand-over is not possible: {}", cause.message()))
        .with_remedy(format!("{remedy}let the memory be copied: MemoryTransfer::Copy"))
}

fn no_connection() -> Error {
    Error::new(ErrorKind::Gone, "the migration has no connection")
}

/// The next phase, or how the migration ended.
type Phase<T> = std::result::Result<T, Box<Outcome>>;

/// What all phases have.
struct Session<'a> {
    vm: &'a mut dyn SourceVm,
    links: Vec<Link<'a>>,
    watch: &'a Watch<'a>,
    steering: &'a Steering<'a>,
    decision: &'a dyn CommitDecision,
    downtime: Downtime,
}

/// The guest runs, and its memory is copied, unless the target has been handed it.
struct Running<'a>(Session<'a>, Option<Copier<'a>>);

/// The guest is stopped, and the disks are still open. With the rest of its memory that is to be copied.
struct Parked<'a>(Session<'a>, Option<(Copier<'a>, DirtyPages)>);

/// The disks are closed and unlocked.
struct Released<'a>(Session<'a>, Instant);

/// The target is prepared.
struct Deciding<'a>(Session<'a>);

/// The target may run the guest.
struct Committing<'a>(Session<'a>);

/// The migration failed before the commit, and the guest is stopped.
struct Reclaiming<'a>(Session<'a>, Error);

impl<'a> Session<'a> {
    fn new(
        vm: &'a mut dyn SourceVm,
        watch: &'a Watch<'a>,
        steering: &'a Steering<'a>,
        decision: &'a dyn CommitDecision,
    ) -> Self {
        Self { vm, links: Vec::new(), watch, steering, decision, downtime: Downtime::default() }
    }

    fn connect(mut self, channel: &dyn Channel) -> Phase<Running<'a>> {
        self.steering.enter(MigrationPhase::Running);
        match self.vm.offer().and_then(|offer| self.introduce(channel, &offer)) {
            Ok(()) => {
                let copies = self.steering.settings().memory == MemoryTransfer::Copy;
                let copier = || Copier::new(self.vm.memory().clone(), self.links.len(), self.steering);
                let copier = copies.then(copier);
                Ok(Running(self, copier))
            }
            Err(error) => Err(Outcome::Resumed(self.end(error)).into()),
        }
    }

    /// Opens the connections and lets the target accept the VM.
    fn introduce(&mut self, channel: &dyn Channel, offer: &Offer) -> Result<()> {
        let Migration { connections, memory, .. } = self.steering.settings();
        let files = match memory {
            MemoryTransfer::Copy => None,
            MemoryTransfer::LocalHandOver => Some(files_of(self.vm.memory()).map_err(not_possible)?),
        };
        let features = if files.is_some() { LOCAL_HAND_OVER } else { 0 };
        let mut hello = Hello { migration: Uuid::new_v4(), connection: 0, connections, features };
        let offer = encode(Kind::Offer, offer)?;
        let control = self.open(channel, 0)?;
        control.send_hello(&hello)?;
        let answer: Hello = control.receive_hello()?;
        if (answer.migration, answer.features & !features) != (hello.migration, 0) {
            return Err(broken("the target answers another migration, or chose what was not offered"));
        }
        if answer.features != features {
            let error = Error::new(ErrorKind::MigrationRefused, "the target does not take descriptors of memory");
            return Err(not_possible(
                error.with_remedy("let it run a version of xvirt that can, and listen on a unix socket"),
            ));
        }
        control.send(&offer)?;
        if let Some(files) = files {
            send_memory(control, &files)?;
        }
        control.expect(Kind::Accepted)?;
        for number in 1..connections {
            hello.connection = number;
            self.open(channel, number)?.send_hello(&hello)?;
        }
        Ok(())
    }

    fn open(&mut self, channel: &dyn Channel, number: u8) -> Result<&Link<'a>> {
        let connection = channel
            .connect(self.watch.silence())
            .map_err(|e| Error::io(format!("cannot open connection {number} to the target"), e))?;
        if self.steering.settings().memory == MemoryTransfer::LocalHandOver && !connection.passes_descriptors() {
            let error = Error::new(ErrorKind::InvalidConfig, "the connection to the target passes no descriptors");
            return Err(not_possible(error.with_remedy("connect to the target over a unix socket")));
        }
        self.links.push(Link::new(connection, self.watch));
        self.links.last().ok_or_else(no_connection)
    }

    fn control(&self) -> Result<&Link<'a>> {
        self.links.first().ok_or_else(no_connection)
    }

    /// Ends what only copying needs.
    fn stop_copying(&self) {
        self.vm.stop_dirty_log();
        if let Err(error) = self.vm.throttle(0) {
            tracing::warn!(%error, "cannot end the throttling of the vCPUs");
        }
    }

    /// Ends the migration on the wire, and waits shortly for the target to confirm. Returns the error with the reason
    /// of the target, if it has one.
    fn end(&mut self, error: Error) -> Error {
        self.watch.stop();
        self.stop_copying();
        for link in self.links.iter().skip(1) {
            link.close();
        }
        let Some(control) = self.links.first() else { return error };
        control.say_aborted(&error);
        control.finish();
        let limit = match self.steering.settings().memory {
            MemoryTransfer::Copy if error.kind() == ErrorKind::Cancelled => CANCELLATION,
            MemoryTransfer::Copy => CONFIRMATION,
            // The target may still load the state, for which KVM writes to the memory that both have.
            MemoryTransfer::LocalHandOver => self.watch.silence(),
        };
        let reason = control.wait_for_end(limit);
        control.close();
        match reason {
            Some(reason) if error.kind() == ErrorKind::PeerFailed => reason,
            _ => error,
        }
    }
}

impl<'a> Running<'a> {
    /// Sends all pages, then those written meanwhile, until the rest is small enough, and stops the guest.
    fn copy(self) -> Phase<Parked<'a>> {
        let Self(mut session, mut copier) = self;
        let rest = match &mut copier {
            Some(copier) => rounds(&session, copier).map(Some),
            None => session.vm.flush().and_then(|()| session.watch.check()).map(|()| None),
        };
        let rest = match rest {
            Ok(rest) => rest,
            Err(error) => return Err(Outcome::Resumed(session.end(error)).into()),
        };
        session.steering.enter(MigrationPhase::Parked);
        let begin = Instant::now();
        let parked = session.vm.park();
        session.downtime.drain = begin.elapsed();
        match parked {
            Ok(()) => Ok(Parked(session, copier.zip(rest))),
            Err(error) => Err(Reclaiming(session, error).reclaim().into()),
        }
    }
}

/// Sends all pages, then those written meanwhile, until the rest, which is returned, is small enough.
fn rounds(session: &Session<'_>, copier: &mut Copier<'_>) -> Result<DirtyPages> {
    session.vm.start_dirty_log()?;
    let mut dirty = DirtyPages::all(copier.pages());
    let mut convergence = Convergence::default();
    loop {
        let (begin, before) = (Instant::now(), session.steering.bytes());
        let number = copier.round(&session.links, &dirty, false)?;
        let (elapsed, sent) = (begin.elapsed(), session.steering.bytes() - before);
        if number == 0 {
            // The first round takes longest, so that little is left to write while the guest is stopped.
            session.vm.flush()?;
        }
        dirty = session.vm.take_dirty()?;
        session.watch.check()?;
        let round = Round { number, sent, dirty: dirty.bytes(), elapsed };
        let settings = session.steering.settings();
        let step = convergence.next(&round, &settings, session.steering.elapsed());
        session.steering.report(|report| {
            report.dirty_rate = rate(round.dirty, elapsed);
            report.throughput = convergence.throughput();
            report.expected_downtime = convergence.expected_downtime(round.dirty);
        });
        match step {
            Step::Continue => {}
            Step::Throttle(percent) => {
                session.vm.throttle(percent)?;
                session.steering.report(|report| report.throttle = percent);
            }
            Step::Park => return Ok(dirty),
            Step::Abort => return Err(out_of_time(settings.time_limit)),
        }
    }
}

impl<'a> Parked<'a> {
    /// Sends the last pages, closes the disks, and sends the state.
    fn release(self) -> Phase<Released<'a>> {
        let Self(mut session, rest) = self;
        match Self::last_pages(&mut session, rest) {
            Ok(sent) => Ok(Released(session, sent)),
            Err(error) => Err(Reclaiming(session, error).reclaim().into()),
        }
    }

    fn last_pages(session: &mut Session<'a>, rest: Option<(Copier<'a>, DirtyPages)>) -> Result<Instant> {
        let begin = Instant::now();
        let mut copier = None;
        if let Some((mut copies, mut rest)) = rest {
            rest.merge(&session.vm.take_dirty()?);
            copies.round(&session.links, &rest, false)?;
            copier = Some(copies);
        }
        session.downtime.last_round = begin.elapsed();
        session.watch.check()?;

        let begin = Instant::now();
        let state = session.vm.release()?;
        if let Some(copier) = &mut copier {
            // Usually empty, but collecting the state may have written to memory.
            copier.round(&session.links, &session.vm.take_dirty()?, true)?;
            session.stop_copying();
        }
        session.downtime.state = begin.elapsed();

        let begin = Instant::now();
        session.steering.enter(MigrationPhase::Released);
        session.control()?.send(&encode_bytes(Kind::Released, &state)?)?;
        Ok(begin)
    }
}

impl<'a> Released<'a> {
    /// Waits until the target has opened the disks and loaded the state.
    fn wait(self) -> Phase<Deciding<'a>> {
        let Self(mut session, sent) = self;
        let answer = session.control().and_then(|control| control.expect(Kind::Prepared));
        match answer.and_then(|body| decode::<Prepared>(Kind::Prepared, &body)) {
            Ok(prepared) => {
                let elapsed = sent.elapsed();
                session.downtime.load = Duration::from_micros(prepared.load_us).min(elapsed);
                session.downtime.send = elapsed - session.downtime.load;
                Ok(Deciding(session))
            }
            Err(error) => Err(Reclaiming(session, error).reclaim().into()),
        }
    }
}

impl<'a> Deciding<'a> {
    /// Lets the store decide. From here on the migration cannot be cancelled.
    fn decide(self) -> Phase<Committing<'a>> {
        let Self(mut session) = self;
        session.steering.enter(MigrationPhase::Deciding);
        let begin = Instant::now();
        if let Err(error) = session.watch.check() {
            return Err(Reclaiming(session, error).reclaim().into());
        }
        session.watch.stop();
        let mut answer = session.decision.commit();
        if answer == Decision::Unknown {
            answer = ask(session.steering.settings().decision_limit, || session.decision.withdraw());
        }
        session.downtime.send += begin.elapsed();
        match answer {
            Decision::Applied => Ok(Committing(session)),
            Decision::Refused => {
                let error =
                    Error::new(ErrorKind::InvalidState, "the store did not make the target the owner of the VM");
                Err(Reclaiming(session, error).reclaim().into())
            }
            Decision::Unknown => {
                let error = Error::new(ErrorKind::Indeterminate, "the store did not say which host owns the VM");
                Err(indeterminate(session, error).into())
            }
        }
    }
}

impl Committing<'_> {
    /// Sends the commit and waits until the guest runs at the target.
    fn wait(self) -> Outcome {
        let Self(mut session) = self;
        session.steering.enter(MigrationPhase::Committing);
        let begin = Instant::now();
        let mut body = Vec::new();
        let sent = session.control().and_then(|control| control.send(&encode_bytes(Kind::Commit, &[])?));
        if let Err(error) = sent {
            return Self::undelivered(session, error);
        }
        match session.control().and_then(|control| control.receive(&mut body)) {
            Ok(Kind::Committed) => {
                session.downtime.resume = begin.elapsed();
                Outcome::Migrated(MigrationSummary { report: session.steering.last(), downtime: session.downtime })
            }
            Ok(Kind::Aborted) => Self::undelivered(session, unexpected(Kind::Aborted, &body, Kind::Committed)),
            Ok(other) => indeterminate(session, unexpected(other, &body, Kind::Committed)),
            Err(error) => indeterminate(session, error),
        }
    }

    /// The target did not get the commit, or confirms that the guest never runs there. That is the end of it unless a
    /// store has made the target the owner.
    fn undelivered(session: Session<'_>, error: Error) -> Outcome {
        match ask(session.steering.settings().decision_limit, || session.decision.withdraw()) {
            Decision::Refused => Reclaiming(session, error).reclaim(),
            Decision::Applied | Decision::Unknown => indeterminate(session, error),
        }
    }
}

impl Reclaiming<'_> {
    /// Opens the disks and runs the guest again. The target may need a moment to unlock the disks.
    fn reclaim(self) -> Outcome {
        let Self(mut session, error) = self;
        session.steering.enter(MigrationPhase::Reclaiming);
        let cause = session.end(error);
        let deadline = Instant::now() + session.watch.silence();
        loop {
            match session.vm.reclaim() {
                Ok(()) => return Outcome::Resumed(cause),
                Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(reclaim) => return Outcome::Paused { cause, reclaim },
            }
        }
    }
}

fn indeterminate(session: Session<'_>, cause: Error) -> Outcome {
    // Also closes the connections.
    drop(session);
    let what = "the outcome of the migration is unknown: the guest is stopped here, and may run at the target";
    let error = Error::new(ErrorKind::Indeterminate, what).because(cause);
    Outcome::Indeterminate(error.with_remedy("find out whether it runs at the target, and resolve the migration"))
}
