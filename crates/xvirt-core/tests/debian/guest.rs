//! A Debian guest, driven over its serial console.

use std::time::Duration;

use xvirt_core::console::ConsoleReader;
use xvirt_core::vm::{Event, EventReceiver, Vm};

/// Long enough for a host emulated in software on a busy machine; never waited for in full unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Who initiates a reboot.
#[derive(Clone, Copy)]
pub enum Reboot {
    /// The guest itself.
    Guest,
    /// The guest when the power button is pressed, then the VM.
    Clean,
    /// The VM, without asking the guest.
    Hard,
}

/// A started VM with a root shell on its console.
pub struct Guest {
    pub vm: Vm,
    console: ConsoleReader,
    events: EventReceiver,
    commands: u32,
}

impl Guest {
    pub fn start(vm: Vm) -> Self {
        let events = vm.events().unwrap();
        vm.start().unwrap();
        Self { console: vm.console().reader(), events, vm, commands: 0 }
    }

    /// Resumes a suspended VM, whose shell waits for a command.
    pub fn resume(vm: Vm) -> Self {
        // What the guest had printed before it was saved is on its console too.
        let (events, console) = (vm.events().unwrap(), vm.console().reader_at_end());
        vm.resume(&()).unwrap();
        Self { console, events, vm, commands: 0 }
    }

    /// Waits for the shell that a booted system starts.
    pub fn log_in(&mut self) {
        self.wait_for("root@");
    }

    /// Runs a command, which must succeed, and returns its output.
    pub fn run(&mut self, command: &str) -> String {
        self.commands += 1;
        // The marks contain quotes, so they differ from the echo of the command.
        let (begin, end) = (format!("begin-{}", self.commands), format!("end-{}", self.commands));
        let typed = format!("echo 'begin'-{0}; {command}; echo 'end'-{0}=$?\n", self.commands);
        self.vm.console().write_all(typed.as_bytes()).unwrap();
        self.wait_for(&begin);
        let output = self.wait_for(&format!("{end}="));
        let status = self.wait_for("\n");
        assert_eq!(status.trim(), "0", "{command} failed: {output}");
        output.trim_end_matches(&format!("{end}=")).trim().to_owned()
    }

    /// Reboots, in one of the three ways, and waits for the shell.
    pub fn reboot(&mut self, how: Reboot) {
        // Consumes the prompt of the last command, which must not be taken for the next one.
        self.wait_for("root@");
        match how {
            Reboot::Guest => {
                self.vm.console().write_all(b"systemctl reboot\n").unwrap();
                self.wait_for("reboot: Restarting system");
            }
            Reboot::Clean => {
                self.vm.clean_reboot(PATIENCE).unwrap();
                self.wait_for("reboot: Power down");
            }
            Reboot::Hard => self.vm.hard_reboot().unwrap(),
        }
        self.log_in();
    }

    /// Runs a command that ends in these events and another boot, and waits for the shell.
    pub fn crash(&mut self, command: &str, expected: &[Event]) {
        self.wait_for("root@");
        while self.events.try_next().unwrap().is_some() {}
        self.vm.console().write_all(format!("{command}\n").as_bytes()).unwrap();
        for event in expected {
            assert_eq!(&self.events.next_timeout(PATIENCE).unwrap().event, event);
        }
        // The old shell may have printed its prompt again, with the command.
        self.wait_for("(automatic login)");
        self.log_in();
    }

    /// Waits until the guest has printed this, and returns the output up to it.
    pub fn wait_for(&mut self, pattern: &str) -> String {
        self.console.wait_for(pattern, PATIENCE).unwrap_or_else(|error| {
            let events: Vec<_> = std::iter::from_fn(|| self.events.try_next().unwrap()).collect();
            panic!("{error}; the VM is {}, and its events were {events:?}", self.vm.power_state());
        })
    }
}
