//! The run: all VMs start, run for a while without the hostile ones for comparison, then with them, and are evaluated.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_benches::process::{self, Taken};
use xvirt_core::host::Host;

use crate::Options;
use crate::honest::Honest;
use crate::hostile::{self, Hostile};
use crate::ping::Pings;

/// The polling interval.
const LOOK: Duration = Duration::from_secs(1);
/// The interval of progress messages.
const TELL: Duration = Duration::from_secs(30);
/// The timeout for all guests to boot, on a machine where they wait for each other.
const START: Duration = Duration::from_secs(300);

pub(crate) fn run(options: &Options) -> Result<bool> {
    let host = Host::probe()?;
    host.require_kvm()?;
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let honest = options.vms.checked_sub(options.hostile).filter(|count| *count > 0);
    let honest = honest.ok_or("--hostile must leave some of --vms honest")?;
    let before = Taken::now()?;
    let network = !options.no_network;
    println!("{honest} honest and {} hostile VMs for {} minutes", options.hostile, options.minutes);

    let mut soak =
        Soak { host, honest: Vec::new(), hostile: Vec::new(), honest_threads: BTreeSet::new(), highest: before };
    for number in 0..honest {
        let seed = options.seed + u64::from(number);
        soak.honest.push(Honest::start(&soak.host, folder.path(), number, seed, network)?);
    }
    soak.come_up()?;
    soak.honest_threads = process::threads()?;
    let time = Duration::from_secs_f64(options.minutes * 60.0);
    for vm in &mut soak.honest {
        vm.ping(time)?;
    }
    let alone = soak.go_on("without hostile ones", time / 10)?;
    for number in 0..options.hostile {
        let seed = options.seed + (u64::from(number) << 16) + 1;
        soak.hostile.push(Hostile::new(folder.path(), number, seed, network));
    }
    let beside = soak.go_on("with hostile ones", time - time / 10)?;
    soak.account(&alone, &beside, before)
}

struct Soak {
    host: Host,
    honest: Vec<Honest>,
    hostile: Vec<Hostile>,
    /// The threads that do not belong to hostile VMs, once all honest ones are up.
    honest_threads: BTreeSet<u32>,
    highest: Taken,
}

/// The results of a phase.
struct Phase {
    time: Duration,
    bytes: u64,
    /// The CPU time of the honest and the hostile VMs.
    cpu: (Duration, Duration),
}

impl Soak {
    fn come_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !self.honest.iter().all(Honest::is_up) {
            if begun.elapsed() > START {
                return Err(format!("not all VMs came up within {START:?}").into());
            }
            std::thread::sleep(LOOK);
            self.look()?;
        }
        println!("all are up after {:.0?}", begun.elapsed());
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.honest.iter_mut().for_each(Honest::look);
        self.hostile.iter_mut().try_for_each(|vm| vm.look(&self.host))?;
        let now = Taken::now()?;
        self.highest = Taken {
            descriptors: self.highest.descriptors.max(now.descriptors),
            threads: self.highest.threads.max(now.threads),
            resident: self.highest.resident.max(now.resident),
        };
        Ok(())
    }

    /// The bytes written and verified by all VMs.
    fn bytes(&self) -> (u64, u64) {
        self.honest.iter().map(Honest::bytes).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn failures(&self) -> usize {
        self.honest.iter().map(|vm| vm.failures.len()).sum()
    }

    /// The CPU time of the honest VMs so far, and of the rest of this process.
    fn cpu(&self) -> Result<(Duration, Duration)> {
        let honest = process::cpu_time_of(&self.honest_threads)?;
        Ok((honest, process::cpu_time()?.saturating_sub(honest)))
    }

    fn go_on(&mut self, what: &str, time: Duration) -> Result<Phase> {
        let (begun, cpu, bytes) = (Instant::now(), self.cpu()?, self.bytes());
        let mut told = Instant::now();
        while begun.elapsed() < time {
            std::thread::sleep(LOOK);
            self.look()?;
            if told.elapsed() < TELL {
                continue;
            }
            told = Instant::now();
            let (written, verified) = self.bytes();
            let attacks: u64 = self.hostile.iter().map(|vm| vm.rounds).sum();
            println!(
                "{what}, {:.0?} of {time:.0?}: {} MiB written, {} MiB verified, {attacks} attacks, {} failures",
                begun.elapsed(),
                written >> 20,
                verified >> 20,
                self.failures()
            );
        }
        let (now, all) = (self.cpu()?, self.bytes());
        Ok(Phase {
            time: begun.elapsed(),
            bytes: all.0 + all.1 - bytes.0 - bytes.1,
            cpu: (now.0.saturating_sub(cpu.0), now.1.saturating_sub(cpu.1)),
        })
    }

    /// Stops everything and prints the results; returns whether all checks passed.
    fn account(mut self, alone: &Phase, beside: &Phase, before: Taken) -> Result<bool> {
        let attacks: u64 = self.hostile.iter().map(|vm| vm.rounds).sum();
        let replaced: u64 = self.hostile.iter().map(|vm| vm.replaced).sum();
        let counts = (self.honest.len() as f64, self.hostile.len() as f64);
        self.hostile.clear();
        let pings = finish(&mut self.honest)?;
        let (written, verified) = self.bytes();
        let failures: Vec<_> = self.honest.iter_mut().flat_map(|vm| vm.failures.drain(..)).collect();
        self.honest.clear();
        let after = Taken::now()?;
        println!("honest: {written} bytes written, {verified} read and compared, and both images of each");
        println!("network: {} frames sent to guests, {} back unharmed", pings.sent, pings.received);
        println!("hostile: {attacks} rounds of attacks, {replaced} VMs did for themselves and were replaced");
        for (what, phase) in [("without hostile ones", alone), ("with hostile ones", beside)] {
            let each = (phase.cpu.0.as_secs_f64() / counts.0, phase.cpu.1.as_secs_f64() / counts.1.max(1.0));
            println!(
                "{what}: {:.0} KiB/s; CPU time of an honest VM {:.1} s of {:.0}, of a hostile one with {} vCPUs {:.1} s",
                phase.bytes as f64 / 1024.0 / phase.time.as_secs_f64(),
                each.0,
                phase.time.as_secs_f64(),
                hostile::CPUS,
                each.1
            );
        }
        for (what, taken) in [("before", before), ("at most", self.highest), ("after", after)] {
            let Taken { descriptors, threads, resident } = taken;
            println!("{what}: {descriptors} descriptors, {threads} threads, {resident} KiB of memory");
        }
        failures.iter().for_each(|failure| println!("FAILED: {failure}"));
        let given_back = (after.descriptors, after.threads) == (before.descriptors, before.threads);
        if !given_back {
            println!("FAILED: descriptors or threads are left");
        }
        Ok(failures.is_empty() && given_back && verified > 0)
    }
}

/// Stops all at once, because each is slow while the others are busy.
fn finish(honest: &mut [Honest]) -> Result<Pings> {
    let all: Vec<_> = std::thread::scope(|scope| {
        let ending = honest.iter_mut().map(|vm| scope.spawn(move || vm.finish().map_err(|error| error.to_string())));
        let ending: Vec<_> = ending.collect();
        ending.into_iter().map(|thread| thread.join()).collect()
    });
    let mut sum = Pings::default();
    for one in all {
        let one = one.map_err(|_| "a thread that shut a VM down panicked")??;
        sum = Pings { sent: sum.sent + one.sent, received: sum.received + one.received };
    }
    Ok(sum)
}
