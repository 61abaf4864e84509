//! What the guest is asked to do.

use std::fmt;
use std::net::Ipv4Addr;

/// One thing the guest can do. What ends by itself is done first and in the order listed here, whatever the order on
/// the command line; then come those that go on until they reach a number given or are told to stop; then the ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Say hello.
    Hello,
    /// Read some bytes from every entropy device.
    Rng,
    /// Print the generation ID.
    Generation,
    /// Write patterned blocks to every disk, flush, read them back and compare; a read-only disk is only read.
    Blk,
    /// Compare what a former run of [`Mode::Blk`] with the same seed and blocks wrote.
    BlkVerify,
    /// Send every network frame back to its sender, for ever or until [`CommandLine::frames`].
    Net,
    /// Send back what comes in on every stream socket, for ever; ports 1000 to 1007 are listened on.
    Vsock,
    /// Touch [`CommandLine::pages`] pages, and give the host as many as the memory balloon is to hold.
    Balloon,
    /// Start the watchdog and forget it; but only say so if it bit before.
    Watchdog,
    /// Keep a counter in every page of a range and check it at every pass: shows memory lost, stale or swapped.
    Counter,
    /// Start the other CPUs; with [`Mode::Counter`] each takes its share of the pages.
    Smp,
    /// Take timer interrupts and tell each.
    Timer,
    /// Write and compare blocks with another pattern each round, for ever or until [`CommandLine::rounds`].
    BlkLoad,
    /// Keep the first disk busy with requests whose data is not looked at, for measuring, as [`CommandLine::requests`]
    /// says.
    BlkBench,
    /// Write blocks and compare what is read with what was written last, in random order and with a flush now and then,
    /// for ever or until [`CommandLine::rounds`]; then, or when the power button is pressed, tell what must be on each
    /// disk: [`soak_digest`](super::soak_digest) looks.
    Soak,
    /// Break the rules of every device, as the seed says, for ever or until [`CommandLine::rounds`]; with [`Mode::Smp`]
    /// the other CPUs change what the devices read meanwhile. Only COM1 is printed on.
    Hostile,
    /// Answer lines on COM1 and the virtio console: `ping`, `status`, `poweroff`, `reboot`, `crash`, `eject` with the
    /// number of a PCI slot, or anything else.
    Echo,
    /// Answer as the QEMU guest agent does to some commands, for ever: syncs, `guest-ping`, `guest-info`, `guest-get-time`,
    /// `guest-exec` of anything, which prints `hello` and ends with 3, `guest-exec-status`, `guest-shutdown`. Or misbehave, as
    /// [`CommandLine::agent`] says. Prints `agent: open` once.
    Agent,
    /// Set up disks and network cards that are plugged in, write and verify the disks, send a frame; let go of them when
    /// asked. With [`Mode::BlkLoad`] disks that are plugged in take part. Goes on for ever.
    HotPlug,
    /// At the end, leave the machine by ACPI soft-off. Without an ending the guest halts, awake for the power button.
    PowerOff,
    /// At the end, reset the machine by the register the FADT names.
    Reboot,
    /// At the end, triple-fault.
    Crash,
    /// At the end, say that the kernel panicked.
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
    /// A line asking for these modes.
    pub fn new(modes: impl IntoIterator<Item = Mode>) -> CommandLine {
        CommandLine { modes: modes.into_iter().collect(), options: Vec::new() }
    }

    /// Disks: what the pattern depends on, besides the disk's serial and the sector; what [`Mode::Hostile`] does. Default
    /// 1.
    pub fn seed(self, seed: u64) -> CommandLine {
        self.with("seed", seed)
    }

    /// Disks: how many blocks of 4 KiB, spread evenly over each disk. Default 16, of [`Mode::Soak`] 256.
    pub fn blocks(self, blocks: u64) -> CommandLine {
        self.with("blocks", blocks)
    }

    /// Disks: write and verify only this one, counted from 0 in the order of PCI slots.
    pub fn disk(self, number: u32) -> CommandLine {
        self.with("disk", number)
    }

    /// Disks: let the pattern depend on the disk's number and not on its serial, for clones with serials of their own.
    pub fn pattern_by_index(self) -> CommandLine {
        self.with("pattern", "index")
    }

    /// [`Mode::BlkLoad`], [`Mode::Soak`] and [`Mode::Hostile`]: end after this many rounds.
    pub fn rounds(self, rounds: u64) -> CommandLine {
        self.with("rounds", rounds)
    }

    /// [`Mode::BlkLoad`]: write half of the blocks in each round, which its pattern chooses, flush, and print `flushed`
    /// with the number of the round, instead of verifying.
    pub fn flushing(self) -> CommandLine {
        self.with("load", "flush")
    }

    /// [`Mode::BlkBench`]: how many requests, what they do (`read`, `write`, `randread`, `randwrite`, or `flush` for
    /// writes and flushes in turn), of how many bytes, and how many at once (at most 21).
    pub fn requests(self, count: u64, what: &str, bytes: u32, depth: u32) -> CommandLine {
        self.with("requests", count).with("do", what).with("bytes", bytes).with("depth", depth)
    }

    /// [`Mode::Counter`] and [`Mode::Balloon`]: the guest-physical address of the first page. Default 16 MiB.
    pub fn start(self, address: u64) -> CommandLine {
        self.with("start", format_args!("{address:#x}"))
    }

    /// [`Mode::Counter`] and [`Mode::Balloon`]: how many pages. Default 256, and 4096 for the balloon.
    pub fn pages(self, pages: u64) -> CommandLine {
        self.with("pages", pages)
    }

    /// [`Mode::Counter`]: end after this many passes.
    pub fn passes(self, passes: u64) -> CommandLine {
        self.with("passes", passes)
    }

    /// [`Mode::Counter`] and those with rounds: print a line every so many passes or rounds. Default 100.
    pub fn every(self, passes: u64) -> CommandLine {
        self.with("every", passes)
    }

    /// [`Mode::Watchdog`]: the time until it expires, in tenths of a second. Default 5.
    pub fn periods(self, periods: u32) -> CommandLine {
        self.with("periods", periods)
    }

    /// [`Mode::Panic`]: the event that is told, 1 without and 2 with a crash kernel. Default 1.
    pub fn panic_event(self, event: u8) -> CommandLine {
        self.with("event", event)
    }

    /// [`Mode::Agent`]: how it misbehaves. `silent` never answers. `garbage` answers what cannot be read. `endless` sends a
    /// line without an end, from the first question on. `late` answers with the next question, but syncs at once. `closing`
    /// sends half of each answer but those to syncs, closes its port and opens it again.
    pub fn agent(self, how: &str) -> CommandLine {
        self.with("agent", how)
    }

    /// [`Mode::Timer`]: ticks a second. Default 10.
    pub fn hertz(self, hertz: u32) -> CommandLine {
        self.with("hz", hertz)
    }

    /// [`Mode::Timer`]: end after this many ticks, 0 for never. Default 10.
    pub fn ticks(self, ticks: u64) -> CommandLine {
        self.with("ticks", ticks)
    }

    /// [`Mode::Net`]: end after this many frames over all cards.
    pub fn frames(self, frames: u64) -> CommandLine {
        self.with("frames", frames)
    }

    /// [`Mode::Net`]: print a line every so many frames. Default 1.
    pub fn net_every(self, frames: u64) -> CommandLine {
        self.with("netevery", frames)
    }

    /// [`Mode::Net`]: answer ARP and ping for this address, on every card.
    pub fn ip(self, address: Ipv4Addr) -> CommandLine {
        self.with("ip", address)
    }

    /// [`Mode::Vsock`]: open so many connections to this port of the host, too.
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
