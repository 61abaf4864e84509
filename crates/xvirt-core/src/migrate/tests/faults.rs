//! Every fault at every message, in both directions, and every failing task: the guest never runs twice, is never lost
//! without saying so, and its memory and disk are right.

use std::sync::atomic::Ordering;

use super::faulty::{Fault, FaultyChannel, Killed, Layer, Plan, plain};
use super::*;
use crate::migrate::message::Kind;
use crate::migrate::testing::Side;
use crate::migrate::{CommitDecision, Decision};
use crate::sync::{Mutex, lock};
use crate::{Error, ErrorKind};

/// The time limit for a silent peer, as short as a busy host allows.
const SILENCE: Duration = Duration::from_millis(250);
/// All ways to move memory.
const MEMORY: [MemoryTransfer; 2] = [MemoryTransfer::Copy, MemoryTransfer::LocalHandOver];
/// How many cases run at the same time. They mostly wait.
const THREADS: usize = 24;

/// The kind of migration in which a side sends a message.
struct Scenario {
    side: Side,
    /// What fails besides.
    failing: &'static [Task],
    memory: MemoryTransfer,
}

/// Who sends each message, and when. A new kind of message does not compile without its scenarios.
fn scenarios(kind: Kind) -> Vec<Scenario> {
    let only = |memory, side| vec![Scenario { side, failing: &[], memory }];
    let with = |side, failing| MEMORY.map(|memory| Scenario { side, failing, memory });
    let good = |side| with(side, &[]);
    match kind {
        Kind::Hello => [good(Side::Source), good(Side::Target)].into_iter().flatten().collect(),
        Kind::Pages | Kind::ZeroPages | Kind::EndOfRound => only(MemoryTransfer::Copy, Side::Source),
        Kind::Memory => only(MemoryTransfer::LocalHandOver, Side::Source),
        Kind::Offer | Kind::Released | Kind::Commit => good(Side::Source).into(),
        Kind::Accepted | Kind::Prepared | Kind::Committed => good(Side::Target).into(),
        Kind::Refused => with(Side::Target, &[Task::Accept]).into(),
        Kind::Aborted => [
            with(Side::Source, &[Task::Park]),
            with(Side::Source, &[Task::Release]),
            with(Side::Target, &[Task::Prepare]),
            with(Side::Target, &[Task::Run]),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

/// The end of both sides; a killed side has none.
struct Ends {
    source: Option<Outcome>,
    target: Option<Result<()>>,
}

/// A store that both sides ask. It answers `Unknown` at first.
#[derive(Default)]
struct Store {
    applied: Mutex<Option<bool>>,
    refuses: bool,
    /// It can never be reached.
    gone: bool,
}

impl CommitDecision for Store {
    fn commit(&self) -> Decision {
        if !self.gone {
            *lock(&self.applied) = Some(!self.refuses);
        }
        Decision::Unknown
    }

    fn withdraw(&self) -> Decision {
        match *lock(&self.applied) {
            _ if self.gone => Decision::Unknown,
            Some(true) => Decision::Applied,
            _ => Decision::Refused,
        }
    }

    fn read(&self) -> Decision {
        self.withdraw()
    }
}

/// A migration without a fault of its settings.
fn over(connections: u8, memory: MemoryTransfer) -> Migration {
    settings(connections, SILENCE).decision_limit(SILENCE).memory(memory)
}

fn run_case(world: &Arc<World>, plan: &Arc<Plan>, settings: &Migration, decision: &dyn Decides) -> Ends {
    let (here, there) = plan.channels(settings.connections);
    let mut source = source_for(settings.memory, world, 10);
    let ram = source.guest.ram.clone();
    std::thread::scope(|scope| {
        let target = scope.spawn(move || {
            let vm = run_target(world, &there, settings.silence_limit, decision)?;
            assert!(contents(&vm.ram) == contents(&ram), "the memory differs");
            Ok(())
        });
        let source = scope.spawn(move || send(&mut source, &here, settings, decision));
        Ends { source: end_of(source.join()), target: end_of(target.join()) }
    })
}

/// A decision of both sides.
trait Decides: CommitDecision + Sync {}
impl<T: CommitDecision + Sync> Decides for T {}

fn send(
    source: &mut FakeSource,
    channel: &FaultyChannel,
    settings: &Migration,
    decision: &dyn CommitDecision,
) -> Outcome {
    let outcome = migrate(source, channel, settings, decision, &());
    assert!(source.is_clean(), "the log or the throttling is still on");
    outcome
}

fn end_of<T>(joined: std::thread::Result<T>) -> Option<T> {
    match joined {
        Ok(end) => Some(end),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// What must hold however a migration ends.
fn check(world: &World, plan: &Plan, ends: &Ends, stored: bool, case: &str) {
    let (running, locked) = (world.running(), world.locked());
    let source = ends.source.as_ref();
    let runs_here = matches!(source, Some(Outcome::Resumed(_)));
    let runs_there = matches!(ends.target, Some(Ok(())));
    assert!(!(runs_here && runs_there), "{case}: both report that the guest runs");
    let reported = if runs_here { Some(Side::Source) } else { runs_there.then_some(Side::Target) };
    // A guest that is killed right after it began to run is not reported.
    assert_eq!(running, reported, "{case}: {source:?}");
    assert_eq!(locked, running, "{case}: the disk belongs to whoever runs: {source:?}");
    match source {
        Some(Outcome::Migrated(_)) => assert!(runs_there || ends.target.is_none(), "{case}: migrated to nowhere"),
        Some(Outcome::Resumed(_)) => {}
        Some(Outcome::Paused { .. }) => {
            assert!(!runs_there && world.failing.contains(&Task::Reclaim), "{case}: {source:?}");
        }
        Some(Outcome::Indeterminate(error)) => {
            assert_eq!(error.kind(), ErrorKind::Indeterminate);
            assert!(plan.commit_sent.load(Ordering::Relaxed) || stored, "{case}: without a commit: {source:?}");
        }
        // It was killed. The target goes on alone only after a commit.
        None => assert!(!runs_there || plan.commit_sent.load(Ordering::Relaxed) || stored, "{case}"),
    }
}

/// Calls `work` with each case, on several threads.
fn in_parallel<T: Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(case);
                }
            });
        }
    });
}

/// The first, a middle and the last message of each kind, as counted in a migration without a fault.
fn places(layer: Layer, kind: Kind, scenario: &Scenario, settings: &Migration) -> Vec<usize> {
    let (world, plan) = (World::new(scenario.failing), Plan::over(layer, None, Fault::Lost, SILENCE));
    run_case(&world, &plan, &settings.clone().silence_limit(PATIENCE), &());
    let count = plan.count(scenario.side, kind);
    assert!(count > 0, "{kind} is not sent by the {:?}", scenario.side);
    let mut places = vec![0, count / 2, count - 1];
    places.dedup();
    places
}

#[test]
fn every_fault_at_every_message_leaves_one_guest_or_says_where_it_may_be() {
    every_fault(plain, &MEMORY);
}

pub(super) fn every_fault(layer: Layer, ways: &[MemoryTransfer]) {
    let mut cases = Vec::new();
    for connections in [1, 3] {
        for kind in Kind::ALL {
            for scenario in scenarios(kind) {
                if !ways.contains(&scenario.memory)
                    || scenario.memory == MemoryTransfer::LocalHandOver && connections > 1
                {
                    continue;
                }
                let settings = over(connections, scenario.memory);
                for place in places(layer, kind, &scenario, &settings) {
                    for fault in Fault::ALL {
                        // With several connections, a message can be sent by a thread that is not the process.
                        let killed = matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
                        if connections == 1 || !killed && fault != Fault::Late {
                            cases.push((settings.clone(), kind, scenario.side, scenario.failing, place, fault));
                        }
                    }
                }
            }
        }
    }
    assert!(cases.len() > 300, "{}", cases.len());
    in_parallel(&cases, |&(ref settings, kind, side, failing, place, fault)| {
        let case = format!(
            "{fault:?} at {kind} {place} of the {side:?} over {}, {:?}, {failing:?} failing",
            settings.connections, settings.memory
        );
        let (world, plan) = (World::new(failing), Plan::over(layer, Some((side, kind, place)), fault, SILENCE * 2));
        let ends = run_case(&world, &plan, settings, &());
        check(&world, &plan, &ends, false, &case);
        // What fails before the commit leaves the guest where it was.
        let early = !matches!(kind, Kind::Commit | Kind::Committed | Kind::Aborted);
        if early && plan.hit.load(Ordering::Relaxed) && !(side == Side::Source && ends.source.is_none()) {
            let answered = kind == Kind::Prepared && matches!(ends.source, Some(Outcome::Indeterminate(_)));
            let stays = matches!(ends.source, Some(Outcome::Resumed(_)));
            assert!(stays || answered, "{case}: {:?}", ends.source);
        }
    });
}

#[test]
fn every_task_may_fail() {
    let mut cases = Vec::new();
    for settings in [over(2, MemoryTransfer::Copy), over(1, MemoryTransfer::LocalHandOver)] {
        cases.extend(Task::ALL.into_iter().map(|task| (vec![task], settings.clone())));
        cases.extend(Task::ALL.into_iter().map(|task| (vec![task, Task::Reclaim], settings.clone())));
    }
    in_parallel(&cases, |(failing, settings)| {
        let (world, plan) = (World::new(failing), Plan::new(None, Fault::Lost, SILENCE));
        let ends = run_case(&world, &plan, settings, &());
        let case = format!("{failing:?}, {:?}", settings.memory);
        let unlogged = settings.memory == MemoryTransfer::LocalHandOver;
        check(&world, &plan, &ends, false, &case);
        let source = ends.source.unwrap();
        let stopped = failing.iter().any(|task| match task {
            Task::Offer | Task::StartDirtyLog | Task::TakeDirty | Task::Flush | Task::Accept | Task::Reclaim => false,
            Task::Park | Task::Release | Task::Prepare | Task::Run => true,
        });
        match source {
            Outcome::Migrated(_) if unlogged && matches!(failing[0], Task::StartDirtyLog | Task::TakeDirty) => {}
            Outcome::Migrated(_) => assert_eq!(failing[0], Task::Reclaim, "{case}"),
            Outcome::Paused { cause, reclaim } => {
                assert!(stopped && failing.contains(&Task::Reclaim), "{case}");
                assert!(cause.to_string().contains(&format!("{:?} fails", failing[0])), "{case}: {cause}");
                assert_eq!(reclaim.message(), "Reclaim fails", "{case}");
            }
            Outcome::Resumed(_) => assert!(!stopped || !failing.contains(&Task::Reclaim), "{case}"),
            Outcome::Indeterminate(error) => panic!("{case}: {error}"),
        }
    });
}

#[test]
fn a_store_decides_and_its_answers_can_be_late_or_missing() {
    let mut cases = Vec::new();
    for (store, memory) in
        ["applies", "refuses", "gone"].into_iter().flat_map(|store| MEMORY.map(|memory| (store, memory)))
    {
        cases.push((store, memory, None));
        for kind in [Kind::Prepared, Kind::Commit, Kind::Committed] {
            let side = if kind == Kind::Commit { Side::Source } else { Side::Target };
            cases.extend(Fault::ALL.into_iter().map(|fault| (store, memory, Some((side, kind, fault)))));
        }
    }
    in_parallel(&cases, |&(name, memory, at)| {
        let store = Store { refuses: name == "refuses", gone: name == "gone", ..Store::default() };
        let fault = at.map_or(Fault::Lost, |(_, _, fault)| fault);
        let plan = Plan::new(at.map(|(side, kind, _)| (side, kind, 0)), fault, SILENCE * 2);
        let world = World::new(&[]);
        let ends = run_case(&world, &plan, &over(1, memory), &store);
        let case = format!("{at:?}, the store {name}, {memory:?}");
        check(&world, &plan, &ends, true, &case);
        match (name, &ends.source) {
            ("refuses", Some(Outcome::Resumed(_))) | (_, None) => {}
            ("refuses", other) => panic!("{case}: {other:?}"),
            ("gone", Some(Outcome::Migrated(_))) => panic!("{case}: without a decision"),
            ("applies", Some(Outcome::Resumed(_))) => {
                assert_eq!(*lock(&store.applied), None, "{case}: the target is the owner");
            }
            _ => {}
        }
        // With the commit in the store, a target that lost the connection runs.
        if at == Some((Side::Source, Kind::Commit, Fault::CutBefore)) && name == "applies" {
            assert!(matches!(ends.target, Some(Ok(()))), "{case}");
            assert!(matches!(ends.source, Some(Outcome::Indeterminate(_))), "{case}");
        }
    });
}

#[test]
fn a_lost_answer_to_the_commit_is_indeterminate_and_an_abort_in_its_place_is_not() {
    for (fault, kind, side) in [
        (Fault::CutBefore, Kind::Committed, Side::Target),
        (Fault::CutWithin, Kind::Committed, Side::Target),
        (Fault::Late, Kind::Committed, Side::Target),
        (Fault::Lost, Kind::Committed, Side::Target),
    ] {
        let (world, plan) = (World::new(&[]), Plan::new(Some((side, kind, 0)), fault, SILENCE * 2));
        let ends = run_case(&world, &plan, &over(1, MemoryTransfer::Copy), &());
        assert!(matches!(ends.source, Some(Outcome::Indeterminate(_))), "{fault:?} {kind}: {:?}", ends.source);
        assert!(matches!(ends.target, Some(Ok(()))), "{fault:?} {kind}");
    }
    let (world, plan) = (World::new(&[Task::Run]), Plan::new(None, Fault::Lost, SILENCE));
    let ends = run_case(&world, &plan, &over(1, MemoryTransfer::Copy), &());
    let Some(Outcome::Resumed(error)) = ends.source else { panic!("{:?}", ends.source) };
    assert!(error.message().contains("Run fails"), "{error}");
    assert_eq!(world.running(), Some(Side::Source));
}

#[test]
fn the_reason_of_a_failed_target_reaches_the_source() {
    let (world, plan) = (World::new(&[Task::Prepare]), Plan::new(None, Fault::Lost, SILENCE));
    let ends = run_case(&world, &plan, &over(2, MemoryTransfer::Copy), &());
    let Some(Outcome::Resumed(error)) = ends.source else { panic!("{:?}", ends.source) };
    assert_eq!(error.kind(), ErrorKind::PeerFailed);
    assert!(error.to_string().contains("Prepare fails"), "{error}");
    let _: Error = ends.target.unwrap().unwrap_err();
}
