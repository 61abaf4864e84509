//! The guests of the test.

use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::vm::CrashReason;

/// The behaviour of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Serves its consoles, sockets, balloon and hot plug.
    Serve,
    /// Writes and verifies its disks, including those plugged in.
    Load,
    /// Counts in memory on two vCPUs.
    Count,
    /// Reboots immediately, repeatedly.
    Reboot,
    /// Powers off immediately.
    PowerOff,
    /// Triple-faults immediately.
    Crash,
    /// Reports a kernel panic immediately.
    Panic,
    /// Neglects its watchdog.
    Watchdog,
    /// Takes timer interrupts and does nothing else.
    Tick,
    /// Breaks the rules of its devices.
    Hostile,
}

impl Program {
    /// The programs of the first VMs.
    pub const FIRST: [Self; 10] = [
        Self::Serve,
        Self::Load,
        Self::Count,
        Self::Reboot,
        Self::PowerOff,
        Self::Crash,
        Self::Panic,
        Self::Watchdog,
        Self::Serve,
        Self::Hostile,
    ];

    pub const ALL: [Self; 10] = [
        Self::Serve,
        Self::Load,
        Self::Count,
        Self::Reboot,
        Self::PowerOff,
        Self::Crash,
        Self::Panic,
        Self::Watchdog,
        Self::Tick,
        Self::Hostile,
    ];

    pub fn command_line(self, seed: u64) -> CommandLine {
        match self {
            Self::Serve => CommandLine::new([Mode::Echo, Mode::HotPlug, Mode::Vsock, Mode::Balloon]).blocks(4),
            Self::Load => CommandLine::new([Mode::BlkLoad, Mode::HotPlug]).blocks(8).every(1),
            Self::Count => CommandLine::new([Mode::Counter, Mode::Smp]).pages(16).every(1),
            Self::Reboot => CommandLine::new([Mode::Hello, Mode::Reboot]),
            Self::PowerOff => CommandLine::new([Mode::Hello, Mode::PowerOff]),
            Self::Crash => CommandLine::new([Mode::Hello, Mode::Crash]),
            Self::Panic => CommandLine::new([Mode::Hello, Mode::Panic]),
            Self::Watchdog => CommandLine::new([Mode::Watchdog]).periods(1),
            Self::Tick => CommandLine::new([Mode::Timer]).hertz(100).ticks(0),
            Self::Hostile => CommandLine::new([Mode::Smp, Mode::Hostile]).seed(seed).every(5),
        }
    }

    pub fn vcpus(self) -> u32 {
        match self {
            Self::Load | Self::Count | Self::Hostile => 2,
            _ => 1,
        }
    }

    /// Whether it powers off without a press of the power button.
    pub fn powers_off(self) -> bool {
        matches!(self, Self::Serve | Self::PowerOff | Self::Hostile)
    }

    /// Whether it crashes for this reason. A guest that serves its console triple-faults on command.
    pub fn may_crash(self, reason: &CrashReason) -> bool {
        match self {
            _ if matches!(reason, CrashReason::ThreadPanicked { .. }) => true,
            Self::Serve | Self::Crash => *reason == CrashReason::TripleFault,
            Self::Panic => *reason == CrashReason::Panic,
            Self::Watchdog => *reason == CrashReason::Watchdog,
            Self::Hostile => true,
            _ => false,
        }
    }
}
