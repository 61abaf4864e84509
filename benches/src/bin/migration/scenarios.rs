//! What is measured: guests, and how they are moved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::guest::Guest;
use xvirt_core::config::ByteSize;
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::migrate::{MemoryTransfer, Migration};

use crate::contender::{Contender, Moved};
use crate::tls::write_certificate;
use crate::xvirt::Xvirt;
use crate::{cloud_hypervisor, qemu, raw};

/// The downtime that is asked for an idle guest.
pub(crate) const IDLE_DOWNTIME: Duration = Duration::from_millis(5);
/// The limit of each capped connection, per second.
const CAP: u64 = 200_000_000;
/// The memory of the guest with which peers are tried.
const SMALL: ByteSize = ByteSize::mib(64);
/// The ticks per second.
const HERTZ: u32 = 20;
const PAGE: u64 = 4096;
/// The pages that a guest uses that is mostly zeroes.
const FEW: u64 = 256;

/// A guest, and how it is moved.
pub(crate) struct Scenario {
    pub(crate) guest: Guest,
    pub(crate) settings: Migration,
    /// The contenders and what was measured of them. The first one is xvirt.
    pub(crate) measured: Vec<(Box<dyn Contender>, Vec<Moved>)>,
}

pub(crate) struct Scenarios {
    /// An idle guest whose memory is full.
    pub(crate) full: Scenario,
    /// The same over four connections.
    pub(crate) full_by_four: Scenario,
    /// The same with limited bandwidth, over one connection and over four.
    pub(crate) capped: Scenario,
    pub(crate) capped_by_four: Scenario,
    /// A guest that writes its memory, over a connection that is twice as fast.
    pub(crate) writing: Scenario,
    /// A large idle guest that uses little memory, and one that uses all.
    pub(crate) zero: Scenario,
    pub(crate) large: Scenario,
    /// The first over TLS.
    pub(crate) tls: Scenario,
    /// Local hand-overs of idle guests.
    pub(crate) local_hand_over: Scenario,
    pub(crate) local_hand_over_large: Scenario,
    /// The times of a raw socket for the bytes of the first, and of rustls.
    pub(crate) raw: Vec<Duration>,
    pub(crate) rustls: Vec<Duration>,
    /// Where the certificate for TLS is.
    folder: PathBuf,
}

impl Scenarios {
    pub(crate) fn new(memory: ByteSize, large: ByteSize, folder: &Path) -> Result<Self> {
        let new = |memory: ByteSize, pages: u64, line: CommandLine, settings: Migration| -> Result<Scenario> {
            let measured = vec![(Box::new(Xvirt::Tcp) as Box<dyn Contender>, Vec::new())];
            Ok(Scenario { guest: Guest::new(memory, pages, line, folder)?, settings, measured })
        };
        let pages = Guest::pages(memory);
        let one = Migration::default().downtime(IDLE_DOWNTIME);
        let four = one.clone().connections(4);
        let cap = ByteSize::new(CAP);
        let mut all = Self {
            full: new(memory, pages, idle(), one.clone())?,
            full_by_four: new(memory, pages, idle(), four.clone())?,
            capped: new(memory, pages, idle(), one.clone().bandwidth(cap))?,
            capped_by_four: new(memory, pages, idle(), four.bandwidth(cap))?,
            writing: new(memory, pages, writing(), Migration::default().bandwidth(cap))?,
            zero: new(large, FEW, idle(), one.clone())?,
            large: new(large, FEW, idle(), one.clone())?,
            tls: new(memory, pages, idle(), one.clone())?,
            local_hand_over: new(memory, pages, idle(), one.clone().memory(MemoryTransfer::LocalHandOver))?,
            local_hand_over_large: new(large, FEW, idle(), one.memory(MemoryTransfer::LocalHandOver))?,
            raw: Vec::new(),
            rustls: Vec::new(),
            folder: folder.to_owned(),
        };
        for scenario in [&mut all.large, &mut all.local_hand_over_large] {
            scenario.guest.fill();
        }
        write_certificate(folder)?;
        all.tls.measured = vec![(Box::new(Xvirt::Tls(folder.to_owned())), Vec::new())];
        for scenario in [&mut all.local_hand_over, &mut all.local_hand_over_large] {
            scenario.measured = vec![(Box::new(Xvirt::LocalHandOver(folder.to_owned())), Vec::new())];
        }
        let small = new(SMALL, FEW, idle(), Migration::default())?;
        if small.works("qemu", qemu::find) {
            for scenario in
                [&mut all.full, &mut all.full_by_four, &mut all.capped_by_four, &mut all.writing, &mut all.zero]
            {
                scenario.measured.push((qemu::find()?, Vec::new()));
            }
        }
        if small.works("cloud-hypervisor", cloud_hypervisor::find) {
            for scenario in [&mut all.full, &mut all.full_by_four, &mut all.zero] {
                scenario.measured.push((cloud_hypervisor::find()?, Vec::new()));
            }
        }
        Ok(all)
    }

    /// Measures everything once.
    pub(crate) fn run(&mut self) -> Result<()> {
        self.full.run()?;
        self.raw.push(raw::send(self.full.guest.used, None)?);
        self.rustls.push(raw::send(self.full.guest.used, Some(&self.folder))?);
        let Self {
            full_by_four,
            capped,
            capped_by_four,
            writing,
            zero,
            large,
            tls,
            local_hand_over,
            local_hand_over_large,
            ..
        } = self;
        for scenario in
            [tls, full_by_four, capped, capped_by_four, writing, zero, large, local_hand_over, local_hand_over_large]
        {
            scenario.run()?;
        }
        Ok(())
    }
}

impl Scenario {
    /// Whether a peer can do it. If not, prints why.
    fn works(&self, name: &str, find: fn() -> Result<Box<dyn Contender>>) -> bool {
        let tried = find().and_then(|mut peer| peer.migrate(&self.guest, &self.settings));
        tried.inspect_err(|reason| println!("{name}: not measured: {reason}")).is_ok()
    }

    fn run(&mut self) -> Result<()> {
        for (contender, measured) in &mut self.measured {
            let moved = contender.migrate(&self.guest, &self.settings);
            measured.push(moved.map_err(|error| format!("{}: {error}", contender.name()))?);
        }
        Ok(())
    }
}

/// A guest that fills its pages once.
fn idle() -> CommandLine {
    ticking().passes(1)
}

/// A guest that goes on to write its pages, half as fast as a capped connection.
fn writing() -> CommandLine {
    ticking().pages_per_tick(CAP / 2 / PAGE / u64::from(HERTZ))
}

/// A guest that shows with each tick that it runs.
fn ticking() -> CommandLine {
    CommandLine::new([Mode::Counter, Mode::Timer]).hertz(HERTZ).ticks(0)
}
