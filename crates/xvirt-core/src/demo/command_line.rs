//! What the guest is asked to do.

use std::fmt;

/// One thing the guest can do. They are done in the order listed here, whatever the order on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Say hello.
    Hello,
    /// Keep a counter in every page of a range and check it at every pass: shows memory lost, stale or swapped.
    Counter,
    /// Start the other CPUs; with [`Mode::Counter`] each takes its share of the pages.
    Smp,
    /// Take timer interrupts and tell each.
    Timer,
    /// At the end, leave the machine by ACPI soft-off. Without an ending the guest halts and waits for the power button.
    PowerOff,
    /// At the end, reset the machine by the register the FADT names.
    Reboot,
    /// At the end, triple-fault.
    Crash,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Hello => "hello",
            Mode::Counter => "counter",
            Mode::Smp => "smp",
            Mode::Timer => "timer",
            Mode::PowerOff => "poweroff",
            Mode::Reboot => "reboot",
            Mode::Crash => "crash",
        }
    }
}

/// Builds the kernel command line; `to_string` gives the text to boot with.
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
