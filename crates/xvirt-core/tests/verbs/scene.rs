//! The VMs, and the threads that act on them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use xvirt_testing::process::Taken;

use crate::process;
use crate::random::Random;
use crate::subject::{Bench, Subject};
use crate::{asking, devices, looking, power, quiet, talking};

const VMS: usize = 10;
const THREADS: usize = 8;
/// The interval of quiet phases, in which everything is checked.
const ROUND: Duration = Duration::from_secs(2);
/// All VMs are also halted after each so many phases.
const HALT_EVERY: usize = 3;

/// The whole test.
#[derive(Debug)]
pub struct Scene {
    bench: Arc<Bench>,
    seed: u64,
    subjects: Vec<Mutex<Arc<Subject>>>,
    barrier: Barrier,
    over: AtomicBool,
    /// The resources of the process while all VMs are halted.
    empty: Mutex<Option<Taken>>,
}

impl Scene {
    pub fn new(bench: &Arc<Bench>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut build = |number| Mutex::new(Arc::new(Subject::build(bench, number, 0, &mut random).unwrap()));
        Self {
            bench: Arc::clone(bench),
            seed,
            subjects: (0..VMS).map(&mut build).collect(),
            barrier: Barrier::new(THREADS),
            over: AtomicBool::new(false),
            empty: Mutex::default(),
        }
    }

    /// Lets the threads act for this long.
    pub fn run(&self, duration: Duration) {
        let end = Instant::now() + duration;
        thread::scope(|scope| {
            thread::Builder::new()
                .name("guard".into())
                .spawn_scoped(scope, || self.bench.watch.guard(self.seed))
                .unwrap();
            let actors: Vec<_> = (0..THREADS)
                .map(|number| {
                    let name = format!("actor{number}");
                    thread::Builder::new().name(name).spawn_scoped(scope, move || self.act(number, end)).unwrap()
                })
                .collect();
            actors.into_iter().for_each(|actor| actor.join().unwrap());
            self.bench.watch.end();
        });
    }

    fn act(&self, number: usize, end: Instant) {
        // The VM's threads inherit the signal mask of the thread that starts it.
        if number.is_multiple_of(2) {
            process::block_signals();
        }
        let mut random = Random::new(self.seed.wrapping_add(1 + number as u64));
        let mut round = 0;
        // The first check is of VMs that were never started.
        while self.rest(round, end) {
            let until = Instant::now() + ROUND;
            while Instant::now() < until && !self.bench.findings.any() {
                let act = catch_unwind(AssertUnwindSafe(|| self.act_once(&mut random)));
                if act.is_err() {
                    self.bench.findings.report("a call panicked".into());
                }
            }
            round += 1;
        }
    }

    /// All threads meet, and one of them checks; returns whether to continue.
    fn rest(&self, round: usize, end: Instant) -> bool {
        if self.barrier.wait().is_leader() {
            self.bench.panics.arm(false);
            let over = self.bench.findings.any() || Instant::now() >= end;
            if !self.bench.findings.any() {
                let check = catch_unwind(AssertUnwindSafe(|| self.check(over || round.is_multiple_of(HALT_EVERY))));
                if check.is_err() {
                    self.bench.findings.report("a check panicked".into());
                }
            }
            self.bench.panics.arm(true);
            self.over.store(over || self.bench.findings.any(), Ordering::Relaxed);
        }
        self.barrier.wait();
        !self.over.load(Ordering::Relaxed)
    }

    fn check(&self, halt: bool) {
        let subjects: Vec<_> = self.subjects.iter().map(|subject| Arc::clone(&subject.lock().unwrap())).collect();
        quiet::check(&subjects);
        if halt {
            quiet::check_halted(&subjects, &mut self.empty.lock().unwrap());
        }
    }

    fn act_once(&self, random: &mut Random) {
        let number = random.below(VMS);
        if random.below(200) == 0 {
            return self.rebuild(number, random);
        }
        let subject = Arc::clone(&self.subjects[number].lock().unwrap());
        match random.below(10) {
            0..5 => power::act(&subject, random),
            5 | 6 => devices::act(&subject, random),
            7 => talking::act(&subject, random),
            8 => asking::act(&subject, random),
            _ => looking::act(&subject, random),
        }
    }

    /// Replaces a VM, which is dropped once nothing uses it any more.
    fn rebuild(&self, number: usize, random: &mut Random) {
        let (built, took) = self
            .bench
            .watch
            .during("another", "build", || Subject::build(&self.bench, number, 1 + random.below(1000), random));
        self.bench.findings.count("build", built.as_ref().err().map(xvirt_core::Error::kind), took);
        match built {
            Ok(subject) => {
                let old = std::mem::replace(&mut *self.subjects[number].lock().unwrap(), Arc::new(subject));
                drop(old);
            }
            Err(error) => self.bench.findings.report(format!("a VM cannot be built: {error}")),
        }
    }
}
