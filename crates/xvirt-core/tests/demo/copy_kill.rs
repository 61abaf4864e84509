//! A process is killed while it makes templates with memory, instances, forks and checkpoints of a running VM:
//! afterwards each of them is there, whole, or not at all, and the VM has lost nothing.

use std::time::Duration;

use xvirt_core::host::Host;
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::snapshot::NewSnapshot;
use xvirt_testing::random::Random;

use crate::host;
use crate::victim::{self, Moment, killed, say};
use crate::workload::{self, Progress, Workload};

/// How often the process is killed at random, unless `XVIRT_COPY_KILLS` says otherwise.
const KILLS: u64 = 8;
const VERBS: [&str; 8] = ["seal", "instantiate", "fork", "checkpoint", "increment", "increment", "flatten", "remove"];
const FORKS: usize = 2;
const MOST_CHECKPOINTS: usize = 4;

/// The VM of which all others are copies.
fn original(repository: &Repository) -> StoredVm {
    repository.vms().unwrap().into_iter().find(|vm| !is_copy(vm)).unwrap()
}

fn is_copy(vm: &StoredVm) -> bool {
    ["instance", "fork"].iter().any(|name| vm.name().starts_with(name))
}

/// Starts it, or lets it go on.
fn run(stored: &StoredVm, host: &Host) -> Workload {
    let (suspended, vm) = (stored.is_suspended(), stored.build(host).unwrap());
    if suspended {
        let mut guest = Workload::taken_back(vm, Progress::default());
        guest.vm.resume(&()).unwrap();
        guest.goes_on();
        return guest;
    }
    let mut guest = Workload::new(vm);
    guest.vm.start().unwrap();
    guest.goes_on();
    guest
}

/// Works for ever, in the process that is killed.
#[test]
fn obeys() {
    let Some((folder, seed)) = victim::order() else { return };
    let (host, mut random) = (Host::probe().unwrap(), Random::new(seed));
    let repository = Repository::open(folder.join("repository")).unwrap();
    let mut guest = run(&original(&repository), &host);
    loop {
        guest.goes_on();
        let (templates, copies) = (repository.templates().unwrap(), repository.vms().unwrap());
        let checkpoints = repository.all_snapshots().unwrap();
        let verb = match *random.pick(&VERBS) {
            "instantiate" if templates.is_empty() => "seal",
            "flatten" if checkpoints.is_empty() => "checkpoint",
            "checkpoint" | "increment" if checkpoints.len() >= MOST_CHECKPOINTS => "remove",
            verb => verb,
        };
        say(&format!("begin {verb} {}", guest.progress.round()));
        match verb {
            "seal" => drop(repository.seal_hot("sealed", &guest.vm, &()).unwrap()),
            "instantiate" => {
                let instance = repository.instantiate(random.pick(&templates), "instance").unwrap();
                drop(run(&instance, &host));
            }
            "fork" => {
                let forks = repository.fork(&guest.vm, FORKS, "fork", &()).unwrap();
                drop(run(random.pick(&forks), &host));
            }
            "checkpoint" | "increment" => {
                let new = NewSnapshot::new("checkpoint").incremental(verb == "increment");
                repository.checkpoint(&guest.vm, new, &()).unwrap();
            }
            "flatten" => repository.flatten_checkpoint(random.pick(&checkpoints), &()).unwrap(),
            _ => {
                for copy in copies.iter().filter(|vm| is_copy(vm)) {
                    repository.remove_vm(copy.uuid()).unwrap();
                }
                templates.iter().for_each(|template| repository.remove_template(template).unwrap());
                if !checkpoints.is_empty() {
                    repository.remove_snapshot(random.pick(&checkpoints)).unwrap();
                }
                repository.merge_removed(&()).unwrap();
            }
        }
        say(&format!("done {verb} {}", guest.progress.round()));
    }
}

fn sound(repository: &Repository, what: &str) {
    for room in ["staging", "trash"] {
        let left: Vec<_> = repository.folder().join(room).read_dir().unwrap().collect();
        assert!(left.is_empty(), "{what}: {room} has {left:?}");
    }
    assert!(!repository.folder().join("change.json").exists(), "{what}");
    assert_eq!(repository.check(&()).unwrap().problems, [], "{what}");
}

/// Everything that is listed works.
fn require_whole(repository: &Repository, host: &Host, what: &str) {
    for template in repository.templates().unwrap() {
        assert!(template.has_memory(), "{what}");
        repository.instantiate(&template, "instance of the last").unwrap();
    }
    for copy in repository.vms().unwrap().iter().filter(|vm| is_copy(vm)) {
        drop(run(copy, host));
        repository.remove_vm(copy.uuid()).unwrap();
    }
    for template in repository.templates().unwrap() {
        repository.remove_template(&template).unwrap();
    }
    let checkpoints = repository.all_snapshots().unwrap();
    let (saved, listed) = (saved_states(repository), checkpoints.len());
    assert_eq!(saved, listed, "{what}: saved states without a checkpoint");
    for checkpoint in &checkpoints {
        assert!(checkpoint.has_memory(), "{what}");
        let copy = repository.clone_vm(checkpoint, "fork of a checkpoint", &()).unwrap();
        drop(run(&copy, host));
        repository.remove_vm(copy.uuid()).unwrap();
    }
    for checkpoint in checkpoints.iter().skip(MOST_CHECKPOINTS - 1) {
        repository.remove_snapshot(checkpoint).unwrap();
    }
}

fn saved_states(repository: &Repository) -> usize {
    let folders = repository.folder().join("snapshots").read_dir().unwrap();
    folders.filter(|folder| folder.as_ref().unwrap().path().join("saved-state").exists()).count()
}

#[test]
fn a_killed_process_leaves_whole_copies_or_none() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = workload::create(folder.path(), None);
    let kills = std::env::var("XVIRT_COPY_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::new(kills);
    for seed in 1..=kills {
        let (times, delay) = (1 + random.below_u64(4), Duration::from_micros(random.below_u64(150_000)));
        let last = killed("copy_kill::obeys", folder.path(), seed, &Moment::After { word: "begin", times, delay });
        let what = format!("kill {seed} after '{last}'");
        let repository = Repository::open(repository.folder()).unwrap();
        sound(&repository, &what);
        require_whole(&repository, &host, &what);
        let least: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
        let guest = run(&original(&repository), &host);
        assert!(guest.progress.boot_round() >= least, "{what}: flushed data is lost, {:?}", guest.progress);
        drop(guest);
        if let checkpoints @ [_, ..] = &repository.all_snapshots().unwrap()[..] {
            drop(run(&repository.revert(random.pick(checkpoints)).unwrap(), &host));
        }
        sound(&repository, &what);
        println!("{what}: fine");
    }
}
