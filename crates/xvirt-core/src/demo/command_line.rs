//! The guest's command line.

use std::fmt;
use std::net::Ipv4Addr;

/// One task of the guest. Tasks that end by themselves run first, in the order listed here, whatever their order on the
/// command line. Then come tasks that run until a given number or a stop command, and finally the power-off, reboot or
/// crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Say hello.
    Hello,
    /// Read some bytes from every entropy device.
    Rng,
    /// Print the generation ID.
    Generation,
    /// Write patterned blocks to every disk, flush, read them back and compare; read-only disks are only read.
    Blk,
    /// Verify the blocks that an earlier run of [`Mode::Blk`] with the same seed and number of blocks wrote.
    BlkVerify,
    /// Send every network frame back to its sender, endlessly or until [`CommandLine::frames`].
    Net,
    /// Echo the data of all stream sockets, endlessly; listens on ports 1000 to 1007.
    Vsock,
    /// Touch [`CommandLine::pages`] pages, and inflate the memory balloon to its target.
    Balloon,
    /// Start the watchdog without pinging it; if it has expired before, only report that.
    Watchdog,
    /// Keep a counter in every page of a range and check it in every pass, to detect lost, stale or swapped memory.
    Counter,
    /// Start the other CPUs; with [`Mode::Counter`] each takes its share of the pages.
    Smp,
    /// Count timer interrupts and report each.
    Timer,
    /// Write and compare blocks with a new pattern each round, endlessly or until [`CommandLine::rounds`].
    BlkLoad,
    /// Benchmark the first disk with requests as set by [`CommandLine::requests`], without checking data.
    BlkBench,
    /// Write blocks and compare reads with the last writes, in random order with occasional flushes, endlessly or until
    /// [`CommandLine::rounds`]. At the end, or when the power button is pressed, print a digest of each disk, which
    /// [`soak_digest`](super::soak_digest) verifies.
    Soak,
    /// Violate the protocol of every device, controlled by the seed, endlessly or until [`CommandLine::rounds`]; with
    /// [`Mode::Smp`] the other CPUs modify the devices' input meanwhile. Prints only on COM1.
    Hostile,
    /// Answer lines on COM1 and the virtio console: `ping`, `status`, `poweroff`, `reboot`, `crash`, `eject` with the
    /// number of a PCI slot, or anything else.
    Echo,
    /// Answer some commands of the QEMU guest agent, endlessly: syncs, `guest-ping`, `guest-info`, `guest-get-time`,
    /// `guest-set-time`, which prints the time, `guest-exec` of any program, which prints `hello` and exits with 3,
    /// `guest-exec-status`, `guest-shutdown`. Or misbehave as set by [`CommandLine::agent`]. Prints `agent: open` once.
    Agent,
    /// Set up disks and network cards that are plugged in, write and verify the disks, and send a frame; eject them on
    /// request. With [`Mode::BlkLoad`], plugged disks take part. Runs endlessly.
    HotPlug,
    /// At the end, power off with ACPI. Without an ending the guest halts and waits for the power button.
    PowerOff,
    /// At the end, reset the machine with the FADT's reset register.
    Reboot,
    /// At the end, triple-fault.
    Crash,
    /// At the end, report a kernel panic.
    Panic,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Hello => "hello",
            Mode::Rng => "rng",
            Mode::Generation => "generation",
            Mode::Blk => "blk",
            Mode::BlkVerify => "blkverify",
            Mode::Net => "net",
            Mode::Vsock => "vsock",
            Mode::Balloon => "balloon",
            Mode::Watchdog => "watchdog",
            Mode::Counter => "counter",
            Mode::Smp => "smp",
            Mode::Timer => "timer",
            Mode::BlkLoad => "blkload",
            Mode::BlkBench => "blkbench",
            Mode::Soak => "soak",
            Mode::Hostile => "hostile",
            Mode::Echo => "echo",
            Mode::Agent => "agent",
            Mode::HotPlug => "hotplug",
            Mode::PowerOff => "poweroff",
            Mode::Reboot => "reboot",
            Mode::Crash => "crash",
            Mode::Panic => "panic",
        }
    }
}

/// Builds the kernel command line; `to_string` gives the text to boot with.
///
/// ```
/// use xvirt_core::demo::{CommandLine, Mode};
///
/// let line = CommandLine::new([Mode::Blk, Mode::PowerOff]).seed(7).blocks(64);
/// assert_eq!(line.to_string(), "mode=blk,poweroff seed=7 blocks=64");
/// ```
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    modes: Vec<Mode>,
    options: Vec<(&'static str, String)>,
}

impl CommandLine {
    /// A command line with these tasks.
    pub fn new(modes: impl IntoIterator<Item = Mode>) -> CommandLine {
        CommandLine { modes: modes.into_iter().collect(), options: Vec::new() }
    }

    /// Disks: the seed of the pattern, besides the disk's serial and the sector; also the seed of [`Mode::Hostile`].
    /// Default 1.
    pub fn seed(self, seed: u64) -> CommandLine {
        self.with("seed", seed)
    }

    /// Disks: the number of 4 KiB blocks, spread evenly over each disk. Default 16, for [`Mode::Soak`] 256.
    pub fn blocks(self, blocks: u64) -> CommandLine {
        self.with("blocks", blocks)
    }

    /// Disks: write and verify only this one, counted from 0 in the order of PCI slots.
    pub fn disk(self, number: u32) -> CommandLine {
        self.with("disk", number)
    }

    /// Disks: derive the pattern from the disk's number instead of its serial, for clones with new serials.
    pub fn pattern_by_index(self) -> CommandLine {
        self.with("pattern", "index")
    }

    /// [`Mode::BlkLoad`], [`Mode::Soak`] and [`Mode::Hostile`]: end after this many rounds.
    pub fn rounds(self, rounds: u64) -> CommandLine {
        self.with("rounds", rounds)
    }

    /// [`Mode::BlkLoad`]: instead of verifying, write half of the blocks in each round, chosen by its pattern, flush,
    /// and print `flushed` with the number of the round.
    pub fn flushing(self) -> CommandLine {
        self.with("load", "flush")
    }

    /// [`Mode::BlkLoad`]: also flush in each round. When a disk is set up, first check that it has the data of one
    /// round or of two in a row, which is what a power loss or a snapshot at any moment leaves, print `continues` with
    /// the number of the round, and go on from there. Requires [`span`](Self::span) if disks grow.
    pub fn continuing(self) -> CommandLine {
        self.with("load", "continue")
    }

    /// Disks: spread the blocks over this many sectors of 512 bytes at the beginning of each disk. Default: all of the
    /// disk as it is when the guest boots.
    pub fn span(self, sectors: u64) -> CommandLine {
        self.with("span", sectors)
    }

    /// [`Mode::BlkBench`]: the number of requests, their operation (`read`, `write`, `randread`, `randwrite`, or
    /// `flush` for alternating writes and flushes), their size in bytes, and the queue depth (at most 21).
    pub fn requests(self, count: u64, what: &str, bytes: u32, depth: u32) -> CommandLine {
        self.with("requests", count).with("do", what).with("bytes", bytes).with("depth", depth)
    }

    /// [`Mode::Counter`] and [`Mode::Balloon`]: the guest-physical address of the first page. Default 16 MiB.
    pub fn start(self, address: u64) -> CommandLine {
        self.with("start", format_args!("{address:#x}"))
    }

    /// [`Mode::Counter`] and [`Mode::Balloon`]: the number of pages. Default 256, and 4096 for the balloon.
    pub fn pages(self, pages: u64) -> CommandLine {
        self.with("pages", pages)
    }

    /// [`Mode::Counter`]: end after this many passes.
    pub fn passes(self, passes: u64) -> CommandLine {
        self.with("passes", passes)
    }

    /// [`Mode::Counter`] and modes with rounds: print a line every this many passes or rounds. Default 100.
    pub fn every(self, passes: u64) -> CommandLine {
        self.with("every", passes)
    }

    /// [`Mode::Counter`] with [`Mode::Timer`]: after the first pass, count in this many pages per tick and CPU. Default: no
    /// limit.
    pub fn pages_per_tick(self, pages: u64) -> CommandLine {
        self.with("pertick", pages)
    }

    /// [`Mode::Watchdog`]: the time until it expires, in tenths of a second. Default 5.
    pub fn periods(self, periods: u32) -> CommandLine {
        self.with("periods", periods)
    }

    /// [`Mode::Panic`]: the reported event, 1 without and 2 with a crash kernel. Default 1.
    pub fn panic_event(self, event: u8) -> CommandLine {
        self.with("event", event)
    }

    /// [`Mode::Agent`]: how it misbehaves. `silent` never answers. `garbage` sends invalid answers. `endless` sends an
    /// endless line after the first request. `late` answers a request after the next one, but syncs at once. `closing`
    /// sends half of each answer except those to syncs, closes its port and opens it again.
    pub fn agent(self, how: &str) -> CommandLine {
        self.with("agent", how)
    }

    /// [`Mode::Timer`]: ticks per second. Default 10.
    pub fn hertz(self, hertz: u32) -> CommandLine {
        self.with("hz", hertz)
    }

    /// [`Mode::Timer`]: end after this many ticks, 0 for never. Default 10.
    pub fn ticks(self, ticks: u64) -> CommandLine {
        self.with("ticks", ticks)
    }

    /// [`Mode::Net`]: end after this many frames of all cards.
    pub fn frames(self, frames: u64) -> CommandLine {
        self.with("frames", frames)
    }

    /// [`Mode::Net`]: print a line every this many frames. Default 1.
    pub fn net_every(self, frames: u64) -> CommandLine {
        self.with("netevery", frames)
    }

    /// [`Mode::Net`]: answer ARP and ping for this address, on every card.
    pub fn ip(self, address: Ipv4Addr) -> CommandLine {
        self.with("ip", address)
    }

    /// [`Mode::Vsock`]: also open `count` connections to this port of the host.
    pub fn vsock_connect(self, port: u32, count: u32) -> CommandLine {
        self.with("vsockport", port).with("vsockcount", count)
    }

    fn with(mut self, key: &'static str, value: impl fmt::Display) -> CommandLine {
        self.options.push((key, value.to_string()));
        self
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mode=")?;
        for (i, mode) in self.modes.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            write!(f, "{separator}{}", mode.word())?;
        }
        self.options.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_come_first_and_options_in_the_order_given() {
        let line = CommandLine::new([Mode::Smp, Mode::Counter, Mode::Reboot]).start(32 << 20).pages(64).passes(3);
        assert_eq!(line.to_string(), "mode=smp,counter,reboot start=0x2000000 pages=64 passes=3");
    }

    #[test]
    fn words_are_what_the_guest_reads() {
        let line = CommandLine::new([Mode::Timer, Mode::Net, Mode::BlkVerify])
            .hertz(50)
            .ip(Ipv4Addr::new(10, 0, 0, 2))
            .pattern_by_index();
        assert_eq!(line.to_string(), "mode=timer,net,blkverify hz=50 ip=10.0.0.2 pattern=index");
    }
}
