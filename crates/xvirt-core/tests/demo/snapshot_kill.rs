//! A process is killed while it suspends, resumes, takes snapshots of and reverts the VM of a repository: afterwards
//! the old or the new state is there, whole.

use std::fs;
use std::time::Duration;

use xvirt_core::ErrorKind;
use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::snapshot::NewSnapshot;
use xvirt_testing::random::Random;

use crate::host;
use crate::victim::{self, Moment, killed, say};
use crate::workload::{self, Progress, Workload};

/// How often the process is killed at random, unless `XVIRT_SNAPSHOT_KILLS` says otherwise.
const KILLS: u64 = 9;
const VERBS: [&str; 5] = ["snapshot", "checkpoint", "revert", "remove", "suspend"];
/// The process does all verbs in order if it gets this seed.
const IN_ORDER: u64 = 0;
const MOST_SNAPSHOTS: usize = 5;

/// The only VM of the repository.
fn stored(repository: &Repository) -> StoredVm {
    repository.vms().unwrap().pop().unwrap()
}

fn run(stored: &StoredVm, host: &Host) -> Workload {
    let (suspended, vm) = (stored.is_suspended(), stored.build(host).unwrap());
    if !suspended {
        let guest = Workload::new(vm);
        guest.vm.start().unwrap();
        return guest;
    }
    say("begin resume");
    let guest = Workload::taken_back(vm, Progress::default());
    guest.vm.resume(&()).unwrap();
    say("done resume");
    guest
}

/// What the killer compares: the number of snapshots, the guest's last round, and whether the VM is suspended.
fn report(repository: &Repository, round: u64) -> String {
    let stored = stored(repository);
    let count = repository.snapshots(stored.uuid()).unwrap().len();
    format!("{count} {round} {}", stored.is_suspended())
}

/// Works for ever, in the process that is killed.
#[test]
fn obeys() {
    let Some((folder, seed)) = victim::order() else { return };
    let (host, mut random) = (Host::probe().unwrap(), Random::new(seed));
    let repository = Repository::open(folder.join("repository")).unwrap();
    let uuid = stored(&repository).uuid();
    let mut guest = run(&stored(&repository), &host);
    for number in 0.. {
        guest.goes_on();
        let round = guest.progress.round();
        let snapshots = repository.snapshots(uuid).unwrap();
        let verb = match seed {
            IN_ORDER => VERBS[number % VERBS.len()],
            _ if snapshots.len() > MOST_SNAPSHOTS => "remove",
            _ => *random.pick(&VERBS),
        };
        if snapshots.is_empty() && ["revert", "remove"].contains(&verb) {
            continue;
        }
        let done = |round| say(&format!("done {verb} {}", report(&repository, round)));
        say(&format!("begin {verb} {}", report(&repository, round)));
        match verb {
            "snapshot" => drop(repository.snapshot(&guest.vm, "s", &()).unwrap()),
            "checkpoint" => {
                let new = NewSnapshot::new("c").incremental(number % 3 > 0);
                drop(repository.checkpoint(&guest.vm, new, &()).unwrap());
            }
            "remove" => {
                repository.remove_snapshot(random.pick(&snapshots)).unwrap();
                repository.merge_removed(&()).unwrap();
            }
            "suspend" => {
                repository.suspend(&guest.vm, &()).unwrap();
                done(round);
                guest = guest.moved_to(stored(&repository).build(&host).unwrap());
                say("begin resume");
                guest.vm.resume(&()).unwrap();
                say("done resume");
                continue;
            }
            _ => {
                drop(guest);
                let stored = repository.revert(random.pick(&snapshots)).unwrap();
                done(0);
                guest = run(&stored, &host);
                continue;
            }
        }
        done(round);
    }
}

/// What the process said last: what it did, and the state at that time.
struct Word {
    begun: bool,
    verb: String,
    /// The number of snapshots, the last round, and whether the VM was suspended.
    state: Option<(usize, u64, bool)>,
}

fn parse(text: &str) -> Word {
    let mut parts = text.split(' ');
    let (when, verb) = (parts.next().unwrap(), parts.next().unwrap_or_default().to_owned());
    let mut state = || Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
    Word { begun: when == "begin", verb, state: state() }
}

/// Whether the state of the repository may be that after this word.
fn require_old_or_new(word: &Word, repository: &Repository, what: &str) {
    let stored = stored(repository);
    let (count, suspended) = (repository.snapshots(stored.uuid()).unwrap().len(), stored.is_suspended());
    if word.verb == "resume" {
        assert!(word.begun || !suspended, "{what}: it is still suspended");
        return;
    }
    let (before, _, was_suspended) = word.state.unwrap();
    let may_be = match (word.begun, word.verb.as_str()) {
        (true, "snapshot" | "checkpoint") => before..=before + 1,
        (true, "remove") => before - 1..=before,
        _ => before..=before,
    };
    assert!(may_be.contains(&count), "{what}: {count} snapshots");
    let free = word.begun && ["suspend", "revert"].contains(&word.verb.as_str());
    assert!(free || suspended == was_suspended, "{what}: suspended is {suspended}");
}

/// The VM starts or resumes, and finds its memory and disks as they were.
fn require_running(word: &Word, repository: &Repository, host: &Host, what: &str) {
    let stored = stored(repository);
    let saved = stored.folder().join("saved-state");
    assert_eq!(saved.exists(), stored.is_suspended(), "{what}");
    if !stored.is_suspended() {
        let mut guest = run(&stored, host);
        guest.goes_on();
        // A revert may be complete.
        let least = word.state.filter(|_| word.verb != "revert").map_or(0, |(_, round, _)| round);
        assert!(guest.progress.boot_round() >= least, "{what}: flushed data is lost, {:?}", guest.progress);
        return;
    }
    let copy = saved.with_file_name("copy");
    fs::hard_link(&saved, &copy).unwrap();
    let second = stored.build(host).unwrap();
    let mut guest = run(&stored, host);
    guest.goes_on();
    drop(guest);
    // Not even with a copy of the file can it be resumed again.
    assert!(!saved.exists());
    fs::rename(copy, &saved).unwrap();
    let error = second.resume(&()).unwrap_err();
    assert!([ErrorKind::InvalidState, ErrorKind::NotFound].contains(&error.kind()), "{what}: {error}");
    fs::remove_file(saved).unwrap();
}

#[test]
fn a_killed_process_leaves_the_old_or_the_new_state() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = workload::create(folder.path(), None);
    let kills = std::env::var("XVIRT_SNAPSHOT_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(kills);
    let chosen = ["done snapshot", "done checkpoint", "done revert", "done remove", "done suspend", "done resume"];
    let mut moments: Vec<_> = chosen.map(|word| (IN_ORDER, Moment::At(word))).into();
    for seed in 1..=kills {
        let (times, delay) = (1 + random.below_u64(3), Duration::from_micros(random.below_u64(80_000)));
        moments.push((seed, Moment::After { word: "begin", times, delay }));
    }
    for (number, (seed, moment)) in moments.into_iter().enumerate() {
        let last = killed("snapshot_kill::obeys", folder.path(), seed, &moment);
        let (what, word) = (format!("kill {number} after '{last}'"), parse(&last));
        let repository = Repository::open(repository.folder()).unwrap();
        for room in ["staging", "trash"] {
            let left: Vec<_> = repository.folder().join(room).read_dir().unwrap().collect();
            assert!(left.is_empty(), "{what}: {room} has {left:?}");
        }
        assert!(!repository.folder().join("change.json").exists(), "{what}");
        assert_eq!(repository.check(&()).unwrap().problems, [], "{what}");
        let checkpoints = repository.all_snapshots().unwrap().into_iter().filter(|taken| taken.has_memory()).count();
        let folders = repository.folder().join("snapshots").read_dir().unwrap();
        let saved = folders.filter(|folder| folder.as_ref().unwrap().path().join("saved-state").exists()).count();
        assert_eq!(saved, checkpoints, "{what}: saved states without a checkpoint");
        require_old_or_new(&word, &repository, &what);
        require_running(&word, &repository, &host, &what);
        println!("{what}: fine");
    }
}
