//! A VM that attacks its devices. When it has crashed itself, a new one with another seed replaces it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_core::config::{Boot, Nic, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::host::Host;
use xvirt_core::vm::{PowerState, Vm};

use crate::honest::{MEMORY, with_disks};
use crate::lines::Lines;

/// A guest that is silent for this long has stopped attacking, even if many share few CPUs.
const SILENCE: Duration = Duration::from_secs(60);
/// One CPU attacks, and one changes the devices' input meanwhile.
pub(crate) const CPUS: u32 = 2;
const ROUNDS_PER_LINE: u64 = 1;

pub(crate) struct Hostile {
    name: String,
    folder: PathBuf,
    network: bool,
    seed: u64,
    run: Option<Run>,
    /// Completed rounds of attacks.
    pub(crate) rounds: u64,
    /// The number of replaced VMs.
    pub(crate) replaced: u64,
}

struct Run {
    vm: Vm,
    lines: Lines,
    heard: Instant,
}

impl Hostile {
    pub(crate) fn new(folder: &Path, number: u32, seed: u64, network: bool) -> Self {
        let (name, folder) = (format!("hostile-{number}"), folder.to_owned());
        Self { name, folder, network, seed, run: None, rounds: 0, replaced: 0 }
    }

    /// Starts it, or counts its progress and replaces it when it has ended.
    pub(crate) fn look(&mut self, host: &Host) -> Result<()> {
        let Some(run) = &mut self.run else {
            self.run = Some(self.start(host)?);
            return Ok(());
        };
        let rounds = run.lines.take().iter().filter(|line| line.contains("hostile: round")).count() as u64;
        self.rounds += rounds * ROUNDS_PER_LINE;
        if rounds > 0 {
            run.heard = Instant::now();
        }
        if run.vm.power_state() == PowerState::Running && run.heard.elapsed() < SILENCE {
            return Ok(());
        }
        self.replaced += 1;
        self.seed += 1 << 32;
        self.run = None;
        self.run = Some(self.start(host)?);
        Ok(())
    }

    fn start(&self, host: &Host) -> Result<Run> {
        let line = CommandLine::new([Mode::Smp, Mode::Hostile]).seed(self.seed).every(ROUNDS_PER_LINE);
        let boot = Boot::kernel(demo::kernel()).command_line(line.to_string());
        let config = VmConfig::new(format!("{}-{:x}", self.name, self.seed)).vcpus(CPUS).memory(MEMORY).boot(boot);
        let (mut config, _) = with_disks(config, &self.folder)?;
        if self.network {
            config = config.nic(Nic::new_tap());
        }
        let vm = config.build(host)?;
        vm.start()?;
        Ok(Run { lines: Lines::new(vm.console().reader()), vm, heard: Instant::now() })
    }
}
