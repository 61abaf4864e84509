//! Migrations that succeed, are refused, or are cancelled.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::yield_now;

use super::*;
use crate::ErrorKind;
use crate::config::ByteSize;
use crate::migrate::source::check;
use crate::migrate::testing::Side;
use crate::migrate::{AtLimit, MigrationPhase, MigrationReport};
use crate::sync::{Mutex, lock};

#[test]
fn every_page_arrives_over_any_number_of_connections() {
    for connections in [1, 2, 5, 16] {
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 40);
        let (outcome, target) = run_both(&world, &mut source, &settings(connections, PATIENCE), &());
        assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
        target.unwrap();
        assert_eq!((world.running(), world.locked()), (Some(Side::Target), Some(Side::Target)));
        assert!(source.is_clean());
    }
}

#[test]
fn every_page_arrives_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = |_| (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
    let (here, there): (Vec<_>, Vec<_>) = (0..3).map(pair).unzip();
    let (here, there) = (Sockets::new(here).unwrap(), Sockets::new(there).unwrap());
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 40);
    let (outcome, target) = run_over(&world, &mut source, (Box::new(here), &there), &settings(3, PATIENCE), &());
    assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
    target.unwrap();
}

#[test]
fn a_guest_that_writes_all_the_time_arrives_exactly() {
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 0);
    let guest = Arc::clone(&source.guest);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !guest.ended.load(Ordering::Relaxed) {
                guest.write(1);
                yield_now();
            }
        });
        // A low target, so that there are several rounds.
        let settings = settings(3, PATIENCE).downtime(Duration::from_millis(4));
        let (outcome, target) = run_both(&world, &mut source, &settings, &());
        guest.ended.store(true, Ordering::Relaxed);
        assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
        target.unwrap();
    });
}

#[test]
fn all_reasons_of_a_refusal_arrive_at_once() {
    let world = World::new(&[Task::Accept]);
    let mut source = FakeSource::new(&world, 0);
    let (outcome, target) = run_both(&world, &mut source, &settings(1, PATIENCE), &());
    let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.kind(), ErrorKind::MigrationRefused);
    assert!(error.message().contains("disk 'root' is not here; no bridge 'xenbr0'"), "{error}");
    assert_eq!(target.unwrap_err().kind(), ErrorKind::MigrationRefused);
    assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
}

#[test]
fn a_target_that_was_only_asked_answers_and_takes_the_vm_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move |limit| TcpStream::connect_timeout(&address, limit);
    let (good, settings) = (World::new(&[]), settings(2, PATIENCE));
    let mut source = FakeSource::new(&good, 0);
    std::thread::scope(|scope| {
        let target = scope.spawn(|| run_target(&good, &listener, PATIENCE, &()).map(drop));
        for _ in 0..2 {
            check(&mut source, &connect, &settings, &()).unwrap();
            assert_eq!((good.running(), good.locked()), (Some(Side::Source), Some(Side::Source)));
        }
        let outcome = migrate(&mut source, &connect, &settings, &(), &());
        assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
        target.join().unwrap().unwrap();
    });
    let bad = World::new(&[Task::Accept]);
    std::thread::scope(|scope| {
        let target = scope.spawn(|| run_target(&bad, &listener, PATIENCE, &()).map(drop));
        let mut source = FakeSource::new(&bad, 0);
        let error = check(&mut source, &connect, &settings, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MigrationRefused);
        assert!(error.message().contains("disk 'root' is not here; no bridge 'xenbr0'"), "{error}");
        let outcome = migrate(&mut source, &connect, &settings, &(), &());
        assert!(matches!(outcome, Outcome::Resumed(_)), "{outcome:?}");
        assert_eq!(target.join().unwrap().unwrap_err().kind(), ErrorKind::MigrationRefused);
    });
}

/// Cancels in one phase.
pub(super) struct CancelIn(MigrationPhase, AtomicBool);

impl CancelIn {
    pub(super) fn new(phase: MigrationPhase) -> Self {
        Self(phase, AtomicBool::new(false))
    }
}

impl MigrationObserver for CancelIn {
    fn report(&self, report: &MigrationReport) {
        self.1.fetch_or(report.phase == self.0, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

#[test]
fn a_migration_can_be_cancelled_until_the_commit() {
    use MigrationPhase as Phase;

    for phase in [Phase::Running, Phase::Parked, Phase::Released, Phase::Deciding] {
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 5);
        let observer = CancelIn::new(phase);
        let (outcome, target) = run_both(&world, &mut source, &settings(2, PATIENCE), &observer);
        let Outcome::Resumed(error) = outcome else { panic!("{phase:?}: {outcome:?}") };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase:?}");
        let error = target.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PeerFailed, "{phase:?}: {error}");
        assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)), "{phase:?}");
        assert!(source.is_clean(), "{phase:?}");
    }
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 5);
    let observer = CancelIn::new(Phase::Committing);
    let (outcome, target) = run_both(&world, &mut source, &settings(2, PATIENCE), &observer);
    assert!(matches!(outcome, Outcome::Migrated(_)) && target.is_ok(), "it is too late: {outcome:?}");
}

/// Records the phases and changes the settings once.
#[derive(Default)]
struct Steers {
    phases: Mutex<Vec<MigrationPhase>>,
    asked: AtomicU32,
}

impl MigrationObserver for Steers {
    fn report(&self, report: &MigrationReport) {
        let phases = &mut lock(&self.phases);
        if phases.last() != Some(&report.phase) {
            phases.push(report.phase);
        }
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn settings(&self) -> Option<Migration> {
        // Without this, a byte per second would take days.
        (self.asked.fetch_add(1, Ordering::Relaxed) == 1).then(|| Migration::default().connections(9))
    }
}

#[test]
fn phases_are_reported_and_settings_change_on_the_way() {
    use MigrationPhase as Phase;

    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 5);
    let observer = Steers::default();
    let slow = settings(2, PATIENCE).bandwidth(ByteSize::new(1));
    let (outcome, target) = run_both(&world, &mut source, &slow, &observer);
    let Outcome::Migrated(summary) = outcome else { panic!("{outcome:?}") };
    target.unwrap();
    let expected = [Phase::Running, Phase::Parked, Phase::Released, Phase::Deciding, Phase::Committing];
    assert_eq!(*lock(&observer.phases), expected);
    assert_eq!(summary.report.phase, Phase::Committing);
    assert!(summary.report.zero_pages > 900 && summary.report.bytes > 0, "{summary:?}");
    assert!(summary.downtime.total() <= summary.report.elapsed + summary.downtime.resume, "{summary:?}");
}

#[test]
fn a_guest_that_writes_too_fast_is_throttled_and_the_time_limit_ends_it() {
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 4000);
    let settings =
        settings(1, PATIENCE).downtime(Duration::ZERO).time_limit(Duration::from_millis(600), AtLimit::Abort);
    let (outcome, target) = run_both(&world, &mut source, &settings, &());
    let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(target.is_err());
    let throttled = lock(&source.throttled).clone();
    assert_eq!((&throttled[..2], throttled.last()), ([20, 30].as_slice(), Some(&0)));

    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 4000);
    let (outcome, target) =
        run_both(&world, &mut source, &settings.time_limit(Duration::from_millis(600), AtLimit::Pause), &());
    assert!(matches!(outcome, Outcome::Migrated(_)) && target.is_ok(), "{outcome:?}");
}

#[test]
fn the_bandwidth_of_each_connection_is_limited() {
    let world = World::new(&[]);
    let mut source = FakeSource::new(&world, 0);
    // The guest has about 60 pages that are not zero, and a burst is a tenth of a second's worth.
    let rate = 400_000;
    let begin = std::time::Instant::now();
    let (outcome, target) = run_both(&world, &mut source, &settings(1, PATIENCE).bandwidth(ByteSize::new(rate)), &());
    let Outcome::Migrated(summary) = outcome else { panic!("{outcome:?}") };
    target.unwrap();
    let least = Duration::from_secs_f64((summary.report.bytes as f64 - 0.2 * rate as f64) / rate as f64);
    assert!(begin.elapsed() >= least.min(Duration::from_secs(2)), "{:?}, {least:?}", begin.elapsed());
    assert!(least > Duration::from_millis(100), "{least:?}: too little to measure");
}
